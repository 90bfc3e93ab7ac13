package dmarc_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/filter/dmarc"
	"github.com/mailkeel/mailkeel/filter/spf"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// Somebody writes as a bank that wants such mail refused.
func Example() {
	resolver := &testdns.Table{TXT: map[string][]string{"_dmarc.bank.example": {"v=DMARC1; p=reject"}}} // or net.DefaultResolver
	chain := &filter.Chain{Groups: [][]filter.Filter{
		{&spf.Filter{Resolver: resolver}, &dkim.Filter{Resolver: resolver}},
		{&dmarc.Filter{Resolver: resolver}},
	}}
	v := chain.Run(context.Background(), filter.Message, arrived("eve@evil.example", "From: Your Bank <service@bank.example>\r\n\r\nHello.\r\n"))
	fmt.Println(v.Refuse.Reply())
	// Output: 550 5.7.1 neither SPF nor DKIM vouches for bank.example, which wants such mail refused (DMARC)
}
