package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/internal/smtpclient"
)

var errNoMechanism = errors.New("relay: the smart host offers no AUTH mechanism that we know")

// login authenticates by the best mechanism that the peer offers: SCRAM-SHA-256,
// PLAIN or LOGIN.
func login(ctx context.Context, c *smtpclient.Client, user, password string) error {
	offered, _ := c.Ext("AUTH")
	has := map[string]bool{}
	for _, m := range strings.Fields(strings.ToUpper(offered)) {
		has[m] = true
	}
	switch {
	case has["SCRAM-SHA-256"]:
		return loginSCRAM(ctx, c, user, password)
	case has["PLAIN"]:
		return c.Auth(ctx, "PLAIN", "\x00"+user+"\x00"+password, nil)
	case has["LOGIN"]:
		answers := []string{user, password}
		return c.Auth(ctx, "LOGIN", "", func(string) (string, error) {
			if len(answers) == 0 {
				return "", smtpclient.ErrProtocol
			}
			a := answers[0]
			answers = answers[1:]
			return a, nil
		})
	}
	return errNoMechanism
}

// loginSCRAM proves that we know the password without saying it, and believes only
// a server that proves it too (RFC 5802).
func loginSCRAM(ctx context.Context, c *smtpclient.Client, user, password string) error {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return err
	}
	conv := client.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		return err
	}
	err = c.Auth(ctx, "SCRAM-SHA-256", first, conv.Step)
	if err == nil && !conv.Valid() {
		c.Close()
		return fmt.Errorf("%w: the server did not prove that it knows the password", smtpclient.ErrProtocol)
	}
	return err
}
