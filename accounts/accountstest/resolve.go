package accountstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

type opener = func(*testing.T, Fixture) Subject

func caseDoesNotMatter(t *testing.T, open opener) {
	s := open(t, world())
	ann := id(t, s, "ann@example.org")
	for _, addr := range []string{"Ann@Example.ORG", "ANN@EXAMPLE.ORG", `"ann"@example.org`, `"A\nn"@example.org`, "Info@example.ORG"} {
		if got := id(t, s, addr); got != ann {
			t.Errorf("%s leads to %s, want %s", addr, got, ann)
		}
	}
	if id(t, s, "eve@B\u00dcCHER.example") != id(t, s, "EVE@XN--BCHER-KVA.example") {
		t.Error("U-label and A-label are two domains")
	}
	if ann == id(t, s, "bob@example.org") || strings.Contains(string(ann), "example") {
		t.Errorf("account ID %q", ann)
	}
}

func unknownAndForeign(t *testing.T, open opener) {
	s := open(t, world())
	for addr, want := range map[string]error{
		"zoe@example.org":         accounts.ErrNoUser,
		"dead@example.org":        accounts.ErrNoUser,
		"+lists@example.org":      accounts.ErrNoUser,
		"zoe+lists@example.org":   accounts.ErrNoUser,
		"a b@example.org":         accounts.ErrNoUser,
		"ann.@example.org":        accounts.ErrNoUser,
		`"ann\"@example.org`:      accounts.ErrNoUser,
		"ann%example.org":         accounts.ErrNoUser,
		"ann":                     accounts.ErrNoUser,
		"":                        accounts.ErrNoUser,
		"@example.org":            accounts.ErrNoUser,
		"ann@":                    accounts.ErrNoUser,
		"zoe@far.example":         accounts.ErrNotLocal,
		"ann@sub.example.org":     accounts.ErrNotLocal,
		"ann@example.org.evil":    accounts.ErrNotLocal,
		"ann@org":                 accounts.ErrNotLocal,
		"ann@[127.0.0.1]":         accounts.ErrNotLocal,
		"ann@example.\u043erg":    accounts.ErrNotLocal, // a Cyrillic o
		"postmaster@far.example":  accounts.ErrNotLocal,
		"ann%example.org@far.net": accounts.ErrNotLocal,
	} {
		r, err := s.Directory.Resolve(t.Context(), addr)
		if !errors.Is(err, want) || len(r.Targets) > 0 {
			t.Errorf("Resolve(%q): %v, %v, want %v", addr, r.Targets, err, want)
		}
	}
}

func plusParts(t *testing.T, open opener) {
	s := open(t, world())
	ann := id(t, s, "ann@example.org")
	for addr, folder := range map[string]string{
		"ann@example.org": "", "ann+Lists@example.org": "Lists", "Ann+a+B@example.org": "a+B", "ann+@example.org": "",
	} {
		got := one(t, s, addr)
		if got.Account != ann || got.Mailbox != folder {
			t.Errorf("%s leads to %+v, want %s and folder %q", addr, got, ann, folder)
		}
	}
	if got := one(t, s, "dot+ted@example.org"); got.Mailbox != "" {
		t.Errorf("an exact address with a plus sign leads to %+v", got)
	}
	if got := one(t, s, "info+x@example.org"); got.Account != ann {
		t.Errorf("an alias with a plus part leads to %+v", got)
	}
}

func aliases(t *testing.T, open opener) {
	s := open(t, world())
	ann, bob, eve := id(t, s, "ann@example.org"), id(t, s, "bob@example.org"), id(t, s, "eve@xn--bcher-kva.example")
	for addr, want := range map[string][]accounts.Target{
		"info@example.org": {{Addr: "ann@example.org", Account: ann}},
		// Each mailbox once; a foreign local part is not ours to fold.
		"team@example.org": {{Addr: "ann@example.org", Account: ann}, {Addr: "bob@example.org", Account: bob}, {Addr: "Zoe@far.example"}, {Addr: "zoe@far.example"}},
		"all@example.net": {{Addr: "ann@example.org", Account: ann}, {Addr: "bob@example.org", Account: bob}, {Addr: "Zoe@far.example"}, {Addr: "zoe@far.example"},
			{Addr: "eve@xn--bcher-kva.example", Account: eve}},
		"filed@example.org":  {{Addr: "ann+lists@example.org", Account: ann, Mailbox: "Lists"}, {Addr: "ann@example.org", Account: ann}},
		"crew@example.org":   {{Addr: "bob@example.org", Account: bob}}, // who is postmaster too
		"abroad@example.org": {{Addr: "zoe@far.example"}},
	} {
		r, err := s.Directory.Resolve(t.Context(), addr)
		if err != nil || !slices.Equal(r.Targets, want) {
			t.Errorf("Resolve(%s):\n got %v, %v\nwant %v", addr, r.Targets, err, want)
		}
	}
}

func loops(t *testing.T, open opener) {
	f := world()
	f.Aliases = append(f.Aliases,
		accounts.Alias{Address: "self@example.org", Targets: []string{"self@example.org"}},
		accounts.Alias{Address: "ping@example.org", Targets: []string{"PONG@example.org"}},
		accounts.Alias{Address: "pong@example.org", Targets: []string{"Ping@example.org", "bob@example.org"}},
	)
	s := open(t, f)
	if r, err := s.Directory.Resolve(t.Context(), "self@example.org"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("an alias of itself: %v, %v", r, err)
	}
	if got := one(t, s, "ping@example.org"); got.Addr != "bob@example.org" {
		t.Errorf("a loop with a way out leads to %+v", got)
	}
}

func depth(t *testing.T, open opener) {
	f := world()
	for i := range 11 {
		to := fmt.Sprintf("n%d@example.org", i+1)
		if i == 10 {
			to = "ann@example.org"
		}
		f.Aliases = append(f.Aliases, accounts.Alias{Address: fmt.Sprintf("n%d@example.org", i), Targets: []string{to}})
	}
	slices.Reverse(f.Aliases) // each is fine when it is made, but for the last
	last := f.Aliases[len(f.Aliases)-1]
	for i, a := range f.Aliases {
		if a.Address == "n0@example.org" {
			last, f.Aliases = a, slices.Delete(f.Aliases, i, i+1)
			break
		}
	}
	s := open(t, f)
	if got := one(t, s, "n1@example.org"); got.Addr != "ann@example.org" {
		t.Errorf("10 aliases lead to %+v", got)
	}
	if s.Manager == nil {
		f.Aliases = append(f.Aliases, last)
		s = open(t, f)
	} else if err := s.Manager.PutAlias(t.Context(), last); errors.Is(err, accounts.ErrExpansion) {
		return // said at once
	}
	refusedForNow(t, s, "n0@example.org")
}

func targets(t *testing.T, open opener) {
	f := world()
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf("u%d@far.example", i))
	}
	f.Aliases = append(f.Aliases, accounts.Alias{Address: "crowd@example.org", Targets: all},
		accounts.Alias{Address: "same@example.org", Targets: []string{"crowd@example.org", "u7@far.example"}})
	s := open(t, f)
	for _, addr := range []string{"crowd@example.org", "same@example.org"} {
		if r, err := s.Directory.Resolve(t.Context(), addr); err != nil || len(r.Targets) != 1000 {
			t.Errorf("%s: %d targets, %v", addr, len(r.Targets), err)
		}
	}
	more := accounts.Alias{Address: "more@example.org", Targets: []string{"ann@example.org", "crowd@example.org"}}
	if s.Manager == nil {
		f.Aliases = append(f.Aliases, more)
		s = open(t, f)
	} else if err := s.Manager.PutAlias(t.Context(), more); errors.Is(err, accounts.ErrExpansion) {
		return
	}
	refusedForNow(t, s, "more@example.org")
}

// refusedForNow checks that mail that an address cannot be resolved for is kept by
// its sender: a part of the targets would be a loss, a refusal one too.
func refusedForNow(t *testing.T, s Subject, addr string) {
	t.Helper()
	r, err := s.Directory.Resolve(t.Context(), addr)
	if err == nil || errors.Is(err, accounts.ErrNoUser) || errors.Is(err, accounts.ErrNotLocal) {
		t.Errorf("Resolve(%s): %d targets, %v, want another error", addr, len(r.Targets), err)
	}
}

func catchAll(t *testing.T, open opener) {
	s := open(t, world())
	ann := id(t, s, "ann@example.org")
	for _, addr := range []string{"anything@example.net", "any+thing@example.net", "Abuse@example.net", "postmaster@example.net"} {
		if got := one(t, s, addr); got.Account != ann || got.Mailbox != "" {
			t.Errorf("%s leads to %+v, want %s", addr, got, ann)
		}
	}
	if r, err := s.Directory.Resolve(t.Context(), "all@example.net"); err != nil || len(r.Targets) != 5 {
		t.Errorf("an alias went to the catch-all: %v, %v", r, err)
	}
}

func postmaster(t *testing.T, open opener) {
	f := world()
	f.Domains = append(f.Domains, accounts.Domain{Name: "named.example"}, accounts.Domain{Name: "empty.example"},
		accounts.Domain{Name: "stale.example", Postmaster: "gone@example.org"})
	f.Accounts = append(f.Accounts, Account{accounts.Account{Address: "first@stale.example"}, ""})
	f.Aliases = append(f.Aliases, accounts.Alias{Address: "postmaster@named.example", Targets: []string{"eve@xn--bcher-kva.example"}})
	s := open(t, f)
	for addr, to := range map[string]string{
		"postmaster@example.org":           "bob@example.org", // as the domain says
		"PostMaster@example.org":           "bob@example.org",
		"abuse@example.org":                "bob@example.org",
		"postmaster@xn--bcher-kva.example": "eve@xn--bcher-kva.example", // the first account
		"postmaster@named.example":         "eve@xn--bcher-kva.example", // as its alias says
		"postmaster@stale.example":         "first@stale.example",       // what the domain says has gone
		"postmaster":                       "bob@example.org",           // of the first domain (RFC 5321, 4.5.1)
		"POSTMASTER":                       "bob@example.org",
	} {
		if got, want := id(t, s, addr), id(t, s, to); got != want {
			t.Errorf("%s leads to %s, want %s", addr, got, want)
		}
	}
	for _, addr := range []string{"abuse@xn--bcher-kva.example", "postmaster@empty.example"} {
		if _, err := s.Directory.Resolve(t.Context(), addr); !errors.Is(err, accounts.ErrNoUser) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func sendAs(t *testing.T, open opener) {
	s := open(t, world())
	for who, list := range map[string]map[string]bool{
		"ann@example.org": {
			"ann@example.org": true, "ANN@Example.org": true, "ann+x@example.org": true, `"ann"@example.org`: true,
			"boss@example.com": true, "boss+y@example.com": true,
			"any@example.net": true, "all@example.net": true, "any@sub.example.net": false,
			"info@example.org": true, "info+z@example.org": true, "filed@example.org": true,
			"team@example.org": false, "bob@example.org": false, "chief@example.com": false, "zoe@example.org": false,
			"postmaster@example.org": false, "postmaster": false, "": false, "ann": false, "a b@example.org": false, "ann@example.org@example.net": false,
		},
		"bob@example.org": {
			"bob@example.org": true, "team@example.org": false, "info@example.org": false, "any@example.net": false,
			"abroad@example.org": false, "dead@example.org": false, "+x@example.org": false,
		},
		"off@example.org":           {"off@example.org": false, "x@example.com": false},
		"eve@xn--bcher-kva.example": {"eve@b\u00fccher.example": true, "postmaster@b\u00fccher.example": false},
	} {
		for addr, want := range list {
			if ok, err := s.Directory.MaySend(t.Context(), id(t, s, who), addr); ok != want || err != nil {
				t.Errorf("%s as %q: %v, %v, want %v", who, addr, ok, err, want)
			}
		}
	}
	if ok, err := s.Directory.MaySend(t.Context(), "nobody", "ann@example.org"); ok || err != nil {
		t.Errorf("an account that does not exist: %v, %v", ok, err)
	}
}

func limit(t *testing.T, open opener) {
	s := open(t, world())
	for addr, want := range map[string]int64{"ann@example.org": 1 << 20, "bob@example.org": 0} {
		if n, err := s.Directory.Limit(t.Context(), id(t, s, addr)); n.Bytes != want || err != nil {
			t.Errorf("%s: %+v, %v, want %d", addr, n, err, want)
		}
	}
	if n, err := s.Directory.Limit(t.Context(), id(t, s, "desk@example.org")); n != (mailkeel.Quota{Messages: 1000}) || err != nil {
		t.Errorf("the desk: %+v, %v", n, err)
	}
	if _, err := s.Directory.Limit(t.Context(), "nobody"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("got %v", err)
	}
}

func canceled(t *testing.T, open opener) {
	s := open(t, world())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// A table in memory may answer all the same, but no answer is ever "no such
	// user" because someone hung up.
	if _, err := s.Directory.Resolve(ctx, "ann@example.org"); errors.Is(err, accounts.ErrNoUser) || errors.Is(err, accounts.ErrNotLocal) {
		t.Errorf("Resolve: %v", err)
	}
	if _, err := s.Auth.Authenticate(ctx, accounts.Attempt{Login: "ann@example.org", Password: "correct horse 1"}); errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("Authenticate: %v", err)
	}
}
