package imapondisk

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves on the loopback until the test ends.
func start(t testing.TB, s *imap.Server) string {
	t.Helper()
	s.Hostname = "mail.example.org"
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

// anyone logs in as the account a1.
type anyone struct{}

func (anyone) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{Account: "a1"}, nil
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

// do sends a command and returns all lines up to its tagged answer.
func (p *peer) do(format string, args ...any) []string {
	p.t.Helper()
	p.send("t "+format, args...)
	return p.until("t ")
}

// until returns the lines up to one that begins with prefix.
func (p *peer) until(prefix string) (lines []string) {
	p.t.Helper()
	for {
		l := p.line()
		lines = append(lines, l)
		if strings.HasPrefix(l, prefix) {
			return lines
		}
	}
}

// ok is do for a command that has to succeed.
func (p *peer) ok(format string, args ...any) []string {
	p.t.Helper()
	lines := p.do(format, args...)
	if !strings.HasPrefix(lines[len(lines)-1], "t OK") {
		p.t.Fatalf(format+": %q", append(args, lines)...)
	}
	return lines
}

// put files a message and returns its UID.
func put(t testing.TB, s *store.Store, account store.AccountID, mailbox, text string, flags ...string) store.UID {
	t.Helper()
	ctx := context.Background()
	w, err := s.Blobs.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, strings.ReplaceAll(text, "\n", "\r\n"))
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	a := s.As(account)
	f, err := a.Folder(ctx, mailbox)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := a.Append(ctx, f.ID, store.Append{Blob: info, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return ps[0].UID
}
