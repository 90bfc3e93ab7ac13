package sqlaccounts_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "sqlaccounts")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "db"), sqldb.Options{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	users, err := sqlaccounts.New(ctx, db)
	if err != nil {
		panic(err)
	}
	users.Hasher = &password.Hasher{Params: password.Params{Memory: 64}} // only here, to be quick

	fmt.Println(users.PutDomain(ctx, accounts.Domain{Name: "example.org"}))
	ann, err := users.CreateAccount(ctx, accounts.Account{Address: "Ann@example.org", Quota: 1 << 30}, "correct horse")
	fmt.Println(ann.Address, err)
	_, err = users.UpdateAccount(ctx, ann.ID, func(a *accounts.Account) error {
		a.Address = "anna@example.org"
		return nil
	})
	fmt.Println(err)
	fmt.Println(users.PutAlias(ctx, accounts.Alias{Address: "ann@example.org", Targets: []string{"anna@example.org"}}))

	r, err := users.Resolve(ctx, "ann@example.org")
	fmt.Println(r.Targets[0].Addr, r.Targets[0].Account == ann.ID, err)
	who, err := users.Authenticate(ctx, accounts.Attempt{Login: "anna@example.org", Password: "correct horse"})
	fmt.Println(who.Account == ann.ID, err)
	// Output:
	// <nil>
	// ann@example.org <nil>
	// <nil>
	// <nil>
	// anna@example.org true <nil>
	// true <nil>
}
