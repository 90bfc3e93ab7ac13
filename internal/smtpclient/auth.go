package smtpclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel"
)

// ErrNoMechanism means that the peer offers no AUTH that we know.
var ErrNoMechanism = errors.New("smtpclient: no AUTH mechanism in common")

// Login authenticates by the best mechanism that the peer offers: SCRAM-SHA-256,
// PLAIN or LOGIN. Whether the session is safe for that is the caller's to know. A
// refusal is a *mailkeel.Error.
func (c *Client) Login(ctx context.Context, user, password string) error {
	defer c.bind(ctx)()
	offered, _ := c.Ext("AUTH")
	has := map[string]bool{}
	for _, m := range strings.Fields(strings.ToUpper(offered)) {
		has[m] = true
	}
	switch {
	case has["SCRAM-SHA-256"]:
		client, err := scram.SHA256.NewClient(user, password, "")
		if err != nil {
			return err
		}
		conv := client.NewConversation()
		first, err := conv.Step("")
		if err != nil {
			return err
		}
		err = c.auth(ctx, "SCRAM-SHA-256", first, conv.Step)
		if err == nil && !conv.Valid() {
			return c.fail(fmt.Errorf("%w: the server did not prove that it knows the password", ErrProtocol))
		}
		return err
	case has["PLAIN"]:
		return c.auth(ctx, "PLAIN", "\x00"+user+"\x00"+password, nil)
	case has["LOGIN"]:
		answers := []string{user, password}
		return c.auth(ctx, "LOGIN", "", func(string) (string, error) {
			if len(answers) == 0 {
				return "", ErrProtocol
			}
			a := answers[0]
			answers = answers[1:]
			return a, nil
		})
	}
	return ErrNoMechanism
}

// auth runs one exchange (RFC 4954). next answers a challenge; it may be nil.
func (c *Client) auth(ctx context.Context, mech, initial string, next func(challenge string) (string, error)) error {
	enc := base64.StdEncoding
	line := "AUTH " + mech
	if initial != "" {
		line += " " + enc.EncodeToString([]byte(initial))
	}
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
	if err := refusal(r, 235); !errors.As(err, new(*mailkeel.Error)) {
		return c.fail(err)
	}
	return refusal(r, 235)
}
