package accountstest_test

import (
	"context"
	"testing"

	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// A directory that can be changed is filled through its Manager; one that cannot is
// made from the Fixture. The Hasher is a cheap one, and counts.
func Example() {
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		accountstest.Run(t, func(t *testing.T, f accountstest.Fixture) accountstest.Subject {
			ctx := context.Background()
			db, err := sqldb.OpenSQLite(t.TempDir()+"/accounts.db", sqldb.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			d, err := sqlaccounts.New(ctx, db)
			if err != nil {
				t.Fatal(err)
			}
			var work int
			d.Hasher = &password.Hasher{Params: password.Params{Memory: 8, Time: 1}, Hashed: func() { work++ }}
			if err := accountstest.Fill(ctx, d, f); err != nil {
				t.Fatal(err)
			}
			return accountstest.Subject{Directory: d, Auth: d, Manager: d, Work: func() int { return work }}
		})
	}
	// Output:
}
