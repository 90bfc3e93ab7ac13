package imap

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
)

// authority issues certificates for clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(1e6 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{c, key}
}

func (a *authority) issue(t *testing.T, address string) []tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(1e6 * time.Hour), EmailAddresses: []string{address}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}

// secure dials a server that speaks TLS from the first byte, or after STARTTLS, and
// returns what its capabilities are then.
func secure(t *testing.T, addr string, implicit bool, cfg *tls.Config) (p *peer, state *tls.ConnectionState, caps string) {
	t.Helper()
	cfg = cfg.Clone()
	cfg.InsecureSkipVerify, cfg.ServerName = true, "mail.example.org"
	if !implicit {
		p = dial(t, addr)
		p.ok("STARTTLS")
	} else {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		p = &peer{t: t, Conn: c}
	}
	c := tls.Client(p.Conn, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	p.Conn, p.br = c, bufio.NewReader(c)
	if implicit {
		p.line()
	}
	st := c.ConnectionState()
	return p, &st, p.ok("CAPABILITY")[0]
}

// startBoth runs a server with and without implicit TLS.
func startBoth(t *testing.T, s *Server) map[bool]string {
	t.Helper()
	plain := start(t, s)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.ServeTLS(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return map[bool]string{false: plain, true: ln.Addr().String()}
}

// prove leads an exchange of SCRAM and returns the last line.
func (p *peer) prove(mech, password string, b scram.ChannelBinding) string {
	p.t.Helper()
	client, err := scram.SHA256.NewClient("ann@example.org", password, "")
	if err != nil {
		p.t.Fatal(err)
	}
	conv := client.NewConversationWithChannelBinding(b)
	text := ""
	p.send("s AUTHENTICATE %s", mech)
	for {
		l := p.line()
		challenge, more := strings.CutPrefix(l, "+ ")
		if !more {
			return l
		}
		if text != "" || challenge != "" {
			b, err := base64.StdEncoding.DecodeString(challenge)
			if err != nil {
				p.t.Fatal(err)
			}
			text = string(b)
		}
		answer := ""
		if !conv.Done() {
			if answer, err = conv.Step(text); err != nil {
				p.t.Fatal(err)
			}
		}
		p.send("%s", base64.StdEncoding.EncodeToString([]byte(answer)))
	}
}

// SCRAM-SHA-256-PLUS (RFC 5802, 6) over STARTTLS and implicit TLS, with certificates
// however they are configured.
func TestSCRAMPlus(t *testing.T) {
	fixed := &tls.Config{Certificates: []tls.Certificate{certificate()}}
	loaded := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { c := certificate(); return &c, nil }}
	for name, cfg := range map[string]*tls.Config{
		"fixed": fixed, "loaded": loaded,
		"per client": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return fixed, nil }},
	} {
		for implicit, addr := range startBoth(t, &Server{ChannelBinding: true, TLS: cfg}) {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				dial := func() (*peer, scram.ChannelBinding, scram.ChannelBinding) {
					p, st, caps := secure(t, addr, implicit, &tls.Config{MaxVersion: version})
					if !strings.Contains(caps, " AUTH=SCRAM-SHA-256-PLUS ") || strings.Contains(caps, "LOGINDISABLED") || strings.Contains(caps, "EXTERNAL") {
						t.Errorf("%s: %s", name, caps)
					}
					exporter, err := scram.NewTLSExporterBinding(st)
					if err != nil {
						t.Fatal(err)
					}
					end, err := scram.NewTLSServerEndpointBinding(st)
					if err != nil {
						t.Fatal(err)
					}
					return p, exporter, end
				}
				p, exporter, _ := dial()
				if l := p.prove("SCRAM-SHA-256-PLUS", "secret", exporter); !strings.HasPrefix(l, "s OK") {
					t.Errorf("%s, implicit %v, %x, tls-exporter: %s", name, implicit, version, l)
				}
				p, _, end := dial()
				if l := p.prove("SCRAM-SHA-256-PLUS", "secret", end); !strings.HasPrefix(l, "s OK") {
					t.Errorf("%s, implicit %v, %x, tls-server-end-point: %s", name, implicit, version, l)
				}
				p, exporter, _ = dial()
				if l := p.prove("SCRAM-SHA-256-PLUS", "wrong", exporter); l != "s NO [AUTHENTICATIONFAILED] Authentication failed" {
					t.Error(l)
				}
				exporter.Data[0] ^= 1 // of another connection
				if l := p.prove("SCRAM-SHA-256-PLUS", "secret", exporter); l != "s NO [AUTHENTICATIONFAILED] Authentication failed" {
					t.Error(l)
				}
				lied := base64.StdEncoding.EncodeToString([]byte("y,,n=ann@example.org,r=abc"))
				if l := p.do("AUTHENTICATE SCRAM-SHA-256 %s", lied); !strings.HasPrefix(l[0], "t NO [AUTHENTICATIONFAILED] Channel binding is offered") {
					t.Error(l)
				}
				if l := p.line(); l != "* BYE Too many failed logins" {
					t.Error(l)
				}
			}
		}
	}
}

// In a session that TLS resumes no certificate is shown: tls-exporter binds it all
// the same.
func TestSCRAMPlusInAResumedSession(t *testing.T) {
	addr := startBoth(t, &Server{ChannelBinding: true, TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}})[true]
	cfg := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	resumed := false
	for range 3 {
		p, st, _ := secure(t, addr, true, cfg)
		resumed = resumed || st.DidResume
		b, err := scram.NewTLSExporterBinding(st)
		if err != nil {
			t.Fatal(err)
		}
		if l := p.prove("SCRAM-SHA-256-PLUS", "secret", b); !strings.HasPrefix(l, "s OK") {
			t.Error(st.DidResume, l)
		}
	}
	if !resumed {
		t.Error("no session was resumed")
	}
}

// EXTERNAL (RFC 4422, appendix A): clients with a certificate that was verified, and
// administrators among them, like a proxy that serves one user after the other
// (RFC 8437).
func TestExternal(t *testing.T) {
	ca := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s := &Server{Auth: grants(), TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}}
	for implicit, addr := range startBoth(t, s) {
		login := func(p *peer, as string) string {
			t.Helper()
			l := p.do("AUTHENTICATE EXTERNAL %s", as)
			return strings.Join(strings.Fields(l[len(l)-1])[:2], " ")
		}
		b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
		p, _, caps := secure(t, addr, implicit, &tls.Config{Certificates: ca.issue(t, "ann@example.org")})
		if !strings.Contains(caps, " AUTH=EXTERNAL ") {
			t.Error(caps)
		}
		if l := login(p, b64("bob@example.org")); l != "t NO" {
			t.Error(l)
		}
		if l := login(p, "="); l != "t OK" {
			t.Error(l)
		}
		p, _, _ = secure(t, addr, implicit, &tls.Config{Certificates: ca.issue(t, "user@example.com")})
		for _, as := range []string{"ann@example.org", "bob@example.org", "User@example.com"} {
			if l := login(p, b64(as)); l != "t OK" {
				t.Error(as, l)
			}
			p.ok("SELECT INBOX")
			l := p.ok("UNAUTHENTICATE")
			if !strings.Contains(l[0], " AUTH=EXTERNAL ") {
				t.Error(l) // the certificate is still there
			}
		}
		p.send("t AUTHENTICATE EXTERNAL")
		if l := p.line(); l != "+ " {
			t.Error(l)
		}
		p.send("")
		if l := p.line(); !strings.HasPrefix(l, "t OK") {
			t.Error(l)
		}
		// A certificate of nobody, and none.
		p, _, _ = secure(t, addr, implicit, &tls.Config{Certificates: ca.issue(t, "zoe@example.org")})
		if l := login(p, "="); l != "t NO" {
			t.Error(l)
		}
		p, _, caps = secure(t, addr, implicit, &tls.Config{})
		if strings.Contains(caps, "EXTERNAL") {
			t.Error(caps)
		}
		if l := p.do("AUTHENTICATE EXTERNAL ="); l[0] != "t NO [CANNOT] Unsupported authentication mechanism" {
			t.Error(l)
		}
	}
}

// Where there are no passwords, LOGIN is disabled with TLS too.
func TestTokensAlone(t *testing.T) {
	s := &Server{Auth: noPasswords{grants()}, TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}}
	for implicit, addr := range startBoth(t, s) {
		p, _, caps := secure(t, addr, implicit, &tls.Config{})
		if !strings.HasSuffix(caps, " LOGINDISABLED AUTH=OAUTHBEARER AUTH=XOAUTH2") {
			t.Error(caps)
		}
		if l := p.do("LOGIN ann@example.org secret"); !strings.HasPrefix(l[0], "t NO [CANNOT]") {
			t.Error(l)
		}
		if l := p.do("AUTHENTICATE PLAIN AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ="); !strings.HasPrefix(l[0], "t NO [CANNOT]") {
			t.Error(l)
		}
	}
}

type noPasswords struct {
	accounts.TokenAuthenticator
}

func (noPasswords) HasPasswords() bool { return false }
func (noPasswords) Authenticate(_ context.Context, _ accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{}, accounts.ErrBadCredentials
}
