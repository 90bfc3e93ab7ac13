package smtp

import (
	"errors"
	"fmt"
	"slices"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

func (c *conn) offer() sasl.Offer { return sasl.Offer{Auth: c.s.Auth, Insecure: c.s.InsecureAuth} }

// AuthMechanisms are those of EHLO: none without TLS, unless that was asked for.
func (s *session) AuthMechanisms() []string {
	if s.c.s.Auth == nil {
		return nil
	}
	return s.c.offer().Mechanisms(s.c.tls != nil)
}

// Auth begins an exchange.
func (s *session) Auth(mech string) (gosasl.Server, error) {
	c := s.c
	if c.s.Auth == nil {
		return nil, toWire(no(502, [3]int{5, 5, 1}, "authentication is not available"), "")
	}
	if s.tx != nil { // RFC 4954, 4
		return nil, toWire(no(503, [3]int{5, 5, 1}, "AUTH within a transaction"), "")
	}
	x := &exchange{c: c, mech: mech}
	a := accounts.Attempt{Addr: c.g.Addr().Addr(), Door: c.s.door(), TLS: c.tls != nil}
	srv, err := c.offer().Start(c.g.Context(), mech, a, func(l accounts.Login) { x.login = &l })
	if err != nil {
		return nil, toWire(sasl.Reply(err), "")
	}
	x.Server = srv
	return x, nil
}

// exchange is one AUTH command.
type exchange struct {
	gosasl.Server
	c     *conn
	mech  string
	login *accounts.Login
}

// Next passes on, notes who has logged in and counts failures.
func (x *exchange) Next(response []byte) ([]byte, bool, error) {
	c := x.c
	challenge, done, err := x.Server.Next(response)
	if err == nil && !done {
		c.w.cont = true
		return challenge, false, nil
	}
	if err == nil && x.login == nil {
		err = accounts.ErrBadCredentials
	}
	if err == nil && len(x.login.Scopes) > 0 && !slices.Contains(x.login.Scopes, c.s.door()) {
		err = fmt.Errorf("%w: not for this door", accounts.ErrBadCredentials)
	}
	if err == nil {
		c.origin.Identity = x.login.Account
		c.log().Info("smtp: logged in", "account", x.login.Account, "mechanism", x.mech)
		return nil, true, nil
	}
	c.log().Info("smtp: login failed", "mechanism", x.mech, "err", cause(err))
	out := toWire(sasl.Reply(err), "")
	if c.badAuths++; c.badAuths >= c.s.maxBadAuths() {
		c.w.last(line(out), "421 4.7.0 "+c.s.Hostname+" too many failed logins")
	}
	return nil, false, out
}

// cause is what hides behind the text for the client.
func cause(err error) error {
	if u := errors.Unwrap(err); u != nil {
		return u
	}
	return err
}

// line is a reply as it goes out.
func line(e *gosmtp.SMTPError) string {
	return fmt.Sprintf("%d %d.%d.%d %s", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], e.Message)
}
