package sqlaccounts_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/accounts/sqlaccounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/testclock"
)

// TestMemory checks that a sole Directory asks the database once, and again after
// every change, also one that comes while it asks.
func TestMemory(t *testing.T) {
	var n atomic.Int64
	var between func()
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "db"), sqldb.Options{Trace: func(q string, _ int) {
		if strings.HasPrefix(q, "SELECT account, targets") || strings.HasPrefix(q, "SELECT quota") {
			n.Add(1)
			if fn := between; fn != nil {
				between = nil
				fn()
			}
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
	clock := &testclock.Clock{}
	d.Sole, d.Clock = true, clock
	err = accountstest.Fill(t.Context(), d, accountstest.Fixture{
		Domains:  []accounts.Domain{{Name: "example.org"}},
		Accounts: []accountstest.Account{{Account: accounts.Account{Address: "ann@example.org", Quota: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ann, err := d.Account(t.Context(), "ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	alias := func(to string) {
		t.Helper()
		if err := d.PutAlias(t.Context(), accounts.Alias{Address: "box@example.org", Targets: []string{to}}); err != nil {
			t.Fatal(err)
		}
	}
	leads := func(to string) {
		t.Helper()
		r, err := d.Resolve(t.Context(), "box@example.org")
		if err != nil || len(r.Targets) != 1 || r.Targets[0].Addr != to {
			t.Errorf("%+v, %v, want %s", r, err, to)
		}
		if err == nil {
			r.Targets[0].Addr = "changed by who asked"
		}
	}
	alias("a@far.example")
	n.Store(0)
	for range 10 {
		leads("a@far.example")
	}
	if n.Load() != 1 {
		t.Errorf("10 look-ups took %d statements", n.Load())
	}
	clock.Advance(time.Second)
	if leads("a@far.example"); n.Load() != 2 {
		t.Errorf("after a second, %d statements in all", n.Load())
	}
	alias("b@far.example")
	leads("b@far.example")

	alias("c@far.example")
	between = func() { alias("d@far.example") }
	leads("c@far.example") // it began before the change
	leads("d@far.example") // this one did not

	if err := d.DeleteAlias(t.Context(), "box@example.org"); err != nil {
		t.Error(err)
	}
	if r, err := d.Resolve(t.Context(), "box@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("%+v, %v after the alias has gone", r, err)
	}
	if _, err := d.Resolve(t.Context(), "x@new.example"); !errors.Is(err, accounts.ErrNotLocal) {
		t.Error(err)
	}
	if err := d.PutDomain(t.Context(), accounts.Domain{Name: "new.example", CatchAll: "ann@example.org"}); err != nil {
		t.Error(err)
	}
	if r, err := d.Resolve(t.Context(), "x@new.example"); err != nil {
		t.Errorf("%+v, %v after the domain became ours", r, err)
	}

	limit := func(want int64) {
		t.Helper()
		if got, err := d.Limit(t.Context(), ann.ID); got.Bytes != want || err != nil {
			t.Errorf("limit %+v, %v, want %d", got, err, want)
		}
	}
	limit(1)
	quota := func(n int64) {
		if _, err := d.UpdateAccount(t.Context(), ann.ID, func(a *accounts.Account) error { a.Quota = n; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	quota(2)
	between = func() { quota(3) }
	limit(2)
	limit(3)
}

// TestMemoryUnderLookups changes while others ask all the time: what was changed, is
// known to who asks after the change.
func TestMemoryUnderLookups(t *testing.T) {
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := sqlaccounts.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	d.Sole, d.Clock = true, &testclock.Clock{}
	err = accountstest.Fill(t.Context(), d, accountstest.Fixture{
		Domains:  []accounts.Domain{{Name: "example.org"}},
		Accounts: []accountstest.Account{{Account: accounts.Account{Address: "ann@example.org", Quota: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ann, err := d.Account(t.Context(), "ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	defer others.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, _ = d.Resolve(t.Context(), "ann@example.org") // it may be disabled
				_, _ = d.Resolve(t.Context(), "box@example.org")
				_, _ = d.Limit(t.Context(), ann.ID)
			}
		})
	}
	for i := range int64(20) {
		to := fmt.Sprintf("x%d@far.example", i)
		if err := d.PutAlias(t.Context(), accounts.Alias{Address: "box@example.org", Targets: []string{to}}); err != nil {
			t.Fatal(err)
		}
		if r, err := d.Resolve(t.Context(), "box@example.org"); err != nil || len(r.Targets) != 1 || r.Targets[0].Addr != to {
			t.Fatalf("%+v, %v, want %s", r, err, to)
		}
		off := i%2 == 0
		if _, err := d.UpdateAccount(t.Context(), ann.ID, func(a *accounts.Account) error { a.Quota, a.Disabled = i, off; return nil }); err != nil {
			t.Fatal(err)
		}
		if n, err := d.Limit(t.Context(), ann.ID); n.Bytes != i || err != nil {
			t.Fatalf("limit %+v, %v, want %d", n, err, i)
		}
	}
	if err := d.DeleteAccount(t.Context(), ann.ID); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Resolve(t.Context(), "ann@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("%+v, %v after she has gone", r, err)
	}
	if n, err := d.Limit(t.Context(), ann.ID); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("limit %+v, %v after she has gone", n, err)
	}
}
