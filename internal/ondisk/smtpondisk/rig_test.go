package smtpondisk

import (
	"bufio"
	"io"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a server on the loopback.
type rig struct {
	*smtp.Server
	addr string
}

func newRig(t testing.TB, change func(*smtp.Server)) *rig {
	t.Helper()
	users := &static.Directory{Domains: []accounts.Domain{{Name: "example.org"}}, Aliases: []accounts.Alias{{Address: "away@example.org", Targets: []string{"ann@elsewhere.example"}}}}
	for id, name := range map[mailkeel.AccountID]string{"a1": "ann", "b2": "bob"} {
		users.Accounts = append(users.Accounts, static.Account{Account: accounts.Account{ID: id, Address: name + "@example.org"}})
	}
	r := &rig{Server: &smtp.Server{Hostname: "mx.example.org", Directory: users, Clock: &testclock.Clock{}}}
	change(r.Server)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Serve(ln); err != nil {
			t.Error(err)
		}
	})
	r.addr = ln.Addr().String()
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

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Fatal(err)
	}
}

// reply reads a reply and returns its last line.
func (p *peer) reply() string {
	p.t.Helper()
	for {
		line, err := p.r.ReadString('\n')
		if err != nil || len(line) < 6 {
			p.t.Errorf("%q: %v", line, err)
			return "EOF"
		}
		if line[3] == ' ' {
			return strings.TrimSuffix(line, "\r\n")
		}
	}
}

// do sends lines and expects a reply to each.
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
	if got := p.reply(); !strings.HasPrefix(got, "220 ") {
		p.t.Errorf("greeting %q", got)
	}
	return p.do("EHLO client.example.net", "250 ")
}
