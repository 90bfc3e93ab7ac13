package accounts_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// Doors are given a directory behind a Limiter.
func Example() {
	ctx := context.Background()
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@example.org"}, Password: "correct horse"},
	}}
	limit := &accounts.Limiter{KV: &memstore.KV{}, Free: 2}
	auth := limit.Wrap(users)

	at := netip.MustParseAddr("192.0.2.1")
	for _, guess := range []string{"123456", "password", "correct horse"} {
		_, err := auth.Authenticate(ctx, accounts.Attempt{Login: "ann@example.org", Password: guess, Addr: at, Door: "imap"})
		fmt.Println(err)
	}
	r, err := users.Resolve(ctx, "Ann+Lists@example.org")
	fmt.Println(r.Targets[0].Account, r.Targets[0].Mailbox, err)
	// Output:
	// accounts: bad credentials
	// accounts: bad credentials
	// accounts: too many logins
	// a1 Lists <nil>
}
