package smtp_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a Transport that keeps what it gets.
type sink struct {
	mu   sync.Mutex
	got  []mail
	errs func(env *mailkeel.Envelope) []mailkeel.Result // nil means yes to all
}

type mail struct {
	env  mailkeel.Envelope
	data string
}

func (s *sink) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	rc, err := c.Open(ctx)
	if err != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil || int64(len(data)) != c.Size() {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: fmt.Errorf("%d bytes of %d: %w", len(data), c.Size(), err)})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, mail{*env, string(data)})
	if s.errs != nil {
		return s.errs(env)
	}
	return make([]mailkeel.Result, len(env.Rcpts))
}

func (s *sink) all() []mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

// body is the content without what the door put before it.
func (m mail) body() string {
	s := m.data
	for strings.HasPrefix(s, "Received: from ") {
		_, s, _ = strings.Cut(s, "+0000 (UTC)\r\n")
		return s
	}
	return s
}

func users() *static.Directory {
	acc := func(id, addr string) static.Account {
		return static.Account{Account: accounts.Account{ID: mailkeel.AccountID(id), Address: addr}, Password: "secret-" + id}
	}
	return &static.Directory{
		Domains:  []accounts.Domain{{Name: "example.org", Postmaster: "ann@example.org"}},
		Accounts: []static.Account{acc("a1", "ann@example.org"), acc("b2", "bob@example.org"), acc("c3", `"a b"@example.org`)},
		Aliases: []accounts.Alias{
			{Address: "both@example.org", Targets: []string{"ann@example.org", "bob@example.org"}},
			{Address: "away@example.org", Targets: []string{"ann@elsewhere.example"}},
		},
	}
}

// A rig is a server and what is behind it.
type rig struct {
	*smtp.Server
	sink  *sink
	blobs *memblob.Store
	addr  string // of Serve
	tls   string // of ServeTLS
}

// newRig starts a server on the loopback. change may be nil.
func newRig(t testing.TB, change func(*smtp.Server)) *rig {
	t.Helper()
	r := &rig{sink: &sink{}, blobs: &memblob.Store{}}
	r.Server = &smtp.Server{Hostname: "mx.example.org", Blobs: r.blobs, Next: r.sink, Directory: users(),
		TLS: &tls.Config{Certificates: []tls.Certificate{testCert()}}, Clock: &testclock.Clock{}}
	if change != nil {
		change(r.Server)
	}
	var wg sync.WaitGroup
	start := func(serve func(net.Listener) error) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := serve(ln); err != nil {
				t.Error(err)
			}
		})
		return ln.Addr().String()
	}
	r.addr = start(r.Serve)
	if r.TLS != nil {
		r.tls = start(r.ServeTLS)
	}
	t.Cleanup(func() {
		r.Close()
		wg.Wait()
	})
	return r
}

// A peer is the other end of a connection.
type peer struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs fails
	return &peer{t, c, bufio.NewReader(c)}
}

func dialTLS(t testing.TB, addr string) *peer {
	t.Helper()
	p := dial(t, addr)
	p.startTLS()
	return p
}

func (p *peer) startTLS() {
	p.t.Helper()
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.conn, p.r = c, bufio.NewReader(c)
}

func (p *peer) send(s string) {
	p.t.Helper()
	if s == "" {
		return
	}
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Fatal(err)
	}
}

// reply reads a reply, its lines joined by \n, or returns "EOF".
func (p *peer) reply() string {
	p.t.Helper()
	var lines []string
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			if len(lines) > 0 || line != "" {
				p.t.Errorf("cut off after %q %q: %v", lines, line, err)
			}
			return "EOF"
		}
		if !strings.HasSuffix(line, "\r\n") || len(line) < 6 {
			p.t.Errorf("not a reply line: %q", line)
			return line
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if line[3] == ' ' {
			return strings.Join(lines, "\n")
		}
	}
}

// want reads a reply that begins with prefix.
func (p *peer) want(prefix string) string {
	p.t.Helper()
	got := p.reply()
	if !strings.HasPrefix(got, prefix) {
		p.t.Errorf("got %q, want %q", got, prefix)
	}
	return got
}

// do sends lines at once and expects a reply to each.
func (p *peer) do(linesAndReplies ...string) *peer {
	p.t.Helper()
	for i := 0; i+1 < len(linesAndReplies); i += 2 {
		p.send(linesAndReplies[i] + "\r\n")
		if got := p.reply(); !strings.HasPrefix(got, linesAndReplies[i+1]) {
			p.t.Errorf("%.200s: got %q, want %q", linesAndReplies[i], got, linesAndReplies[i+1])
		}
	}
	return p
}

// hello reads the greeting and says EHLO.
func (p *peer) hello() *peer {
	p.t.Helper()
	p.want("220 ")
	return p.do("EHLO client.example.net", "250-")
}

func (p *peer) login(user, password string) *peer {
	p.t.Helper()
	return p.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)), "235 ")
}

// mail sends a message in one go and returns the reply to its content.
func (p *peer) mail(from, to, content string) string {
	p.t.Helper()
	p.do("MAIL FROM:<"+from+">", "250 ", "RCPT TO:<"+to+">", "250 ", "DATA", "354 ")
	p.send(content + "\r\n.\r\n")
	return p.reply()
}

// ended expects the end of the connection.
func (p *peer) ended() {
	p.t.Helper()
	if got := p.reply(); got != "EOF" {
		p.t.Errorf("still talking: %q", got)
	}
}

var testCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.org"}, NotBefore: testclock.Start.Add(-time.Hour), NotAfter: testclock.Start.AddDate(50, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})
