package imap

import (
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

// door is the name under which accounts know this protocol.
const door = "imap"

// login is LOGIN (RFC 9051, 6.2.3).
func (c *conn) login(cmd *command) error {
	switch {
	case !accounts.HasPasswords(c.srv.Auth):
		return no(imap.ResponseCodeCannot, "There are no passwords here, use AUTHENTICATE")
	case !c.mayLogin():
		return no(imap.ResponseCodePrivacyRequired, "TLS is required")
	}
	cmd.sp()
	name := cmd.astring()
	cmd.sp()
	password := cmd.astring()
	if err := cmd.end(); err != nil {
		return err
	}
	a := c.attempt()
	a.Login, a.Password = name, password
	who, err := c.srv.Auth.Authenticate(c.ctx, a)
	if err != nil {
		return c.refused(err)
	}
	c.user = name
	return c.enter(cmd, who)
}

func (c *conn) attempt() accounts.Attempt {
	return accounts.Attempt{Addr: c.remote, Door: door, TLS: c.tls}
}

// refused counts a failed login and says what is wrong. A wrong password and too
// many of them are the client's business, anything else is ours.
func (c *conn) refused(err error) error {
	switch {
	case errors.Is(err, accounts.ErrThrottled):
		c.failures++
		c.log.Info("imap: login refused", "err", err)
		return no(imap.ResponseCodeUnavailable, "Too many failed logins, try again later")
	case errors.Is(err, accounts.ErrBadCredentials):
		c.failures++
		c.log.Info("imap: login failed", "err", err)
		return no(imap.ResponseCodeAuthenticationFailed, "Authentication failed")
	case errors.Is(err, accounts.ErrMayNotAct):
		c.failures++
		c.log.Warn("imap: login refused", "err", err)
		return no(imap.ResponseCodeAuthorizationFailed, "Not authorized to act as another")
	case errors.Is(err, sasl.ErrDowngrade):
		c.failures++
		c.log.Warn("imap: login refused", "err", err)
		return no(imap.ResponseCodeAuthenticationFailed, "Channel binding is offered, and somebody hides that")
	}
	c.log.Error("imap: authentication", "err", err)
	return no(imap.ResponseCodeUnavailable, "Authentication is temporarily unavailable")
}

// enter makes the session that of an account.
func (c *conn) enter(cmd *command, who accounts.Login) error {
	if len(who.Scopes) > 0 && !slices.Contains(who.Scopes, door) {
		c.failures++
		return no(imap.ResponseCodeAuthorizationFailed, "This password is not for IMAP")
	}
	if !c.srv.state.login(who.Account, or(c.srv.MaxPerAccount, 100)) {
		return no(imap.ResponseCodeLimit, "Too many connections of this account")
	}
	c.who, c.account, c.access = who, who.Account, c.srv.Store.As(who.Account)
	c.in.authed, c.in.br.late, c.w.Small = true, true, false
	c.base, c.log = c.log, c.log.With("account", who.Account)
	c.log.Info("imap: logged in", "tls", c.tls, "by", who.By)
	cmd.code, cmd.text = "CAPABILITY "+c.capabilities(), "Logged in"
	return nil
}
