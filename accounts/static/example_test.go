package static_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
)

func Example() {
	ctx := context.Background()
	d := &static.Directory{
		Accounts: []static.Account{
			{Account: accounts.Account{ID: "a1", Address: "ann@example.org", Quota: 1 << 30}, Password: "correct horse"},
		},
		Aliases: []accounts.Alias{{Address: "team@example.org", Targets: []string{"ann@example.org", "bob@example.net"}}},
	}
	for _, addr := range []string{"Ann+Lists@Example.ORG", "team@example.org", "zoe@example.org", "zoe@example.com"} {
		r, err := d.Resolve(ctx, addr)
		fmt.Println(r.Targets, err)
	}
	who, err := d.Authenticate(ctx, accounts.Attempt{Login: "ann@example.org", Password: "correct horse"})
	fmt.Println(who.Account, err)
	// Output:
	// [{ann+lists@example.org a1 Lists}] <nil>
	// [{ann@example.org a1 } {bob@example.net  }] <nil>
	// [] accounts: no such user: "zoe@example.org"
	// [] accounts: not local: example.com
	// a1 <nil>
}
