package pop3

import (
	"errors"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

// door is the name under which accounts know this protocol.
const door = "pop3"

var errNeedsTLS = no("", "TLS is required: use STLS first")

// noPasswords is why passwords may not be sent now.
func (c *conn) noPasswords() error {
	if !accounts.HasPasswords(c.srv.Auth) {
		return no("", "There are no passwords here: use AUTH")
	}
	return errNeedsTLS
}

// userName is USER (RFC 1939, 7). Nothing is said about whether there is such a
// user.
func (c *conn) userName(args []string) error {
	c.user = ""
	if !c.mayLogin() {
		return c.noPasswords()
	}
	if args[0] == "" {
		return bad("The name is missing")
	}
	c.user = args[0]
	c.w.line("+OK Send the password")
	return nil
}

// pass is PASS (RFC 1939, 7). Spaces are part of a password.
func (c *conn) pass(args []string) error {
	if !c.mayLogin() {
		return c.noPasswords()
	}
	if c.user == "" {
		return bad("USER comes first")
	}
	a := c.attempt()
	a.Login, a.Password = c.user, args[0]
	c.user = ""
	who, err := c.srv.Auth.Authenticate(c.ctx, a)
	if err != nil {
		return c.refused(err)
	}
	return c.enter(who)
}

func (c *conn) attempt() accounts.Attempt {
	return accounts.Attempt{Addr: c.remote, Door: door, TLS: c.tls}
}

// refused counts a failed login and says what is wrong (RFC 3206). A wrong password
// and too many of them are the client's business, anything else is ours.
func (c *conn) refused(err error) error {
	switch {
	case errors.Is(err, accounts.ErrThrottled):
		c.failures++
		c.log.Info("pop3: login refused", "err", err)
		return no("SYS/TEMP", "Too many failed logins, try again later")
	case errors.Is(err, accounts.ErrBadCredentials):
		c.failures++
		c.log.Info("pop3: login failed", "err", err)
		return no("AUTH", "Authentication failed")
	case errors.Is(err, accounts.ErrMayNotAct):
		c.failures++
		c.log.Warn("pop3: login refused", "err", err)
		return no("AUTH", "Not authorized to act as another")
	case errors.Is(err, sasl.ErrDowngrade):
		c.failures++
		c.log.Warn("pop3: login refused", "err", err)
		return no("AUTH", "Channel binding is offered, and somebody hides that")
	}
	c.log.Error("pop3: authentication", "err", err)
	return no("SYS/TEMP", "Authentication is temporarily unavailable")
}

// enter opens the maildrop of an account. If that fails the client may try again.
func (c *conn) enter(who accounts.Login) error {
	if len(who.Scopes) > 0 && !slices.Contains(who.Scopes, door) {
		c.failures++
		return no("AUTH", "This password is not for POP3")
	}
	if err := c.srv.login(who.Account); err != nil {
		return err
	}
	access := c.srv.Store.As(who.Account)
	drop, err := openMaildrop(c.ctx, access)
	if err != nil {
		c.srv.state.logout(who.Account)
		c.log.Error("pop3: cannot open maildrop", "account", who.Account, "err", err)
		return no("SYS/TEMP", "The maildrop cannot be opened now")
	}
	c.account, c.access, c.drop = who.Account, access, drop
	c.low.SetIdle(or(c.srv.IdleTimeout, 10*time.Minute))
	c.low.SetLimit(time.Time{})
	c.log = c.log.With("account", who.Account)
	c.log.Info("pop3: logged in", "tls", c.tls, "by", who.By, "messages", drop.left)
	c.tell("maildrop has ")
	return nil
}

// tell says how much there is.
func (c *conn) tell(what string) {
	c.w.raw("+OK " + what)
	c.w.num(int64(c.drop.left))
	c.w.raw(" messages (")
	c.w.num(c.drop.octets)
	c.w.line(" octets)")
}
