package sasl_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/accounts/sasl"
	"github.com/mailkeel/mailkeel/accounts/static"
)

func directory() *static.Directory {
	return &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@example.org"}, Password: "caf\u00e9 horse"},
		{Account: accounts.Account{ID: "b2", Address: "bob@example.org", Disabled: true}, Password: "staple staple"},
		{Account: accounts.Account{ID: "c3", Address: `"c,=3"@example.org`}, Password: "comma equals"},
	}}
}

// scramClient is the client of xdg-go as one of go-sasl.
type scramClient struct {
	conv *scram.ClientConversation
	mech string
}

func (c scramClient) Start() (string, []byte, error) {
	ir, err := c.conv.Step("")
	return c.mech, []byte(ir), err
}

func (c scramClient) Next(challenge []byte) ([]byte, error) {
	r, err := c.conv.Step(string(challenge))
	return []byte(r), err
}

func newSCRAM(t *testing.T, authzid, login, password string) gosasl.Client {
	c, err := scram.SHA256.NewClient(login, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return scramClient{c.NewConversation(), sasl.SCRAMSHA256}
}

// talk leads an exchange to its end, with an initial response or without.
func talk(t *testing.T, o sasl.Offer, c gosasl.Client, ir bool) (accounts.Login, error) {
	t.Helper()
	mech, first, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	var who accounts.Login
	calls := 0
	s, err := o.Start(t.Context(), mech, accounts.Attempt{TLS: true, Door: "test"}, func(l accounts.Login) { who = l; calls++ })
	if err != nil {
		t.Fatal(err)
	}
	next := first
	if !ir {
		challenge, done, err := s.Next(nil)
		if done || err != nil || challenge == nil || mech != sasl.Login && len(challenge) > 0 {
			t.Fatalf("no empty challenge: %q, %v, %v", challenge, done, err)
		}
	}
	for range 5 {
		challenge, done, err := s.Next(next)
		if err != nil || done {
			if want := err == nil; calls == 1 != want || done != want {
				t.Errorf("done %v, told %d times, %v", done, calls, err)
			}
			if _, _, again := s.Next([]byte("x")); !errors.Is(again, sasl.ErrMalformed) {
				t.Errorf("went on after its end: %v", again)
			}
			return who, err
		}
		if next, err = c.Next(challenge); err != nil {
			t.Fatalf("client: %v", err)
		}
		if next == nil {
			next = []byte{}
		}
	}
	t.Fatal("no end")
	return who, nil
}

func TestClientsLogIn(t *testing.T) {
	o := sasl.Offer{Auth: directory()}
	clients := func(authzid, login, pass string) map[string]gosasl.Client {
		m := map[string]gosasl.Client{
			sasl.Plain:       gosasl.NewPlainClient(authzid, login, pass),
			sasl.SCRAMSHA256: newSCRAM(t, authzid, login, pass),
		}
		if authzid == "" {
			m[sasl.Login] = gosasl.NewLoginClient(login, pass)
		}
		return m
	}
	for _, tt := range []struct {
		authzid, login, pass string
		want                 error
	}{
		{"", "ann@example.org", "caf\u00e9 horse", nil},
		{"", "Ann@EXAMPLE.org", "caf\u00e9 horse", nil},
		{"ANN@example.org", "ann@example.org", "caf\u00e9 horse", nil},
		{"", `"c,=3"@example.org`, "comma equals", nil},
		{"", "ann@example.org", "wrong", accounts.ErrBadCredentials},
		{"", "ann@example.org", "", accounts.ErrBadCredentials},
		{"", "ann", "caf\u00e9 horse", accounts.ErrBadCredentials},
		{"", "bob@example.org", "staple staple", accounts.ErrBadCredentials},
		{"", "zoe@example.org", "wrong", accounts.ErrBadCredentials},
		{"bob@example.org", "ann@example.org", "caf\u00e9 horse", accounts.ErrMayNotAct},
		{"bob@example.org", "ann@example.org", "wrong", accounts.ErrBadCredentials},
	} {
		for mech, c := range clients(tt.authzid, tt.login, tt.pass) {
			for _, ir := range []bool{true, false} {
				if mech == sasl.Plain || mech == sasl.Login || ir {
					c = clients(tt.authzid, tt.login, tt.pass)[mech]
				} else {
					c = newSCRAM(t, tt.authzid, tt.login, tt.pass)
				}
				who, err := talk(t, o, c, ir)
				if !errors.Is(err, tt.want) || (err == nil) != (who.Account != "") {
					t.Errorf("%s %q %q %q: %v, %v", mech, tt.authzid, tt.login, tt.pass, who, err)
				}
				if errors.Is(err, accounts.ErrBadCredentials) && err.Error() != "authentication failed" {
					t.Errorf("%s: the client is told %q", mech, err)
				}
			}
		}
	}
}

func TestNothingWithoutTLS(t *testing.T) {
	o := sasl.Offer{Auth: directory()}
	if m := o.Mechanisms(false); m != nil {
		t.Errorf("offers %v in clear", m)
	}
	if m := o.Mechanisms(true); strings.Join(m, " ") != "SCRAM-SHA-256 PLAIN LOGIN" {
		t.Errorf("offers %v", m)
	}
	for mech, want := range map[string]error{"PLAIN": sasl.ErrNeedsTLS, "plain": sasl.ErrNeedsTLS, "SCRAM-SHA-256": sasl.ErrNeedsTLS, "CRAM-MD5": sasl.ErrUnsupported, "": sasl.ErrUnsupported} {
		if _, err := o.Start(t.Context(), mech, accounts.Attempt{}, nil); !errors.Is(err, want) {
			t.Errorf("%q in clear: %v, want %v", mech, err, want)
		}
	}
	if _, err := (sasl.Offer{Auth: directory(), Insecure: true}).Start(t.Context(), "login", accounts.Attempt{}, nil); err != nil {
		t.Error(err)
	}
	if m := (sasl.Offer{}).Mechanisms(true); m != nil {
		t.Errorf("nobody to ask, but offers %v", m)
	}
}

// failing answers every question with one error.
type failing struct{ err error }

func (f failing) Authenticate(context.Context, accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{}, f.err
}
func (f failing) SCRAMKeys(context.Context, accounts.Attempt) (accounts.SCRAMKeys, error) {
	return accounts.SCRAMKeys{}, f.err
}
func (f failing) SCRAMDone(context.Context, accounts.Attempt, bool) (accounts.Login, error) {
	return accounts.Login{Account: "never"}, nil
}

func TestOnlyPLAINWithoutKeys(t *testing.T) {
	type plainOnly struct{ accounts.Authenticator }
	if m := (sasl.Offer{Auth: plainOnly{directory()}}).Mechanisms(true); strings.Join(m, " ") != "PLAIN LOGIN" {
		t.Errorf("offers %v", m)
	}
}

func TestErrorsAreToldApartAndSayLittle(t *testing.T) {
	disk := errors.New("/var/db/secret.sqlite: disk I/O error")
	for _, tt := range []struct {
		err  error
		code int
	}{{accounts.ErrThrottled, 454}, {disk, 454}, {accounts.ErrBadCredentials, 535}} {
		for _, c := range []gosasl.Client{gosasl.NewPlainClient("", "ann@example.org", "x"), gosasl.NewLoginClient("ann@example.org", "x"), newSCRAM(t, "", "ann@example.org", "x")} {
			_, err := talk(t, sasl.Offer{Auth: failing{tt.err}}, c, true)
			if !errors.Is(err, tt.err) || strings.Contains(err.Error(), "/") {
				t.Errorf("%T: %v, want %v", c, err, tt.err)
			}
			if r := sasl.Reply(err); r.Code != tt.code || strings.Contains(r.Reply(), "/") {
				t.Errorf("reply %v", r.Reply())
			}
		}
	}
	for err, code := range map[error]int{sasl.ErrUnsupported: 504, sasl.ErrNeedsTLS: 538, sasl.ErrMalformed: 501} {
		if r := sasl.Reply(err); r.Code != code {
			t.Errorf("%v: %v", err, r)
		}
	}
}

// An Authenticator that says yes to a wrong proof is not believed.
func TestWrongProofNeverLogsIn(t *testing.T) {
	d := directory()
	_, err := talk(t, sasl.Offer{Auth: yes{d, d}}, newSCRAM(t, "", "ann@example.org", "wrong"), true)
	if !errors.Is(err, accounts.ErrBadCredentials) {
		t.Error(err)
	}
}

type yes struct {
	accounts.Authenticator
	accounts.SCRAMAuthenticator
}

func (yes) SCRAMDone(context.Context, accounts.Attempt, bool) (accounts.Login, error) {
	return accounts.Login{Account: "a1"}, nil
}

var malformed = map[string][]string{
	sasl.Plain:       {"", "ann@example.org", "a\x00b", "\x00\x00pw", "\x00ann@example.org\x00p\x00w", "\x00ann\n@example.org\x00pw", "\x00\xff\x00pw", strings.Repeat("x", 5000)},
	sasl.Login:       {"\x00", "ann\r\n", strings.Repeat("x", 5000), "\xff"},
	sasl.SCRAMSHA256: {"", "n", "n,,", "x,,n=a,r=b", "p=tls-unique,,n=ann@example.org,r=b", "n,,n=a=b,r=c", "n,,m=1,n=a,r=b", "n,a=x=,n=a,r=b", "n,,n=,r=b", "n,,n=a\x00,r=b", "n,,n=ann@example.org,r=b\r\n", "n,a=bob=example.org,n=ann@example.org,r=b", "y,a=\xff,n=ann@example.org,r=b", strings.Repeat("n,", 3000)},
}

func TestMalformedResponses(t *testing.T) {
	o := sasl.Offer{Auth: directory()}
	for mech, list := range malformed {
		for _, r := range list {
			s, err := o.Start(t.Context(), mech, accounts.Attempt{TLS: true}, func(accounts.Login) { t.Errorf("%q logged in", r) })
			if err != nil {
				t.Fatal(err)
			}
			_, done, err := s.Next([]byte(r))
			if mech == sasl.Login && err == nil {
				_, done, err = s.Next([]byte("pw"))
			}
			if done || !errors.Is(err, sasl.ErrMalformed) {
				t.Errorf("%s %.40q: %v, %v", mech, r, done, err)
			}
		}
	}
}

// FuzzExchange sends three responses to a mechanism: nothing may panic, go on for
// ever or log in without the password.
func FuzzExchange(f *testing.F) {
	for mech, list := range malformed {
		for _, r := range list {
			f.Add(mech, r, "c=biws,r=b,p=AAAA", "")
		}
	}
	f.Add(sasl.SCRAMSHA256, "n,,n=ann@example.org,r=abc", "c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "")
	f.Add(sasl.Login, "ann@example.org", "x", "y")
	f.Add(sasl.Plain, "\x00ann@example.org\x00x", "", "")
	f.Add(sasl.OAuthBearer, "n,a=ann@example.org,\x01host=x\x01auth=Bearer dG9rZW4=\x01\x01", "\x01", "")
	f.Add(sasl.OAuthBearer, "y,a=a=2Cb=3D,\x01auth=\x01\x01", "", "")
	f.Add(sasl.XOAuth2, "user=ann@example.org\x01auth=Bearer b\x01\x01", "", "")
	f.Add(sasl.External, "ann@example.org", "", "")
	f.Add(sasl.SCRAMSHA256Plus, "p=tls-exporter,,n=ann@example.org,r=x", "c=biws,r=x,p=AAAA", "")
	f.Add(sasl.SCRAMSHA256, "y,a=bob@example.org,n=ann@example.org,r=x", "c=eSws,r=x,p=AAAA", "")
	d := directory()
	d.Tokens, d.Certificates, d.Impersonation = accountstest.Token, accounts.CertificateAddress, true // no token has a colon, so none is good
	channel := &sasl.Channel{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}}
	f.Fuzz(func(t *testing.T, mech, a, b, c string) {
		s, err := (sasl.Offer{Auth: d, Channel: channel}).Start(t.Context(), mech, accounts.Attempt{TLS: true}, func(accounts.Login) {
			if !strings.Contains(a+b+c, "horse") && !strings.Contains(a+b+c, "comma") {
				t.Error("logged in")
			}
		})
		if err != nil {
			return
		}
		over := false
		for _, r := range []string{a, b, c, "x"} {
			challenge, done, err := s.Next([]byte(r))
			if done && err != nil || over && err == nil || len(challenge) > 2*sasl.MaxResponse {
				t.Errorf("%q: %q, %v, %v after the end %v", r, challenge, done, err, over)
			}
			over = over || done || err != nil
		}
	})
}
