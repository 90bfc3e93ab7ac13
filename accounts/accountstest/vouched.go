package accountstest

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
)

// Token is the TokenFunc that a directory which is tested has, if it can have one: a
// token is "good:" and an address, or "imap:" and one, which is for the door "imap"
// alone. "broken" cannot be checked.
func Token(_ context.Context, a accounts.Attempt) (address string, scopes []string, err error) {
	if address, ok := strings.CutPrefix(a.Password, "good:"); ok {
		return address, nil, nil
	}
	if address, ok := strings.CutPrefix(a.Password, "imap:"); ok {
		return address, []string{"imap"}, nil
	}
	if a.Password == "broken" {
		return "", nil, errBroken
	}
	return "", nil, &accounts.TokenError{Scope: "mail"}
}

var errBroken = errors.New("nobody to ask")

// chain is that of a certificate for some addresses.
func chain(addresses ...string) []*x509.Certificate {
	return []*x509.Certificate{{EmailAddresses: addresses}}
}

// noAccount are addresses with which nobody logs in.
var noAccount = []string{"zoe@example.org", "off@example.org", "info@example.org", "ann+x@example.org", "any@example.net", "postmaster", "zoe@far.example", "zoe", "", "a b@example.org"}

func tokens(t *testing.T, open opener) {
	s := open(t, world())
	auth, ok := accounts.TokensOf(s.Auth)
	if !ok {
		t.Skip("takes no tokens")
	}
	ann, mute := id(t, s, "ann@example.org"), id(t, s, "mute@example.org")
	try := func(login, token string) (accounts.Login, error) {
		return auth.AuthenticateToken(t.Context(), accounts.Attempt{Login: login, Password: token, Door: "test", TLS: true})
	}
	for _, login := range []string{"", "ann@example.org", "ANN@Example.org"} {
		if l, err := try(login, "good:Ann@example.org"); err != nil || l.Account != ann || l.Scopes != nil || l.By != "" || !slices.Equal(l.AdminOf, []string{"*"}) {
			t.Errorf("as %q: %+v, %v", login, l, err)
		}
	}
	if l, err := try("", "good:mute@example.org"); err != nil || l.Account != mute {
		t.Errorf("without a password: %+v, %v", l, err)
	}
	if l, err := try("", "imap:ann@example.org"); err != nil || !slices.Equal(l.Scopes, []string{"imap"}) {
		t.Errorf("for one door: %+v, %v", l, err)
	}
	for _, addr := range noAccount {
		if l, err := try("", "good:"+addr); !errors.Is(err, accounts.ErrBadCredentials) || l.Account != "" {
			t.Errorf("a token of %q: %+v, %v", addr, l, err)
		}
		if l, err := try(addr, "bad"); !errors.Is(err, accounts.ErrBadCredentials) || l.Account != "" {
			t.Errorf("a bad token as %q: %+v, %v", addr, l, err)
		}
		if addr == "" {
			continue
		}
		if l, err := try(addr, "good:bob@example.org"); !errors.Is(err, accounts.ErrMayNotAct) && !errors.Is(err, accounts.ErrBadCredentials) || l.Account != "" {
			t.Errorf("a token of bob as %q: %+v, %v", addr, l, err)
		}
	}
	if l, err := try("ann@example.org", "good:bob@example.org"); err == nil {
		t.Errorf("bob as ann: %+v", l)
	}
	var told *accounts.TokenError
	if _, err := try("ann@example.org", "bad"); !errors.As(err, &told) || told.Scope != "mail" {
		t.Errorf("what the client is to know is lost: %v", err)
	}
	for _, token := range []string{"", "correct horse 1"} { // a password is none
		if l, err := try("ann@example.org", token); !errors.Is(err, accounts.ErrBadCredentials) || l.Account != "" {
			t.Errorf("%q: %+v, %v", token, l, err)
		}
	}
	if _, err := try("", "broken"); !errors.Is(err, errBroken) {
		t.Errorf("could not be checked: %v", err)
	}
}

func certificates(t *testing.T, open opener) {
	s := open(t, world())
	auth, ok := accounts.CertificatesOf(s.Auth)
	if !ok {
		t.Skip("takes no certificates")
	}
	ann := id(t, s, "ann@example.org")
	try := func(login string, chain []*x509.Certificate) (accounts.Login, error) {
		return auth.AuthenticateCertificate(t.Context(), accounts.Attempt{Login: login, Door: "test", TLS: true}, chain)
	}
	for _, login := range []string{"", "ann@example.org", "ANN@Example.org"} {
		if l, err := try(login, chain("Ann@example.org")); err != nil || l.Account != ann || l.Scopes != nil || l.By != "" {
			t.Errorf("as %q: %+v, %v", login, l, err)
		}
	}
	for _, c := range [][]*x509.Certificate{nil, chain(), chain("ann@example.org", "bob@example.org")} {
		if l, err := try("", c); !errors.Is(err, accounts.ErrBadCredentials) || l.Account != "" {
			t.Errorf("%d certificates: %+v, %v", len(c), l, err)
		}
	}
	for _, addr := range noAccount {
		if l, err := try("", chain(addr)); !errors.Is(err, accounts.ErrBadCredentials) || l.Account != "" {
			t.Errorf("a certificate of %q: %+v, %v", addr, l, err)
		}
	}
	if l, err := try("ann@example.org", chain("bob@example.org")); err == nil {
		t.Errorf("bob as ann: %+v", l)
	}
}

// impersonate: ann looks after all domains, bob after none.
func impersonate(t *testing.T, open opener) {
	s := open(t, world())
	auth, ok := accounts.ImpersonatorOf(s.Auth)
	if !ok {
		t.Skip("lets nobody act as another")
	}
	login := func(addr, password string) accounts.Login {
		l, err := try(t, s, addr, password)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	ann, bob := login("ann@example.org", "correct horse 1"), login("bob@example.org", "battery staple 2")
	ann.Scopes = []string{"imap"}
	for _, addr := range []string{"bob@example.org", "BOB@Example.org"} {
		if l, err := auth.Impersonate(t.Context(), ann, addr); err != nil || l.Account != bob.Account || l.By != ann.Account || l.AdminOf != nil || !slices.Equal(l.Scopes, []string{"imap"}) {
			t.Errorf("ann as %s: %+v, %v", addr, l, err)
		}
	}
	if l, err := auth.Impersonate(t.Context(), bob, "Bob@example.org"); err != nil || l.Account != bob.Account || l.By != "" {
		t.Errorf("bob as himself: %+v, %v", l, err)
	}
	refuse := func(by accounts.Login, addr string) {
		t.Helper()
		if l, err := auth.Impersonate(t.Context(), by, addr); !errors.Is(err, accounts.ErrMayNotAct) || l.Account != "" {
			t.Errorf("%s as %q: %+v, %v", by.Account, addr, l, err)
		}
	}
	for _, addr := range noAccount {
		refuse(ann, addr)
		refuse(bob, addr)
	}
	refuse(bob, "ann@example.org")
	part := accounts.Login{Account: bob.Account, AdminOf: []string{"example.net", "xn--bcher-kva.example"}}
	refuse(part, "ann@example.org")
	if l, err := auth.Impersonate(t.Context(), part, "eve@b\u00fccher.example"); err != nil || l.By != bob.Account {
		t.Errorf("the administrator of a domain: %+v, %v", l, err)
	}
	twice, err := auth.Impersonate(t.Context(), ann, "bob@example.org")
	if err != nil {
		t.Fatal(err)
	}
	twice.AdminOf = []string{"*"}
	refuse(twice, "ann@example.org")
}
