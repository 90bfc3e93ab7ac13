package sqlaccounts_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

func sqlite(path string) func(context.Context) (sqldb.DB, error) {
	return func(context.Context) (sqldb.DB, error) { return sqldb.OpenSQLite(path, sqldb.Options{}) }
}

// subject opens a database.
func subject(t *testing.T, open func(context.Context) (sqldb.DB, error), sole ...bool) accountstest.Subject {
	t.Helper()
	db, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	d, err := sqlaccounts.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	d.Sole = len(sole) > 0
	d.Tokens, d.Certificates, d.Impersonation = accountstest.Token, accounts.CertificateAddress, true
	var n atomic.Int64
	d.Hasher = &password.Hasher{Params: password.Params{Memory: 8, Time: 1}, Hashed: func() { n.Add(1) }}
	return accountstest.Subject{
		Directory: d, Auth: d, Manager: d,
		Work: func() int { return int(n.Load()) },
		Reopen: func() accountstest.Subject {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			return subject(t, open, sole...)
		},
	}
}

func TestConformance(t *testing.T) { conformance(t, inFile()) }

func TestConformanceSole(t *testing.T) { conformance(t, inFile(true)) }

// inFile makes Subjects over SQLite.
func inFile(sole ...bool) func(*testing.T) accountstest.Subject {
	return func(t *testing.T) accountstest.Subject {
		return subject(t, sqlite(filepath.Join(t.TempDir(), "db")), sole...)
	}
}

func conformance(t *testing.T, open func(*testing.T) accountstest.Subject) {
	t.Run("Directory", func(t *testing.T) {
		accountstest.Run(t, func(t *testing.T, f accountstest.Fixture) accountstest.Subject {
			s := open(t)
			if err := accountstest.Fill(t.Context(), s.Manager, f); err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
	t.Run("Manager", func(t *testing.T) { accountstest.RunManager(t, open) })
}

// Work is counted in statements: a look-up does not grow with the directory, and
// a group asks once for each domain.
func TestResolveAsksLittle(t *testing.T) {
	var n atomic.Int64
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "db"), sqldb.Options{Trace: func(q string, _ int) {
		if strings.HasPrefix(q, "SELECT") {
			n.Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := sqlaccounts.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	var crowd []string
	for i := range 1000 {
		crowd = append(crowd, fmt.Sprintf("u%d@far.example", i))
	}
	err = accountstest.Fill(t.Context(), d, accountstest.Fixture{
		Domains:  []accounts.Domain{{Name: "example.org"}},
		Accounts: []accountstest.Account{{Account: accounts.Account{Address: "ann@example.org"}}},
		Aliases:  []accounts.Alias{{Address: "crowd@example.org", Targets: crowd}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]int64{"ann@example.org": 2, "ann+x@example.org": 3, "zoe@far.example": 1, "zoe@example.org": 2, "crowd@example.org": 3} {
		n.Store(0)
		_, err := d.Resolve(t.Context(), addr)
		if got := n.Load(); got > want {
			t.Errorf("%s: %d statements, want %d (%v)", addr, got, want, err)
		}
	}
}

func TestHashesAreRenewedAtLogin(t *testing.T) {
	s := subject(t, sqlite(filepath.Join(t.TempDir(), "db")))
	d := s.Manager.(*sqlaccounts.Directory)
	if err := d.PutDomain(t.Context(), accounts.Domain{Name: "example.org"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.CreateAccount(t.Context(), accounts.Account{Address: "ann@example.org"}, "correct horse"); err != nil {
		t.Fatal(err)
	}
	hashes := 0
	d.Hasher = &password.Hasher{Params: password.Params{Memory: 16, Time: 1}, Iterations: 5000, Hashed: func() { hashes++ }}
	a := accounts.Attempt{Login: "ann@example.org", Password: "correct horse"}
	for _, want := range []int{3, 1} { // verified and made anew with its SCRAM keys, verified
		hashes = 0
		if _, err := d.Authenticate(t.Context(), a); err != nil || hashes != want {
			t.Errorf("%d hashes, %v, want %d", hashes, err, want)
		}
	}
	if k, err := d.SCRAMKeys(t.Context(), a); k.Iterations != 5000 || err != nil {
		t.Errorf("keys with %d iterations, %v", k.Iterations, err)
	}
}

func BenchmarkResolve(b *testing.B) {
	db, err := sqldb.OpenSQLite(filepath.Join(b.TempDir(), "db"), sqldb.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	d, err := sqlaccounts.New(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	err = accountstest.Fill(b.Context(), d, accountstest.Fixture{
		Domains:  []accounts.Domain{{Name: "example.org"}},
		Accounts: []accountstest.Account{{Account: accounts.Account{Address: "ann@example.org"}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.Resolve(b.Context(), "ann@example.org"); err != nil {
			b.Fatal(err)
		}
	}
}
