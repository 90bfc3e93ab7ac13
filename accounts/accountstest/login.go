package accountstest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
)

func login(t *testing.T, open opener) {
	s := open(t, world())
	ann := id(t, s, "ann@example.org")
	for _, addr := range []string{"ann@example.org", "ANN@Example.ORG"} {
		if l, err := try(t, s, addr, "correct horse 1"); err != nil || l.Account != ann || len(l.Scopes) > 0 || !slices.Equal(l.AdminOf, []string{"*"}) {
			t.Errorf("%s: %+v, %v", addr, l, err)
		}
	}
	for addr, password := range map[string]string{
		"ann@example.org":       "correct horse",
		"Ann@example.org":       "Correct horse 1",
		"ANN@example.org":       "correct horse 1 ",
		"aNn@example.org":       "",
		"bob@example.org":       "correct horse 1",
		"zoe@example.org":       "correct horse 1",
		"ann":                   "correct horse 1",
		"":                      "",
		"info@example.org":      "correct horse 1", // an alias
		"ann+x@example.org":     "correct horse 1",
		"any@example.net":       "correct horse 1", // her catch-all
		"postmaster":            "battery staple 2",
		"mute@example.org":      "", // has no password
		"Mute@example.org":      "x",
		string(ann):             "correct horse 1",
		"bob@example.org\x00":   "battery staple 2",
		"bob@example.org ":      "battery staple 2",
		"ann@example.org' or 1": strings.Repeat("x", 1<<20),
	} {
		if l, err := try(t, s, addr, password); !errors.Is(err, accounts.ErrBadCredentials) || l.Account != "" {
			t.Errorf("%q with %.40q: %+v, %v", addr, password, l, err)
		}
	}
}

func disabled(t *testing.T, open opener) {
	s := open(t, world())
	if id(t, s, "off@example.org") == "" {
		t.Error("receives no mail")
	}
	if _, err := try(t, s, "off@example.org", "switched off 3"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("logged in: %v", err)
	}
	if sc, ok := accounts.SCRAMOf(s.Auth); ok {
		if _, err := sc.SCRAMDone(t.Context(), accounts.Attempt{Login: "off@example.org"}, true); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("logged in by SCRAM: %v", err)
		}
	}
}

func sameWork(t *testing.T, open opener) {
	s := open(t, world())
	if s.Work == nil {
		t.Fatal("the Subject does not count its work")
	}
	cost := func(addr, password string) int {
		before := s.Work()
		if _, err := try(t, s, addr, password); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("%s: %v", addr, err)
		}
		return s.Work() - before
	}
	want := cost("ann@example.org", "wrong")
	if want == 0 {
		t.Error("a wrong password costs nothing: is the work counted?")
	}
	for _, addr := range []string{"zoe@example.org", "zoe@far.example", "zoe", "", "off@example.org", "mute@example.org", "info@example.org", "a b@example.org"} {
		for _, password := range []string{"wrong", "", "switched off 3", strings.Repeat("x", 1<<20)} {
			if got := cost(addr, password); got != want {
				t.Errorf("%q with %.20q costs %d, a wrong password %d", addr, password, got, want)
			}
		}
	}
}

func scram(t *testing.T, open opener) {
	s := open(t, world())
	sc, ok := accounts.SCRAMOf(s.Auth)
	if !ok {
		t.Skip("offers no SCRAM")
	}
	keys := func(addr string) accounts.SCRAMKeys {
		t.Helper()
		k, err := sc.SCRAMKeys(t.Context(), accounts.Attempt{Login: addr})
		if err != nil || len(k.Salt) < 8 || k.Iterations < 4096 || len(k.StoredKey) != 32 || len(k.ServerKey) != 32 {
			t.Errorf("keys of %q: %+v, %v", addr, k, err)
		}
		return k
	}
	same := func(a, b accounts.SCRAMKeys) bool {
		return bytes.Equal(a.Salt, b.Salt) && bytes.Equal(a.StoredKey, b.StoredKey) && a.Iterations == b.Iterations
	}
	for _, addr := range []string{"ann@example.org", "zoe@example.org", "off@example.org", "mute@example.org", "zoe", "a b"} {
		if !same(keys(addr), keys(addr)) || !same(keys(addr), keys(strings.ToUpper(addr))) {
			t.Errorf("the keys of %q change", addr)
		}
		if a, b := keys(addr), keys("ann@example.org"); len(a.Salt) != len(b.Salt) || a.Iterations != b.Iterations {
			t.Errorf("the keys of %q look made up", addr)
		}
	}
	if same(keys("zoe@example.org"), keys("joe@example.org")) {
		t.Error("one salt for all unknown logins")
	}
	for addr, ok := range map[string]bool{"ann@example.org": true, "Ann@Example.org": false, "zoe@example.org": true, "mute@example.org": true} {
		l, err := sc.SCRAMDone(t.Context(), accounts.Attempt{Login: addr}, ok)
		if want := addr == "ann@example.org"; (err == nil) != want || (l.Account != "") != want || err != nil && !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("SCRAMDone(%s, %v): %+v, %v", addr, ok, l, err)
		}
	}
	if s.Reopen == nil {
		return
	}
	zoe, ann := keys("zoe@example.org"), keys("ann@example.org")
	s = s.Reopen()
	sc, _ = accounts.SCRAMOf(s.Auth)
	if !same(zoe, keys("zoe@example.org")) || !same(ann, keys("ann@example.org")) {
		t.Error("the keys change with a restart")
	}
}

// scramWork counts, like sameWork.
func scramWork(t *testing.T, open opener) {
	s := open(t, world())
	sc, ok := accounts.SCRAMOf(s.Auth)
	if !ok {
		t.Skip("offers no SCRAM")
	}
	want := -1
	for range 2 { // the second time it may have been remembered
		for _, addr := range []string{"ann@example.org", "zoe@example.org", "bob@example.org", "off@example.org", "mute@example.org", "info@example.org", "zoe", ""} {
			before := s.Work()
			if _, err := sc.SCRAMKeys(t.Context(), accounts.Attempt{Login: addr}); err != nil {
				t.Error(err)
			}
			if _, err := sc.SCRAMDone(t.Context(), accounts.Attempt{Login: addr}, false); !errors.Is(err, accounts.ErrBadCredentials) {
				t.Error(err)
			}
			got := s.Work() - before
			if want < 0 {
				want = got
			}
			if got != want {
				t.Errorf("%q costs %d, the first login %d", addr, got, want)
			}
		}
	}
}

func setPassword(t *testing.T, open opener) {
	s := open(t, world())
	p, ok := s.Auth.(accounts.PasswordSetter)
	if !ok {
		t.Skip("passwords cannot be set")
	}
	set := func(addr, old, password string, want error) {
		t.Helper()
		if err := p.SetPassword(t.Context(), accounts.Attempt{Login: addr, Password: old}, password); !errors.Is(err, want) {
			t.Errorf("%s from %q to %.30q: %v, want %v", addr, old, password, err, want)
		}
	}
	set("ann@example.org", "wrong", "a new password", accounts.ErrBadCredentials)
	set("zoe@example.org", "wrong", "a new password", accounts.ErrBadCredentials)
	set("off@example.org", "switched off 3", "a new password", accounts.ErrBadCredentials)
	set("mute@example.org", "", "a new password", accounts.ErrBadCredentials)
	for _, weak := range []string{"", "short", "password", "ann@example.org", "aaaaaaaaaaaa", "nul \x00 inside", "no utf8 \xff", strings.Repeat("long", 1000)} {
		set("ann@example.org", "correct horse 1", weak, accounts.ErrWeakPassword)
	}
	if _, err := try(t, s, "ann@example.org", "correct horse 1"); err != nil {
		t.Errorf("the old password went with a failure: %v", err)
	}
	var before accounts.SCRAMKeys
	sc, scram := accounts.SCRAMOf(s.Auth)
	if scram {
		before, _ = sc.SCRAMKeys(t.Context(), accounts.Attempt{Login: "ann@example.org"})
	}
	set("Ann@example.org", "correct horse 1", "a new password", nil)
	for range 2 {
		if _, err := try(t, s, "ann@example.org", "a new password"); err != nil {
			t.Errorf("the new password does not hold: %v", err)
		}
		if _, err := try(t, s, "ann@example.org", "correct horse 1"); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("the old password still holds: %v", err)
		}
		if s.Reopen == nil {
			break
		}
		s = s.Reopen()
	}
	p = s.Auth.(accounts.PasswordSetter)
	errs := make([]error, 4) // of four changes from one password, one holds
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = p.SetPassword(t.Context(), accounts.Attempt{Login: "bob@example.org", Password: "battery staple 2"}, fmt.Sprintf("the new one, %d", i))
		})
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err == nil && won >= 0 || err != nil && !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("change %d beside %d: %v", i, won, err)
		}
		if err == nil {
			won = i
		}
	}
	if _, err := try(t, s, "bob@example.org", fmt.Sprintf("the new one, %d", won)); err != nil {
		t.Errorf("change %d said that it holds: %v", won, err)
	}
	if sc, _ = accounts.SCRAMOf(s.Auth); scram {
		if after, _ := sc.SCRAMKeys(t.Context(), accounts.Attempt{Login: "ann@example.org"}); bytes.Equal(before.StoredKey, after.StoredKey) {
			t.Error("the SCRAM keys are still those of the old password")
		}
	}
}
