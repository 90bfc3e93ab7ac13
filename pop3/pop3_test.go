package pop3

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore() *store.Store {
	return &store.Store{Backend: new(memstore.Backend), Blobs: new(memblob.Store)}
}

// start runs a server on loopback until the end of the test.
func start(t testing.TB, s *Server) string {
	t.Helper()
	if s.Hostname == "" {
		s.Hostname = "mail.example.org"
	}
	if s.Store == nil {
		s.Store = newStore()
	}
	if s.Auth == nil {
		s.Auth = users()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Error("Serve:", err)
		}
	})
	return ln.Addr().String()
}

// peer is a client that speaks lines.
type peer struct {
	t testing.TB
	net.Conn
	br *bufio.Reader
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p := &peer{t, c, bufio.NewReader(c)}
	p.line()
	return p
}

func (p *peer) line() string {
	p.t.Helper()
	s, err := p.br.ReadString('\n')
	if err != nil {
		p.t.Fatalf("reading: %v (%q)", err, s)
	}
	return strings.TrimSuffix(s, "\r\n")
}

func (p *peer) send(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p, format+"\r\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

// do sends a command and returns the first line of its answer.
func (p *peer) do(format string, args ...any) string {
	p.t.Helper()
	p.send(format, args...)
	return p.line()
}

// ok is do for a command that has to succeed.
func (p *peer) ok(format string, args ...any) string {
	p.t.Helper()
	l := p.do(format, args...)
	if !strings.HasPrefix(l, "+OK") {
		p.t.Fatalf(format+": %q", append(args, l)...)
	}
	return l
}

func (p *peer) login(user string) {
	p.t.Helper()
	p.ok("USER %s@example.org", user)
	p.ok("PASS secret")
}

// lines returns the lines after the first, without dots that were stuffed.
func (p *peer) lines() (out []string) {
	p.t.Helper()
	for {
		l := p.line()
		if l == "." {
			return out
		}
		out = append(out, strings.TrimPrefix(l, "."))
	}
}

// closed ends the test unless the server closes the connection without a word.
func (p *peer) closed() {
	p.t.Helper()
	if b, err := p.br.ReadString('\n'); err == nil || b != "" {
		p.t.Errorf("after the end: %q, %v", b, err)
	}
}
