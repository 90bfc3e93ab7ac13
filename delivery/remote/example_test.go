package remote_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/remote"
)

// names is a Resolver with one answer.
type names struct{}

func (names) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: ".", Pref: 0}}, nil
}

func (names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }

// A domain whose only mail server is "." takes no mail (RFC 7505).
func Example() {
	out := &remote.Transport{Hostname: "mx.example.org", Resolver: names{}}
	defer out.Close()
	env := &mailkeel.Envelope{ID: "m1", From: "ann@example.org", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.net"}}}
	fmt.Println(mailkeel.Deliver(context.Background(), out, env, text("Subject: hello\r\n\r\n"))[0].Err)
	// Output: 556 5.1.10 example.net does not take mail
}
