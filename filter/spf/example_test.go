package spf_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/spf"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// A message that claims to be from a domain which sends no mail.
func Example() {
	resolver := &testdns.Table{TXT: map[string][]string{"example.com": {"v=spf1 -all"}}} // or net.DefaultResolver
	chain := &filter.Chain{Groups: [][]filter.Filter{{&spf.Filter{Resolver: resolver}}}}

	client := &mailkeel.Origin{Addr: netip.MustParseAddrPort("192.0.2.1:4321"), Hello: "mail.example.net"}
	v := chain.Run(context.Background(), filter.Sender, &filter.Transaction{
		Origin: client, Env: &mailkeel.Envelope{From: "ann@example.com"},
	})
	fmt.Println(v.Refuse.Reply())
	// Output: 550 5.7.23 SPF: 192.0.2.1 may not send for example.com (MAIL FROM)
}
