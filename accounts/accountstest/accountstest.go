// Package accountstest checks directories of accounts: implementations of
// accounts.Directory, Roster, QuotaSetter, Authenticator and what it may be beside, and
// Manager.
package accountstest

import (
	"context"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

// A Subject is what is tested. Directory and Auth are often the same.
type Subject struct {
	Directory accounts.Directory
	// Auth is tested as a SCRAMAuthenticator, TokenAuthenticator,
	// CertificateAuthenticator, Impersonator and PasswordSetter if it is one.
	// Its tokens are checked by Token, its certificates by
	// accounts.CertificateAddress, and administrators may act as others.
	Auth accounts.Authenticator
	// Manager is nil for a directory that cannot be changed.
	Manager accounts.Manager
	// Work returns how many passwords were hashed or compared so far.
	Work func() int
	// Reopen closes all and opens it again; nil if nothing is kept.
	Reopen func() Subject
}

// A Fixture is what a directory starts with.
type Fixture struct {
	Domains  []accounts.Domain
	Accounts []Account // without IDs
	Aliases  []accounts.Alias
}

// An Account is one with its password.
type Account struct {
	accounts.Account
	Password string
}

// Fill puts a fixture into a new directory.
func Fill(ctx context.Context, m accounts.Manager, f Fixture) error {
	for _, d := range f.Domains {
		if err := m.PutDomain(ctx, d); err != nil {
			return err
		}
	}
	for _, a := range f.Accounts {
		if _, err := m.CreateAccount(ctx, a.Account, a.Password); err != nil {
			return err
		}
	}
	for _, a := range f.Aliases {
		if err := m.PutAlias(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// Run checks a directory. open makes one that has f; it is called for each test,
// which may run beside others. Passwords in f are longer than ten characters.
func Run(t *testing.T, open func(t *testing.T, f Fixture) Subject) {
	for name, test := range map[string]func(t *testing.T, open func(*testing.T, Fixture) Subject){
		"CaseDoesNotMatter":              caseDoesNotMatter,
		"UnknownAndForeignAreToldApart":  unknownAndForeign,
		"PlusPartNamesAFolder":           plusParts,
		"AliasesHereAndElsewhere":        aliases,
		"LoopsEnd":                       loops,
		"NestsTenDeepAndNoDeeper":        depth,
		"ThousandTargetsAndNoMore":       targets,
		"CatchAll":                       catchAll,
		"PostmasterIsThere":              postmaster,
		"DisabledReceivesButNeverLogsIn": disabled,
		"SendAsRights":                   sendAs,
		"Limit":                          limit,
		"Roster":                         roster,
		"LoginNeedsThePassword":          login,
		"UnknownUserCostsTheSame":        sameWork,
		"SCRAMKeys":                      scram,
		"SCRAMCostsTheSame":              scramWork,
		"TokenIsOfItsAccount":            tokens,
		"CertificateIsOfItsAccount":      certificates,
		"ActingAsAnotherNeedsAGrant":     impersonate,
		"SetPassword":                    setPassword,
		"HeedsItsContext":                canceled,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// world is the fixture of most tests.
func world() Fixture {
	return Fixture{
		Domains: []accounts.Domain{
			{Name: "example.org", Postmaster: "bob@example.org"},
			{Name: "example.net", CatchAll: "ann@example.org"},
			{Name: "xn--bcher-kva.example"},
		},
		Accounts: []Account{
			{accounts.Account{Address: "ann@example.org", Quota: 1 << 20, SendAs: []string{"Boss@Example.com", "*@example.net"}, AdminOf: []string{"*"}}, "correct horse 1"},
			{accounts.Account{Address: "bob@example.org"}, "battery staple 2"},
			{accounts.Account{Address: "off@example.org", Disabled: true, SendAs: []string{"x@example.com"}}, "switched off 3"},
			{accounts.Account{Address: "mute@example.org"}, ""},
			{accounts.Account{Address: "desk@example.org", MaxMessages: 1000, Shared: true}, ""},
			{accounts.Account{Address: "dot+ted@example.org"}, "another one 4"},
			{accounts.Account{Address: "eve@xn--bcher-kva.example"}, "evening star 5"},
		},
		Aliases: []accounts.Alias{
			{Address: "info@example.org", Targets: []string{"ann@example.org"}},
			{Address: "team@example.org", Targets: []string{"Ann@example.org", "bob@EXAMPLE.org", "info@example.org", "Zoe@far.example", "zoe@far.example", "Zoe@FAR.example", "gone@example.org"}},
			{Address: "all@example.net", Targets: []string{"team@example.org", "eve@b\u00fccher.example"}},
			{Address: "dead@example.org", Targets: []string{"gone@example.org"}},
			{Address: "filed@example.org", Targets: []string{"ann+Lists@example.org", "ann@example.org"}},
			{Address: "crew@example.org", Targets: []string{"bob@example.org", "postmaster@example.org"}},
			{Address: "abroad@example.org", Targets: []string{"zoe@far.example"}},
		},
	}
}

// one resolves an address to one target and returns it.
func one(t *testing.T, s Subject, addr string) accounts.Target {
	t.Helper()
	r, err := s.Directory.Resolve(t.Context(), addr)
	if err != nil || len(r.Targets) != 1 {
		t.Fatalf("Resolve(%q): %v, %v, want one target", addr, r.Targets, err)
	}
	return r.Targets[0]
}

// id returns the account that an address leads to.
func id(t *testing.T, s Subject, addr string) mailkeel.AccountID {
	t.Helper()
	target := one(t, s, addr)
	if target.Account == "" {
		t.Fatalf("Resolve(%q): %v, want an account", addr, target)
	}
	return target.Account
}

func try(t *testing.T, s Subject, addr, password string) (accounts.Login, error) {
	t.Helper()
	return s.Auth.Authenticate(t.Context(), accounts.Attempt{Login: addr, Password: password, Door: "test", TLS: true})
}
