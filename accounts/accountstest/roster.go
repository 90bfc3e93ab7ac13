package accountstest

import (
	"errors"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

// roster checks a Directory as an accounts.Roster, if it is one.
func roster(t *testing.T, open opener) {
	s := open(t, world())
	r, ok := s.Directory.(accounts.Roster)
	if !ok {
		t.Skip("it is no Roster")
	}
	ctx := t.Context()
	for given, want := range map[string]accounts.Identity{
		"ann@example.org":         {Address: "ann@example.org"},
		"ANN@Example.ORG":         {Address: "ann@example.org"},
		`"ann"@example.org`:       {Address: "ann@example.org"},
		"off@example.org":         {Address: "off@example.org"}, // mail and mailboxes are there still
		"dot+ted@example.org":     {Address: "dot+ted@example.org"},
		"eve@b\u00fccher.example": {Address: "eve@xn--bcher-kva.example"},
		"Desk@example.org":        {Address: "desk@example.org", Shared: true},
	} {
		want.ID = id(t, s, given)
		if got, err := r.ByAddress(ctx, given); got != want || err != nil {
			t.Errorf("ByAddress(%q): %+v, %v, want %+v", given, got, err, want)
		}
		if got, err := r.ByID(ctx, want.ID); got != want || err != nil {
			t.Errorf("ByID(%q): %+v, %v, want %+v", want.ID, got, err, want)
		}
	}
	for _, given := range []string{
		"info@example.org", "ann+x@example.org", "any@example.net", "postmaster", "postmaster@example.org", // lead to accounts
		"gone@example.org", "ann@far.example", "ann", "", "@", "@example.org", "a b@example.org", "ann@example.org\x00", "anyone", "%@example.org",
	} {
		if got, err := r.ByAddress(ctx, given); !errors.Is(err, accounts.ErrNoUser) || got != (accounts.Identity{}) {
			t.Errorf("ByAddress(%q): %+v, %v", given, got, err)
		}
	}
	for _, id := range []mailkeel.AccountID{"", "nobody", "ann@example.org"} {
		if got, err := r.ByID(ctx, id); !errors.Is(err, accounts.ErrNoUser) || got != (accounts.Identity{}) {
			t.Errorf("ByID(%q): %+v, %v", id, got, err)
		}
	}
}

// setQuota checks a Directory as an accounts.QuotaSetter, if it is one.
func setQuota(t *testing.T, s Subject) {
	q, ok := s.Directory.(accounts.QuotaSetter)
	if !ok {
		t.Skip("it is no QuotaSetter")
	}
	ctx := t.Context()
	ann := mustCreate(t, s, accounts.Account{Address: "ann@example.org", Quota: 5, MaxMessages: 6, Name: "Ann"}, "")
	bob := mustCreate(t, s, accounts.Account{Address: "bob@example.org", Quota: 7}, "")
	for _, want := range []mailkeel.Quota{{Bytes: 1 << 40, Messages: 10}, {Messages: 3}, {Bytes: 9}, {}} {
		if err := q.SetQuota(ctx, ann.ID, want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Directory.Limit(ctx, ann.ID); got != want || err != nil {
			t.Errorf("Limit: %+v, %v, want %+v", got, err, want)
		}
	}
	if got, err := s.Manager.Account(ctx, string(ann.ID)); err != nil || got.Name != "Ann" || got.Address != ann.Address {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := q.SetQuota(ctx, ann.ID, mailkeel.Quota{Messages: -1}); err == nil {
		t.Error("a negative number of messages was taken")
	}
	if err := q.SetQuota(ctx, "nobody", mailkeel.Quota{Bytes: 1}); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("nobody: %v", err)
	}
	if got, err := s.Directory.Limit(ctx, bob.ID); got != (mailkeel.Quota{Bytes: 7}) || err != nil {
		t.Errorf("bob has %+v, %v", got, err)
	}
}
