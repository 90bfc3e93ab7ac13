package pop3

import (
	"encoding/base64"
	"errors"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

// auth is AUTH (RFC 5034). Without a mechanism it lists them, as clients older than
// CAPA expect.
func (c *conn) auth(args []string) error {
	if len(args) == 0 {
		c.w.raw("+OK Mechanisms follow")
		c.w.crlf()
		for _, m := range c.offer().Mechanisms(c.tls) {
			c.w.raw(m)
			c.w.crlf()
		}
		c.w.dot()
		return nil
	}
	c.user = ""
	var response []byte // nil means that there is none
	if len(args) == 2 {
		if response = []byte{}; args[1] != "=" {
			var err error
			if response, err = unbase64(args[1]); err != nil {
				return err
			}
		}
	}
	var who accounts.Login
	x, err := c.offer().Start(c.ctx, args[0], c.attempt(), func(l accounts.Login) { who = l })
	switch {
	case errors.Is(err, sasl.ErrUnsupported):
		return bad("Unsupported mechanism")
	case errors.Is(err, sasl.ErrNeedsTLS):
		return errNeedsTLS
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
			return c.enter(who)
		}
		c.w.raw("+ ")
		c.w.bytes(base64.StdEncoding.AppendEncode(nil, challenge))
		c.w.end()
		line, cut, err := c.in.readLine(base64.StdEncoding.EncodedLen(sasl.Most(x))+2, maxAuth)
		if err != nil {
			return err
		}
		if cut {
			c.failures++
			return bad("Line is too long")
		}
		if string(line) == "*" {
			if err := sasl.Failed(x); err != nil { // as it was told
				c.refused(err)
			}
			return bad("Authentication was cancelled")
		}
		if response, err = unbase64(string(line)); err != nil {
			return err
		}
		if done { // the client has seen what the server had to prove
			return c.enter(who)
		}
	}
}

// unbase64 reads base64 of the strict kind. The result is never nil.
func unbase64(s string) ([]byte, error) {
	for i := range len(s) {
		if s[i] <= ' ' { // the package passes over line breaks
			return nil, bad("Bad base64")
		}
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, bad("Bad base64")
	}
	return b, nil
}
