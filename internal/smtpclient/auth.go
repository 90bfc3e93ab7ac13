package smtpclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/mailkeel/mailkeel"
)

// Auth runs one exchange (RFC 4954). next answers a challenge; nil means that there
// is none to come. Whether the session is safe for it is the caller's to know. A
// refusal is a *mailkeel.Error.
func (c *Client) Auth(ctx context.Context, mech, initial string, next func(challenge string) (string, error)) error {
	defer c.bind(ctx)()
	enc := base64.StdEncoding
	line := "AUTH " + mech
	if initial != "" {
		line += " " + enc.EncodeToString([]byte(initial))
	}
	c.asked = true
	defer func() { c.asked = false }()
	r, err := c.cmd(ctx, line)
	for range 10 {
		if err != nil {
			return err
		}
		if r.Code != 334 {
			break
		}
		answer := "*"
		challenge, err2 := enc.DecodeString(r.Text())
		if err2 == nil && next == nil {
			err2 = ErrProtocol
		}
		if err2 == nil {
			var a string
			if a, err2 = next(string(challenge)); err2 == nil {
				answer = enc.EncodeToString([]byte(a))
			}
		}
		if r, err = c.cmd(ctx, answer); err2 != nil {
			return c.fail(fmt.Errorf("%w: AUTH %s: %w", ErrProtocol, mech, err2))
		}
	}
	if r.Code == 235 {
		return nil
	}
	err = refusal(r, 235)
	if !errors.As(err, new(*mailkeel.Error)) {
		c.fail(err)
	}
	return err
}
