package imap

import (
	"encoding/base64"
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

// authenticate is AUTHENTICATE (RFC 9051, 6.2.2) with an initial response
// (RFC 4959).
func (c *conn) authenticate(cmd *command) error {
	cmd.sp()
	mech := cmd.keyword()
	var response []byte
	if cmd.more() {
		response = cmd.base64(true)
	}
	if err := cmd.end(); err != nil {
		return err
	}
	var who accounts.Login
	x, err := c.offer().Start(c.ctx, mech, c.attempt(), func(l accounts.Login) { who = l })
	switch {
	case errors.Is(err, sasl.ErrUnsupported):
		return no(imap.ResponseCodeCannot, "Unsupported authentication mechanism")
	case errors.Is(err, sasl.ErrNeedsTLS):
		return no(imap.ResponseCodePrivacyRequired, "TLS is required")
	case err != nil:
		return c.refused(err)
	}
	for {
		challenge, done, err := x.Next(response)
		switch {
		case errors.Is(err, sasl.ErrMalformed):
			c.failures++
			return bad("Malformed authentication response")
		case err != nil:
			return c.refused(err)
		}
		if done && challenge == nil {
			return c.enter(cmd, who)
		}
		c.w.raw("+ ")
		c.w.raw(base64.StdEncoding.EncodeToString(challenge))
		c.w.crlf()
		cmd.line, response = nil, nil // not held while the client is waited for
		cmd.left = base64.StdEncoding.EncodedLen(sasl.Most(x))
		if cmd.next(); cmd.err != nil {
			return cmd.err
		}
		cmd.lit = literal{} // there are none here
		if string(cmd.line) == "*" {
			if err := sasl.Failed(x); err != nil { // as it was told
				c.refused(err)
			}
			return bad("Authentication was cancelled")
		}
		response = cmd.base64(false)
		if err := cmd.end(); err != nil {
			return err
		}
		if done { // the client has seen what the server had to prove
			return c.enter(cmd, who)
		}
	}
}

// base64 reads base64 of the strict kind. "=" stands for nothing in an initial
// response. The result is never nil.
func (p *parser) base64(initial bool) []byte {
	b := p.span(isBase64Char)
	if initial && string(b) == "=" {
		return []byte{}
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(out, b)
	if err != nil || initial && n == 0 {
		p.fail("bad base64")
		return nil
	}
	return out[:n]
}
