package dkim_test

import (
	"context"
	"fmt"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dkim"
)

// A message that was signed, and changed on its way.
func ExampleFilter() {
	resolver, sign := keyZone() // or net.DefaultResolver
	msg := sign("From: ann@example.com\r\n\r\nPay 10 to Bob.\r\n", "key1")
	chain := &filter.Chain{Groups: [][]filter.Filter{{&dkim.Filter{Resolver: resolver}}}}

	for _, m := range []string{msg, msg + "And 99 to Eve.\r\n"} {
		v := chain.Run(context.Background(), filter.Message, arrived(m))
		fmt.Println(v.Results[0].(*authres.GenericResult).Value)
	}
	// Output:
	// pass
	// fail
}
