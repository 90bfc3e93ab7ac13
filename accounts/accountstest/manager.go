package accountstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

// RunManager checks a Manager together with its directory. open makes an empty
// one; it is called for each test.
func RunManager(t *testing.T, open func(t *testing.T) Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"DomainsAreMadeAndChanged":     domains,
		"CreateSaysWhatIsWrong":        create,
		"IDsAreOpaqueAndNeverComeBack": ids,
		"AddressChangesIDStays":        rename,
		"UpdateIsAllOrNothing":         update,
		"UpdatesDoNotLoseEachOther":    concurrentUpdates,
		"SetQuota":                     setQuota,
		"ResetPassword":                resetPassword,
		"DeleteEndsAllAtOnce":          remove,
		"AliasesAreMadeAndChanged":     managedAliases,
		"ListsAreSortedAndCanBeLeft":   lists,
		"OneAddressHasOneOwner":        race,
		"SurvivesReopen":               reopen,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			for _, d := range []string{"example.org", "example.net"} {
				if err := s.Manager.PutDomain(t.Context(), accounts.Domain{Name: d}); err != nil {
					t.Fatal(err)
				}
			}
			test(t, s)
		})
	}
}

func mustCreate(t *testing.T, s Subject, a accounts.Account, password string) accounts.Account {
	t.Helper()
	a, err := s.Manager.CreateAccount(t.Context(), a, password)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func domains(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	for _, bad := range []accounts.Domain{{Name: ""}, {Name: "a b"}, {Name: "a..b"}, {Name: "x.org", CatchAll: "nobody"}, {Name: "x.org", Postmaster: "a b@x.org"}, {Name: "[127.0.0.1]"}} {
		if err := m.PutDomain(ctx, bad); !errors.Is(err, accounts.ErrBadAddress) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := m.PutDomain(ctx, accounts.Domain{Name: "B\u00dccher.Example", CatchAll: "Ann@example.org", Postmaster: "ann@example.org"}); err != nil {
		t.Fatal(err)
	}
	if err := m.PutDomain(ctx, accounts.Domain{Name: "EXAMPLE.org", CatchAll: "ann@example.org"}); err != nil { // a change
		t.Fatal(err)
	}
	got, err := m.Domains(ctx)
	want := []accounts.Domain{{Name: "example.net"}, {Name: "example.org", CatchAll: "ann@example.org"}, {Name: "xn--bcher-kva.example", CatchAll: "ann@example.org", Postmaster: "ann@example.org"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, "")
	if got := one(t, s, "any@b\u00fccher.example"); got.Account != ann.ID {
		t.Errorf("the catch-all leads to %+v", got)
	}
	if err := m.DeleteDomain(ctx, "Example.ORG"); !errors.Is(err, accounts.ErrInUse) {
		t.Errorf("a domain with an account: %v", err)
	}
	if err := m.PutAlias(ctx, accounts.Alias{Address: "a@example.net", Targets: []string{"ann@example.org"}}); err != nil {
		t.Fatal(err)
	}
	if err := m.DeleteDomain(ctx, "example.net"); !errors.Is(err, accounts.ErrInUse) {
		t.Errorf("a domain with an alias: %v", err)
	}
	if err := m.DeleteDomain(ctx, "b\u00fccher.example"); err != nil {
		t.Error(err)
	}
	for _, gone := range []string{"xn--bcher-kva.example", "far.example"} {
		if err := m.DeleteDomain(ctx, gone); !errors.Is(err, accounts.ErrNotLocal) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	if _, err := s.Directory.Resolve(ctx, "any@xn--bcher-kva.example"); !errors.Is(err, accounts.ErrNotLocal) {
		t.Errorf("a domain that has gone: %v", err)
	}
}

func create(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, "correct horse 1")
	if err := m.PutAlias(ctx, accounts.Alias{Address: "info@example.org", Targets: []string{"ann@example.org"}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a        accounts.Account
		password string
		want     error
	}{
		{accounts.Account{Address: "ann@example.org"}, "a good password", accounts.ErrExists},
		{accounts.Account{Address: `"ANN"@Example.org`}, "a good password", accounts.ErrExists},
		{accounts.Account{Address: "Info@example.org"}, "a good password", accounts.ErrExists},
		{accounts.Account{Address: "bob@far.example"}, "a good password", accounts.ErrNotLocal},
		{accounts.Account{Address: "bob@sub.example.org"}, "a good password", accounts.ErrNotLocal},
		{accounts.Account{Address: "bob"}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: "postmaster"}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: ""}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: "b ob@example.org"}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: "*@example.org"}, "a good password", nil}, // RFC 5321 allows it
		{accounts.Account{Address: "bob\r\n@example.org"}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: "bob@example.org", SendAs: []string{"x"}}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: "bob@example.org", SendAs: []string{"*@"}}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: "bob@example.org", AdminOf: []string{"a b"}}, "a good password", accounts.ErrBadAddress},
		{accounts.Account{Address: "bob@example.org"}, "short", accounts.ErrWeakPassword},
		{accounts.Account{Address: "bob@example.org"}, "bob@example.org", accounts.ErrWeakPassword},
	} {
		if a, err := m.CreateAccount(ctx, tt.a, tt.password); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %+v, %v, want %v", tt.a, a, err, tt.want)
		}
	}
	if _, err := s.Directory.Resolve(ctx, "bob@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("a failed create left something: %v", err)
	}
	full := accounts.Account{ID: "mine", Address: "Zoe@Example.ORG", Name: "Zo\u00eb", Disabled: true, Quota: 7, SendAs: []string{"*@example.net", "Z@far.example"}, AdminOf: []string{"example.org"}}
	zoe := mustCreate(t, s, full, "")
	if zoe.ID == "mine" || zoe.Address != "zoe@example.org" {
		t.Errorf("got %+v", zoe)
	}
	for _, key := range []string{"ZOE@example.org", string(zoe.ID)} {
		got, err := m.Account(ctx, key)
		if err != nil || !same(got, zoe) || got.Name != full.Name || !got.Disabled || got.Quota != 7 || !slices.Equal(got.SendAs, []string{"*@example.net", "Z@far.example"}) || !slices.Equal(got.AdminOf, full.AdminOf) {
			t.Errorf("%s: %+v, %v", key, got, err)
		}
	}
	for _, key := range []string{"", "nobody", "nobody@example.org", "info@example.org", "a b@example.org"} {
		if got, err := m.Account(ctx, key); !errors.Is(err, accounts.ErrNoUser) {
			t.Errorf("%q: %+v, %v", key, got, err)
		}
	}
}

func same(a, b accounts.Account) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func ids(t *testing.T, s Subject) {
	seen := map[mailkeel.AccountID]bool{}
	for i := range 20 {
		// So long a name stands in no random ID by chance.
		a := mustCreate(t, s, accounts.Account{Address: "annabella@example.org"}, "")
		if seen[a.ID] || len(a.ID) < 20 || strings.Contains(string(a.ID), "annabella") || strings.ToLower(string(a.ID)) != string(a.ID) {
			t.Errorf("ID %d is %q", i, a.ID)
		}
		seen[a.ID] = true
		if err := s.Manager.DeleteAccount(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func rename(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org", Quota: 5}, "correct horse 1")
	mustCreate(t, s, accounts.Account{Address: "bob@example.org"}, "")
	to := func(addr string) (accounts.Account, error) {
		return m.UpdateAccount(ctx, ann.ID, func(a *accounts.Account) error { a.Address = addr; return nil })
	}
	for addr, want := range map[string]error{"Bob@example.org": accounts.ErrExists, "ann@far.example": accounts.ErrNotLocal, "ann": accounts.ErrBadAddress} {
		if _, err := to(addr); !errors.Is(err, want) {
			t.Errorf("to %s: %v, want %v", addr, err, want)
		}
	}
	if got := id(t, s, "ann@example.org"); got != ann.ID {
		t.Error("a failed change changed something")
	}
	a, err := to("Anna@example.net")
	if err != nil || a.ID != ann.ID || a.Address != "anna@example.net" || a.Quota != 5 {
		t.Fatalf("got %+v, %v", a, err)
	}
	if got := id(t, s, "anna@example.net"); got != ann.ID {
		t.Errorf("the new address leads to %s", got)
	}
	if _, err := s.Directory.Resolve(ctx, "ann@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("the old address: %v", err)
	}
	if _, err := try(t, s, "ann@example.org", "correct horse 1"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("login by the old address: %v", err)
	}
	if l, err := try(t, s, "anna@example.net", "correct horse 1"); err != nil || l.Account != ann.ID {
		t.Errorf("login by the new address: %+v, %v", l, err)
	}
	if other := mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, ""); other.ID == ann.ID {
		t.Error("the new owner of the old address has the old ID")
	}
}

func update(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org", SendAs: []string{"a@far.example"}}, "correct horse 1")
	boom := errors.New("boom")
	if _, err := m.UpdateAccount(ctx, ann.ID, func(a *accounts.Account) error { a.Quota, a.Disabled = 9, true; return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if got, err := m.Account(ctx, string(ann.ID)); err != nil || !same(got, ann) {
		t.Errorf("got %+v, %v, want %+v", got, err, ann)
	}
	if _, err := m.UpdateAccount(ctx, ann.ID, func(a *accounts.Account) error { a.SendAs = []string{"b"}; return nil }); !errors.Is(err, accounts.ErrBadAddress) {
		t.Errorf("got %v", err)
	}
	if _, err := m.UpdateAccount(ctx, "nobody", func(*accounts.Account) error { return nil }); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("got %v", err)
	}
	a, err := m.UpdateAccount(ctx, ann.ID, func(a *accounts.Account) error {
		a.ID, a.Quota, a.Disabled, a.SendAs, a.Name = "other", 9, true, append(a.SendAs, "b@far.example"), "Ann"
		return nil
	})
	if err != nil || a.ID != ann.ID || a.Quota != 9 || len(a.SendAs) != 2 {
		t.Errorf("got %+v, %v", a, err)
	}
	if n, err := s.Directory.Limit(ctx, ann.ID); n.Bytes != 9 || err != nil {
		t.Errorf("Limit: %+v, %v", n, err)
	}
	if _, err := try(t, s, "ann@example.org", "correct horse 1"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := m.UpdateAccount(ctx, ann.ID, func(a *accounts.Account) error { a.Disabled = false; return nil }); err != nil {
		t.Error(err)
	}
	if _, err := try(t, s, "ann@example.org", "correct horse 1"); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	if ok, err := s.Directory.MaySend(ctx, ann.ID, "b@far.example"); !ok || err != nil {
		t.Errorf("MaySend: %v, %v", ok, err)
	}
}

func concurrentUpdates(t *testing.T, s Subject) {
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := s.Manager.UpdateAccount(t.Context(), ann.ID, func(a *accounts.Account) error { a.Quota++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := s.Manager.Account(t.Context(), string(ann.ID)); got.Quota != 40 || err != nil {
		t.Errorf("40 additions made %d, %v", got.Quota, err)
	}
}

func resetPassword(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, "correct horse 1")
	if err := m.ResetPassword(ctx, ann.ID, "short"); !errors.Is(err, accounts.ErrWeakPassword) {
		t.Errorf("got %v", err)
	}
	if err := m.ResetPassword(ctx, "nobody", "a good password"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("got %v", err)
	}
	if err := m.ResetPassword(ctx, ann.ID, "a good password"); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t, s, "ann@example.org", "a good password"); err != nil {
		t.Error(err)
	}
	if _, err := try(t, s, "ann@example.org", "correct horse 1"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("the old password: %v", err)
	}
	if err := m.ResetPassword(ctx, ann.ID, ""); err != nil { // no login from now on
		t.Fatal(err)
	}
	for _, password := range []string{"", "a good password"} {
		if _, err := try(t, s, "ann@example.org", password); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("without a password, %q: %v", password, err)
		}
	}
}

func remove(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, "correct horse 1")
	bob := mustCreate(t, s, accounts.Account{Address: "bob@example.org"}, "")
	if err := m.PutAlias(ctx, accounts.Alias{Address: "team@example.org", Targets: []string{"ann@example.org", "bob@example.org"}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Purged(ctx, ann.ID); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("Purged of a living account: %v", err)
	}
	if err := m.DeleteAccount(ctx, ann.ID); err != nil {
		t.Fatal(err)
	}
	if err := m.DeleteAccount(ctx, ann.ID); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("again: %v", err)
	}
	if _, err := try(t, s, "ann@example.org", "correct horse 1"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("login: %v", err)
	}
	if _, err := s.Directory.Resolve(ctx, "ann@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("Resolve: %v", err)
	}
	if _, err := s.Directory.Limit(ctx, ann.ID); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("Limit: %v", err)
	}
	if ok, err := s.Directory.MaySend(ctx, ann.ID, "ann@example.org"); ok || err != nil {
		t.Errorf("MaySend: %v, %v", ok, err)
	}
	if got := one(t, s, "team@example.org"); got.Account != bob.ID {
		t.Errorf("the group leads to %+v", got)
	}
	for _, err := range []error{
		m.ResetPassword(ctx, ann.ID, "a good password"),
		func() error {
			_, err := m.UpdateAccount(ctx, ann.ID, func(*accounts.Account) error { return nil })
			return err
		}(),
	} {
		if !errors.Is(err, accounts.ErrNoUser) {
			t.Errorf("changed after its end: %v", err)
		}
	}
	// A successor has the address, and nothing else of it.
	successor := mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, "")
	if s.Reopen != nil {
		s = s.Reopen()
		m = s.Manager
	}
	if got, err := m.Deleted(ctx); err != nil || !slices.Equal(got, []mailkeel.AccountID{ann.ID}) {
		t.Errorf("Deleted: %v, %v", got, err)
	}
	if err := m.Purged(ctx, ann.ID); err != nil {
		t.Error(err)
	}
	if got, err := m.Deleted(ctx); err != nil || len(got) != 0 {
		t.Errorf("Deleted after Purged: %v, %v", got, err)
	}
	if got := id(t, s, "ann@example.org"); got != successor.ID || got == ann.ID {
		t.Errorf("the address leads to %s", got)
	}
}

func managedAliases(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org"}, "")
	crowd := make([]string, 1001)
	for i := range crowd {
		crowd[i] = fmt.Sprintf("u%d@far.example", i)
	}
	for _, tt := range []struct {
		a    accounts.Alias
		want error
	}{
		{accounts.Alias{Address: "Ann@example.org", Targets: []string{"x@far.example"}}, accounts.ErrExists},
		{accounts.Alias{Address: "x@far.example", Targets: []string{"ann@example.org"}}, accounts.ErrNotLocal},
		{accounts.Alias{Address: "x", Targets: []string{"ann@example.org"}}, accounts.ErrBadAddress},
		{accounts.Alias{Address: "postmaster", Targets: []string{"ann@example.org"}}, accounts.ErrBadAddress},
		{accounts.Alias{Address: "x@example.org"}, accounts.ErrBadAddress},
		{accounts.Alias{Address: "x@example.org", Targets: []string{"ann"}}, accounts.ErrBadAddress},
		{accounts.Alias{Address: "x@example.org", Targets: []string{"ann@example.org", "a b@far.example"}}, accounts.ErrBadAddress},
		{accounts.Alias{Address: "x@example.org", Targets: []string{"postmaster"}}, accounts.ErrBadAddress},
		{accounts.Alias{Address: "x@example.org", Targets: crowd}, accounts.ErrExpansion},
	} {
		if err := m.PutAlias(ctx, tt.a); !errors.Is(err, tt.want) {
			t.Errorf("%s with %d targets: %v, want %v", tt.a.Address, len(tt.a.Targets), err, tt.want)
		}
	}
	if _, err := s.Directory.Resolve(ctx, "x@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("a failed alias is there: %v", err)
	}
	for _, targets := range [][]string{{"zoe@far.example"}, {"ann@example.org"}} { // made, and changed
		if err := m.PutAlias(ctx, accounts.Alias{Address: "X@example.org", Targets: targets}); err != nil {
			t.Fatal(err)
		}
		if got := one(t, s, "x@example.org"); got.Addr != targets[0] {
			t.Errorf("leads to %+v", got)
		}
	}
	if got := id(t, s, "x@example.org"); got != ann.ID {
		t.Errorf("leads to %s", got)
	}
	if err := m.DeleteAlias(ctx, "ann@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("an account as alias: %v", err)
	}
	if err := m.DeleteAlias(ctx, "x@EXAMPLE.org"); err != nil {
		t.Error(err)
	}
	if err := m.DeleteAlias(ctx, "x@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("again: %v", err)
	}
}

func lists(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	const n = 260 // more than a page of a few hundred
	for i := range n {
		d := []string{"example.org", "example.net"}[i%2]
		mustCreate(t, s, accounts.Account{Address: fmt.Sprintf("u%03d@%s", (i*37)%n, d)}, "")
	}
	for i := range 3 {
		if err := m.PutAlias(ctx, accounts.Alias{Address: fmt.Sprintf("l%d@example.org", 2-i), Targets: []string{"a@far.example", "b@far.example"}}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(domain string) (got []string) {
		for a, err := range m.Accounts(ctx, domain) {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Account(ctx, a.Address); err != nil { // other calls in the loop
				t.Fatal(err)
			}
			got = append(got, a.Address)
		}
		if !slices.IsSorted(got) {
			t.Errorf("accounts of %q are not in order", domain)
		}
		return got
	}
	if all, org, none := count(""), count("Example.ORG"), count("far.example"); len(all) != n || len(org) != n/2 || len(none) != 0 {
		t.Errorf("got %d, %d and %d accounts", len(all), len(org), len(none))
	}
	left := 0
	for range m.Accounts(ctx, "") {
		if left++; left == 3 {
			break
		}
	}
	var got []accounts.Alias
	for a, err := range m.Aliases(ctx, "example.org") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a)
	}
	if len(got) != 3 || got[0].Address != "l0@example.org" || got[2].Address != "l2@example.org" || !slices.Equal(got[1].Targets, []string{"a@far.example", "b@far.example"}) {
		t.Errorf("got %+v", got)
	}
	for range m.Aliases(ctx, "example.net") {
		t.Error("an alias that is not there")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range m.Accounts(gone, "") {
		if err == nil {
			t.Error("no error when the context has ended")
		}
	}
}

func race(t *testing.T, s Subject) {
	ctx, m := t.Context(), s.Manager
	bob := mustCreate(t, s, accounts.Account{Address: "bob@example.org"}, "")
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 9 {
		wg.Go(func() {
			var err error
			switch i % 3 {
			case 0:
				_, err = m.CreateAccount(ctx, accounts.Account{Address: "ann@example.org"}, "")
			case 1:
				err = m.PutAlias(ctx, accounts.Alias{Address: "ann@example.org", Targets: []string{"zoe@far.example"}})
			case 2:
				_, err = m.UpdateAccount(ctx, bob.ID, func(a *accounts.Account) error { a.Address = "ann@example.org"; return nil })
			}
			if err != nil && !errors.Is(err, accounts.ErrExists) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				won |= 1 << (i % 3)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 && won != 2 && won != 4 {
		t.Errorf("winners %03b: an account, an alias or a change, but only one", won)
	}
	one(t, s, "ann@example.org")
}

func reopen(t *testing.T, s Subject) {
	if s.Reopen == nil {
		t.Skip("keeps nothing")
	}
	ctx := t.Context()
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org", Quota: 3, MaxMessages: 4, Shared: true, SendAs: []string{"*@example.net"}}, "correct horse 1")
	if err := s.Manager.PutAlias(ctx, accounts.Alias{Address: "x@example.net", Targets: []string{"ann@example.org"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = s.Reopen()
		if got, err := s.Manager.Account(ctx, "ann@example.org"); err != nil || !same(got, ann) {
			t.Errorf("got %+v, %v, want %+v", got, err, ann)
		}
		if got := id(t, s, "x@example.net"); got != ann.ID {
			t.Errorf("the alias leads to %s", got)
		}
		if l, err := try(t, s, "ann@example.org", "correct horse 1"); err != nil || l.Account != ann.ID {
			t.Errorf("login: %+v, %v", l, err)
		}
		if got := id(t, s, "postmaster"); got != ann.ID {
			t.Errorf("postmaster is %s", got)
		}
	}
}
