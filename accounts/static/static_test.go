package static_test

import (
	"errors"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/accounts/password"
	"github.com/mailkeel/mailkeel/accounts/static"
)

func account(addr, pass string) static.Account {
	return static.Account{Account: accounts.Account{Address: addr}, Password: pass}
}

func TestCheckFindsMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		d    *static.Directory
		want error
	}{
		"bad address":    {&static.Directory{Accounts: []static.Account{account("ann", "x")}}, accounts.ErrBadAddress},
		"bad domain":     {&static.Directory{Domains: []accounts.Domain{{Name: "a b"}}}, accounts.ErrBadAddress},
		"domain twice":   {&static.Directory{Domains: []accounts.Domain{{Name: "x.org"}, {Name: "X.ORG"}}}, accounts.ErrExists},
		"address twice":  {&static.Directory{Accounts: []static.Account{account("a@x.org", ""), account("A@X.org", "")}}, accounts.ErrExists},
		"alias as well":  {&static.Directory{Accounts: []static.Account{account("a@x.org", "")}, Aliases: []accounts.Alias{{Address: "a@x.org"}}}, accounts.ErrExists},
		"not our domain": {&static.Directory{Domains: []accounts.Domain{{Name: "x.org"}}, Accounts: []static.Account{account("a@y.org", "")}}, accounts.ErrNotLocal},
		"bad hash":       {&static.Directory{Accounts: []static.Account{account("a@x.org", "$argon2id$v=19$m=99999999,t=1,p=1$AAAA$AAAA")}}, password.ErrFormat},
		"one ID for two": {&static.Directory{Accounts: []static.Account{
			{Account: accounts.Account{ID: "a1", Address: "a@x.org"}}, {Account: accounts.Account{ID: "a1", Address: "b@x.org"}}}}, accounts.ErrExists},
		"bare postmaster": {&static.Directory{Accounts: []static.Account{account("postmaster", "")}}, accounts.ErrBadAddress},
	} {
		if err := tt.d.Check(); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
		if _, err := tt.d.Resolve(t.Context(), "a@x.org"); !errors.Is(err, tt.want) {
			t.Errorf("%s: Resolve says %v", name, err)
		}
	}
	if err := (&static.Directory{}).Check(); err != nil {
		t.Error("the zero directory:", err)
	}
}

// A directory with one hash in it computes one for each login, whoever it is.
func TestHashedAndPlainCostTheSame(t *testing.T) {
	var n int
	h := &password.Hasher{Params: password.Params{Memory: 8, Time: 1}, Hashed: func() { n++ }}
	phc, err := h.Hash(t.Context(), "hashed password")
	if err != nil {
		t.Fatal(err)
	}
	d := &static.Directory{Hasher: h, Accounts: []static.Account{account("plain@x.org", "plain password"), account("hash@x.org", phc)}}
	for _, login := range []string{"plain@x.org", "hash@x.org", "nobody@x.org"} {
		for _, pass := range []string{"plain password", "hashed password", "", phc} {
			n = 0
			_, err := d.Authenticate(t.Context(), accounts.Attempt{Login: login, Password: pass})
			want := login == "plain@x.org" && pass == "plain password" || login == "hash@x.org" && pass == "hashed password"
			if (err == nil) != want || n != 1 {
				t.Errorf("%s with %q: %v and %d hashes", login, pass, err, n)
			}
		}
	}
	if _, ok := accounts.SCRAMOf(d); ok {
		t.Error("offers SCRAM although an account has no keys")
	}
	keys, _ := h.SCRAM("hashed password")
	d = &static.Directory{Hasher: h, Accounts: []static.Account{{Account: accounts.Account{Address: "hash@x.org"}, Password: phc, SCRAM: keys}}}
	if _, ok := accounts.SCRAMOf(d); !ok {
		t.Error("offers no SCRAM although all accounts have keys")
	}
}

func open(hash bool) func(*testing.T, accountstest.Fixture) accountstest.Subject {
	known := map[string]static.Account{} // keys take time to make
	return func(t *testing.T, f accountstest.Fixture) accountstest.Subject {
		var n int
		d := &static.Directory{Domains: f.Domains, Aliases: f.Aliases, Compared: func() { n++ }}
		d.Tokens, d.Certificates, d.Impersonation = accountstest.Token, accounts.CertificateAddress, true
		d.Hasher = &password.Hasher{Params: password.Params{Memory: 8, Time: 1}}
		if !hash {
			d.Hasher.Hashed = d.Compared
		}
		for _, a := range f.Accounts {
			acc := static.Account{Account: a.Account, Password: a.Password}
			if hash && a.Password != "" {
				if known[a.Password].Password == "" {
					phc, err := d.Hasher.Hash(t.Context(), a.Password)
					keys, err2 := d.Hasher.SCRAM(a.Password)
					if err = errors.Join(err, err2); err != nil {
						t.Fatal(err)
					}
					known[a.Password] = static.Account{Password: phc, SCRAM: keys}
				}
				acc.Password, acc.SCRAM = known[a.Password].Password, known[a.Password].SCRAM
			}
			d.Accounts = append(d.Accounts, acc)
		}
		if hash {
			d.Hasher.Hashed, d.Compared = d.Compared, nil
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		return accountstest.Subject{Directory: d, Auth: d, Work: func() int { return n }}
	}
}

func TestConformance(t *testing.T) {
	t.Run("plain", func(t *testing.T) { accountstest.Run(t, open(false)) })
	t.Run("hashed", func(t *testing.T) { accountstest.Run(t, open(true)) })
}
