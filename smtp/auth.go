package smtp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

func (c *conn) offer() sasl.Offer {
	o := sasl.Offer{Auth: c.s.Auth, Insecure: c.s.InsecureAuth}
	if c.tls != nil {
		o.Channel = &sasl.Channel{State: *c.tls, Shown: c.g.Shown(), Unbound: !c.s.ChannelBinding}
	}
	return o
}

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
	c.exchange = x
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
	c.exchange = nil
	if err == nil && x.login == nil {
		err = accounts.ErrBadCredentials
	}
	if err == nil && len(x.login.Scopes) > 0 && !slices.Contains(x.login.Scopes, c.s.door()) {
		err = fmt.Errorf("%w: not for this door", accounts.ErrBadCredentials)
	}
	if err == nil {
		c.origin.Identity = x.login.Account
		c.log().Info("smtp: logged in", "account", x.login.Account, "mechanism", x.mech, "by", x.login.By)
		return nil, true, nil
	}
	return nil, false, x.fail(err)
}

// fail counts a failure and returns what is said of it.
func (x *exchange) fail(err error) *gosmtp.SMTPError {
	c := x.c
	c.log().Info("smtp: login failed", "mechanism", x.mech, "err", cause(err))
	out := toWire(sasl.Reply(err), "")
	if c.badAuths++; c.badAuths >= c.s.maxBadAuths() {
		c.w.last(line(out), "421 4.7.0 "+c.s.Hostname+" too many failed logins")
	}
	return out
}

// canceled notes that the client ends the exchange, perhaps after it was told that it
// has failed.
func (c *conn) canceled() {
	x := c.exchange
	if c.exchange = nil; x == nil {
		return
	}
	if err := sasl.Failed(x.Server); err != nil {
		x.fail(err)
	}
}

// strict reports whether b is base64 without anything that a decoder may pass over
// (RFC 4648, 3.3 and 3.5): nothing is hidden in it. The engine's decoder is lax.
func strict(b []byte) bool {
	_, err := base64.StdEncoding.Strict().AppendDecode(nil, b)
	return err == nil && !bytes.ContainsAny(b, "\r\n")
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
