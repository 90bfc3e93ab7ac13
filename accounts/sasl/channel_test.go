package sasl_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/accounts/sasl"
)

// certify makes a certificate that signs itself.
var certify = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.org"}, NotAfter: time.Now().Add(1e6 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// connect returns what both ends of a new TLS connection know.
func connect(t *testing.T, version uint16) (client tls.ConnectionState, server *sasl.Channel) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	s := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{certify()}, SessionTicketsDisabled: true})
	done := make(chan error)
	go func() { done <- c.Handshake() }()
	if err := errors.Join(s.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState(), &sasl.Channel{State: s.ConnectionState(), Shown: certify().Certificate[0]}
}

// bound is a client of SCRAM with channel binding.
func bound(t *testing.T, mech string, b scram.ChannelBinding, password string) scramClient {
	c, err := scram.SHA256.NewClient("ann@example.org", password, "")
	if err != nil {
		t.Fatal(err)
	}
	return scramClient{c.NewConversationWithChannelBinding(b), mech}
}

func TestChannelBinding(t *testing.T) {
	const pass = "caf\u00e9 horse"
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, server := connect(t, version)
		_, elsewhere := connect(t, version)
		o := sasl.Offer{Auth: directory(), Channel: server}
		if m := o.Mechanisms(true); strings.Join(m, " ") != "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" {
			t.Errorf("offers %v", m)
		}
		exporter, err := scram.NewTLSExporterBinding(&client)
		if err != nil {
			t.Fatal(err)
		}
		end, err := scram.NewTLSServerEndpointBinding(&client)
		if err != nil {
			t.Fatal(err)
		}
		bindings := []scram.ChannelBinding{exporter, end}
		if version == tls.VersionTLS12 {
			bindings = append(bindings, scram.NewTLSUniqueBinding(client.TLSUnique))
		}
		for _, b := range bindings {
			if who, err := talk(t, o, bound(t, sasl.SCRAMSHA256Plus, b, pass), true); err != nil || who.Account != "a1" {
				t.Errorf("%x with %s: %v, %v", version, b.Type, who, err)
			}
			if _, err := talk(t, o, bound(t, sasl.SCRAMSHA256Plus, b, "wrong"), true); !errors.Is(err, accounts.ErrBadCredentials) {
				t.Errorf("%x with %s and a wrong password: %v", version, b.Type, err)
			}
			// In the middle sits someone who has another connection to us, and, for
			// tls-server-end-point, another certificate.
			other := *elsewhere
			other.Shown = other.Shown[:0]
			if b.Type == scram.ChannelBindingTLSServerEndpoint {
				continue
			}
			if _, err := talk(t, sasl.Offer{Auth: directory(), Channel: &other}, bound(t, sasl.SCRAMSHA256Plus, b, pass), true); !errors.Is(err, accounts.ErrBadCredentials) {
				t.Errorf("%x with %s of another connection: %v", version, b.Type, err)
			}
		}
		end.Data = append([]byte{end.Data[0] ^ 1}, end.Data[1:]...)
		if _, err := talk(t, o, bound(t, sasl.SCRAMSHA256Plus, end, pass), true); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("another certificate: %v", err)
		}
		// Clients without channel binding log in as before.
		if who, err := talk(t, o, newSCRAM(t, "", "ann@example.org", pass), true); err != nil || who.Account != "a1" {
			t.Errorf("without: %v, %v", who, err)
		}
		// RFC 5802, 6: the flag and the mechanism agree, and a client that could bind
		// and does not see PLUS has been lied to.
		for _, tt := range []struct {
			mech, first string
			want        error
		}{
			{sasl.SCRAMSHA256, "y,,n=ann@example.org,r=x", sasl.ErrDowngrade},
			{sasl.SCRAMSHA256, "p=tls-exporter,,n=ann@example.org,r=x", sasl.ErrMalformed},
			{sasl.SCRAMSHA256Plus, "n,,n=ann@example.org,r=x", sasl.ErrMalformed},
			{sasl.SCRAMSHA256Plus, "y,,n=ann@example.org,r=x", sasl.ErrMalformed},
			{sasl.SCRAMSHA256Plus, "p=tls-nonesuch,,n=ann@example.org,r=x", sasl.ErrMalformed},
			{sasl.SCRAMSHA256Plus, "p=,,n=ann@example.org,r=x", sasl.ErrMalformed},
			{sasl.SCRAMSHA256Plus, "p=tls-exporter,,n=ann@example.org,r=x", nil},
		} {
			s, err := o.Start(t.Context(), tt.mech, accounts.Attempt{TLS: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Next([]byte(tt.first)); !errors.Is(err, tt.want) {
				t.Errorf("%s %q: %v, want %v", tt.mech, tt.first, err, tt.want)
			}
		}
	}
	// Where there is no channel, "y" is right, and PLUS is not offered.
	o := sasl.Offer{Auth: directory()}
	if _, err := o.Start(t.Context(), sasl.SCRAMSHA256Plus, accounts.Attempt{TLS: true}, nil); !errors.Is(err, sasl.ErrUnsupported) {
		t.Error(err)
	}
	s, _ := o.Start(t.Context(), sasl.SCRAMSHA256, accounts.Attempt{TLS: true}, nil)
	if _, _, err := s.Next([]byte("y,,n=ann@example.org,r=x")); err != nil {
		t.Error(err)
	}
}

// EXTERNAL is there for clients with a verified certificate alone.
func TestExternal(t *testing.T) {
	d := directory()
	d.Certificates, d.Impersonation = accounts.CertificateAddress, true
	d.Accounts[2].AdminOf = []string{"*"}
	channel := func(address string) *sasl.Channel {
		return &sasl.Channel{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{EmailAddresses: []string{address}}}}}}
	}
	o := sasl.Offer{Auth: d, Channel: channel("ann@example.org")}
	if m := o.Mechanisms(true); m[0] != sasl.External {
		t.Errorf("offers %v", m)
	}
	for _, tt := range []struct {
		cert, authzid string
		who           string
		want          error
	}{
		{"ann@example.org", "", "a1", nil},
		{"ann@example.org", "Ann@example.org", "a1", nil},
		{"ann@example.org", "zoe@example.org", "", accounts.ErrMayNotAct},
		{"ann@example.org", "ann\x00", "", sasl.ErrMalformed},
		{"ann@example.org", strings.Repeat("x", 600), "", sasl.ErrMalformed},
		{`"c,=3"@example.org`, "ann@example.org", "a1", nil},
		{`"c,=3"@example.org`, "zoe@example.org", "", accounts.ErrMayNotAct},
		{"zoe@example.org", "", "", accounts.ErrBadCredentials},
		{"bob@example.org", "", "", accounts.ErrBadCredentials}, // disabled
	} {
		for _, ir := range []bool{true, false} {
			who, err := talk(t, sasl.Offer{Auth: d, Channel: channel(tt.cert)}, plainText{sasl.External, tt.authzid}, ir)
			if !errors.Is(err, tt.want) || string(who.Account) != tt.who {
				t.Errorf("%s as %.40q: %+v, %v", tt.cert, tt.authzid, who, err)
			}
		}
	}
	d2 := directory()
	for name, o := range map[string]sasl.Offer{
		"no certificate":    {Auth: d, Channel: &sasl.Channel{}},
		"not verified":      {Auth: d, Channel: &sasl.Channel{State: tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}}},
		"no TLS":            {Auth: d, Insecure: true},
		"takes no other":    {Auth: d2, Channel: channel("ann@example.org")},
		"of another authen": {Auth: failing{}, Channel: channel("ann@example.org")},
	} {
		if _, err := o.Start(t.Context(), sasl.External, accounts.Attempt{TLS: true}, nil); !errors.Is(err, sasl.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// plainText is a client that has one thing to say.
type plainText struct{ mech, text string }

func (p plainText) Start() (string, []byte, error) { return p.mech, []byte(p.text), nil }
func (p plainText) Next([]byte) ([]byte, error)    { return []byte(p.text), nil }

func TestActingAsAnother(t *testing.T) {
	d := directory()
	d.Accounts[2].AdminOf = []string{"example.org"}
	const admin, pass = `"c,=3"@example.org`, "comma equals"
	clients := func(as string) []scramOrPlain {
		return []scramOrPlain{{newSCRAM(t, as, admin, pass)}, {plainText{sasl.Plain, as + "\x00" + admin + "\x00" + pass}}}
	}
	for _, c := range clients("ann@example.org") {
		if _, err := talk(t, sasl.Offer{Auth: d}, c, true); !errors.Is(err, accounts.ErrMayNotAct) || sasl.Reply(err).Code != 535 {
			t.Errorf("not granted: %v", err)
		}
	}
	d.Impersonation = true
	for _, c := range clients("ann@example.org") {
		if who, err := talk(t, sasl.Offer{Auth: d}, c, true); err != nil || who.Account != "a1" || who.By != "c3" {
			t.Errorf("granted: %+v, %v", who, err)
		}
	}
	for _, as := range []string{"zoe@example.org", "bob@example.org", "ann@elsewhere.example"} { // nobody, disabled, not ours
		for _, c := range clients(as) {
			if who, err := talk(t, sasl.Offer{Auth: d}, c, true); !errors.Is(err, accounts.ErrMayNotAct) {
				t.Errorf("as %s: %+v, %v", as, who, err)
			}
		}
	}
}

type scramOrPlain struct{ client }

type client interface {
	Start() (string, []byte, error)
	Next([]byte) ([]byte, error)
}

func TestTokens(t *testing.T) {
	d := directory()
	d.Tokens = accountstest.Token
	o := sasl.Offer{Auth: d}
	if m := o.Mechanisms(true); strings.Join(m, " ") != "SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN" {
		t.Errorf("offers %v", m)
	}
	// accountstest's tokens hold what no token holds, so these are made to fit.
	names := map[string]string{"dG9rZW4=": "good:ann@example.org", "Zm9yaW1hcA==": "imap:ann@example.org", "b": "bad", "broken": "broken"}
	d.Tokens = func(ctx context.Context, a accounts.Attempt) (string, []string, error) {
		a.Password = names[a.Password]
		return accountstest.Token(ctx, a)
	}
	const invalid = `{"status":"invalid_token","schemes":"bearer","scope":"mail"}`
	for _, tt := range []struct {
		mech, response string
		json           string
		want           error
	}{
		{sasl.OAuthBearer, "n,a=ann@example.org,\x01host=server.example.com\x01port=993\x01auth=Bearer dG9rZW4=\x01\x01", "", nil}, // RFC 7628, 4.1
		{sasl.OAuthBearer, "n,,\x01auth=bearer dG9rZW4=\x01\x01", "", nil},
		{sasl.OAuthBearer, "y,,\x01auth=Bearer  dG9rZW4=\x01qs=a%20b\x01\x01", "", nil},
		{sasl.OAuthBearer, "n,a=bob@example.org,\x01auth=Bearer dG9rZW4=\x01\x01", "", accounts.ErrMayNotAct},
		{sasl.OAuthBearer, "n,a=ann=40example.org,\x01auth=Bearer dG9rZW4=\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01auth=Bearer b\x01\x01", invalid, accounts.ErrBadCredentials},
		{sasl.OAuthBearer, "n,,\x01auth=\x01\x01", invalid, accounts.ErrBadCredentials}, // RFC 7628, 4.3
		{sasl.OAuthBearer, "n,,\x01auth=Bearer broken\x01\x01", "", errAny},
		{sasl.OAuthBearer, "", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "p=tls-exporter,,\x01auth=Bearer b\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01auth=Bearer b\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01auth=Bearer b\x01\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01auth=Bearer b\x01auth=Bearer dG9rZW4=\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01auth=Basic dG9rZW4=\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01auth=Bearer a b\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01auth=Bearer a\x00b\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,,\x01host=x\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,a=,\x01auth=Bearer dG9rZW4=\x01\x01", "", sasl.ErrMalformed},
		{sasl.OAuthBearer, "n,ann,\x01auth=Bearer dG9rZW4=\x01\x01", "", sasl.ErrMalformed},
		{sasl.XOAuth2, "user=ann@example.org\x01auth=Bearer dG9rZW4=\x01\x01", "", nil},
		{sasl.XOAuth2, "user=ann@example.org\x01auth=Bearer b\x01\x01", `{"status":"401","schemes":"bearer","scope":"mail"}`, accounts.ErrBadCredentials},
		{sasl.XOAuth2, "user=bob@example.org\x01auth=Bearer dG9rZW4=\x01\x01", "", accounts.ErrMayNotAct},
		{sasl.XOAuth2, "auth=Bearer dG9rZW4=\x01\x01", "", sasl.ErrMalformed},
		{sasl.XOAuth2, "user=\x01auth=Bearer dG9rZW4=\x01\x01", "", sasl.ErrMalformed},
		{sasl.XOAuth2, "user=ann@example.org\x01\x01", "", sasl.ErrMalformed},
	} {
		var who accounts.Login
		s, err := o.Start(t.Context(), tt.mech, accounts.Attempt{TLS: true}, func(l accounts.Login) { who = l })
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := s.Next([]byte(tt.response))
		if string(challenge) != tt.json {
			t.Errorf("%q: told %q", tt.response, challenge)
		}
		if tt.json != "" {
			if err := sasl.Failed(s); !errors.Is(err, accounts.ErrBadCredentials) || err.Error() != "authentication failed" {
				t.Errorf("%q: failed with %v", tt.response, err)
			}
			challenge, done, err = s.Next([]byte("\x01"))
		} else if err := sasl.Failed(s); err != nil {
			t.Errorf("%q: failed with %v", tt.response, err)
		}
		if tt.want == errAny {
			if err == nil || errors.Is(err, accounts.ErrBadCredentials) || errors.Is(err, sasl.ErrMalformed) {
				t.Errorf("%q: %v", tt.response, err)
			}
			continue
		}
		if !errors.Is(err, tt.want) || done != (tt.want == nil) || (who.Account == "a1") != done {
			t.Errorf("%q: %q, %v, %v, want %v", tt.response, challenge, done, err, tt.want)
		}
	}
}

var errAny = errors.New("any")
