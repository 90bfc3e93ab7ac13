package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
)

// pipes is a listener without a network, for tests in virtual time.
type pipes struct {
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newPipes() *pipes { return &pipes{ch: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial(t testing.TB) *peer {
	c := p.bare()
	c.t, c.br = t, bufio.NewReader(c.Conn)
	return c
}

// bare is dial without a buffer, for tests that count memory.
func (p *pipes) bare() *peer {
	a, b := net.Pipe()
	p.ch <- b
	return &peer{Conn: a}
}

// bubble runs a server in virtual time.
func bubble(t *testing.T, s *Server, test func(t *testing.T, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		s.Hostname, s.Auth, s.InsecureAuth = "mail.example.org", anyone{}, true
		if s.Store == nil {
			s.Store = newStore()
		}
		ln := newPipes()
		done := make(chan error)
		go func() {
			if s.TLS != nil {
				done <- s.ServeTLS(ln)
			} else {
				done <- s.Serve(ln)
			}
		}()
		test(t, ln)
		s.Close()
		if err := <-done; err != nil {
			t.Error("Serve:", err)
		}
	})
}

// RFC 1939, 3: when the autologout timer expires nothing is said and nothing is
// deleted.
func TestAutologout(t *testing.T) {
	s := &Server{Store: newStore()}
	put(t, s.Store, "a1", "INBOX", "x\r\n")
	bubble(t, s, func(t *testing.T, ln *pipes) {
		p := ln.dial(t)
		p.line()
		p.login("ann")
		time.Sleep(9 * time.Minute)
		p.ok("DELE 1")
		time.Sleep(9*time.Minute + 59*time.Second)
		p.ok("NOOP")
		begin := time.Now()
		p.closed()
		if d := time.Since(begin); d < 10*time.Minute || d > 11*time.Minute {
			t.Error("it took", d)
		}
		if p = ln.dial(t); p.line() == "" {
			t.Error("no greeting")
		}
		p.login("ann")
		if l := p.ok("STAT"); l != "+OK 1 3" {
			t.Error(l)
		}
	})
}

// Before login neither silence, nor dripping bytes, nor commands buy time.
func TestLoginTimeout(t *testing.T) {
	for name, say := range map[string]string{"silent": "", "dripping": "x", "busy": "CAPA\r\n"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, &Server{}, func(t *testing.T, ln *pipes) {
				p := ln.dial(t)
				begin := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() {
					for say != "" {
						if _, err := io.WriteString(p, say); err != nil {
							return
						}
						time.Sleep(10 * time.Second)
					}
				})
				io.Copy(io.Discard, p.br)
				if d := time.Since(begin); d > 4*time.Minute {
					t.Error("it took", d)
				}
				p.Close()
				wg.Wait()
			})
		})
	}
}

// A client that never says anything under implicit TLS does not stay, and one that
// says STLS and no more neither.
func TestHandshakeHasADeadline(t *testing.T) {
	bubble(t, &Server{TLS: tlsConfig()}, func(t *testing.T, ln *pipes) {
		p, begin := ln.dial(t), time.Now()
		p.closed()
		if d := time.Since(begin); d > time.Minute {
			t.Error("it took", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Hostname: "h", Auth: anyone{}, Store: newStore(), TLS: tlsConfig()}
		ln := newPipes()
		go s.Serve(ln)
		p := ln.dial(t)
		p.line()
		p.ok("STLS")
		begin := time.Now()
		p.closed()
		if d := time.Since(begin); d > 4*time.Minute {
			t.Error("it took", d)
		}
		s.Close()
	})
}

// A client that does not read is cut off.
func TestAClientThatDoesNotRead(t *testing.T) {
	s := &Server{Store: newStore()}
	put(t, s.Store, "a1", "INBOX", strings.Repeat("x", 100_000))
	bubble(t, s, func(t *testing.T, ln *pipes) {
		p := ln.dial(t)
		p.line()
		p.login("ann")
		p.send("RETR 1")
		begin := time.Now()
		for s.state.guard.Conns() > 0 {
			if time.Sleep(time.Second); time.Since(begin) > 10*time.Minute {
				t.Fatal("it is still there")
			}
		}
	})
}

// A slow client may take as long as it likes, if it takes something.
func TestSlowTransfersAreNotCut(t *testing.T) {
	s := &Server{Store: newStore()}
	put(t, s.Store, "a1", "INBOX", strings.Repeat("x", 40_000)+"\r\n")
	bubble(t, s, func(t *testing.T, ln *pipes) {
		p := ln.dial(t)
		p.line()
		p.login("ann")
		p.send("RETR 1")
		p.br = bufio.NewReaderSize(p.Conn, 1000)
		begin := time.Now()
		p.line()
		n := 0
		for b, err := p.br.ReadByte(); b != '\n' && err == nil; b, err = p.br.ReadByte() {
			if n++; n%1000 == 0 {
				time.Sleep(15 * time.Second) // 16 KB in less than StallTimeout, but not by much
			}
		}
		if n != 40_001 || time.Since(begin) < 10*time.Minute {
			t.Error(n, time.Since(begin))
		}
	})
}

// Implicit TLS, and SCRAM.
func TestServeTLS(t *testing.T) {
	s := &Server{Hostname: "mail.example.org", TLS: tlsConfig(), Store: newStore(), Auth: users()}
	put(t, s.Store, "a1", "INBOX", "x\r\n")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.ServeTLS(ln) }()
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &peer{t, c, bufio.NewReader(c)}
	p.line()
	if l := p.do("STLS"); l != "-ERR TLS is active already" {
		t.Error(l)
	}
	client, err := scram.SHA256.NewClient("ann@example.org", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversation()
	first, _ := conv.Step("")
	line := p.do("AUTH SCRAM-SHA-256 %s", base64.StdEncoding.EncodeToString([]byte(first)))
	for strings.HasPrefix(line, "+ ") {
		b, err := base64.StdEncoding.DecodeString(line[2:])
		if err != nil {
			t.Fatal(err)
		}
		answer, err := conv.Step(string(b))
		if err != nil {
			t.Fatal(err)
		}
		line = p.do("%s", base64.StdEncoding.EncodeToString([]byte(answer)))
	}
	if line != "+OK maildrop has 1 messages (3 octets)" || !conv.Valid() {
		t.Error(line)
	}
	// Who is waited for is told of the shutdown, and closed in good order.
	go s.Shutdown(context.Background())
	if l := p.line(); l != "-ERR [SYS/TEMP] The server is shutting down" {
		t.Error(l)
	}
	p.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := (&Server{}).ServeTLS(newPipes()); err == nil {
		t.Error("ServeTLS without TLS")
	}
}

// blockingAuth waits for release.
type blockingAuth struct{ entered, release chan struct{} }

func (b blockingAuth) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	b.entered <- struct{}{}
	<-b.release
	return accounts.Login{Account: "a1"}, nil
}

// Shutdown ends who waits, and waits for the command in progress.
func TestShutdown(t *testing.T) {
	auth := blockingAuth{make(chan struct{}), make(chan struct{})}
	s := &Server{Auth: auth, InsecureAuth: true, Store: newStore()}
	put(t, s.Store, "a1", "INBOX", "x\r\n")
	addr := start(t, s)
	marked := dial(t, addr)
	marked.send("USER ann\r\nPASS secret\r\nDELE 1")
	<-auth.entered
	auth.release <- struct{}{}
	for range 3 {
		marked.line()
	}
	silent, slow := dial(t, addr), dial(t, addr)
	slow.send("USER ann\r\nPASS secret")
	<-auth.entered

	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	for _, p := range []*peer{marked, silent} {
		if l := p.line(); l != "-ERR [SYS/TEMP] The server is shutting down" {
			t.Error(l)
		}
		p.closed()
	}
	select {
	case err := <-done:
		t.Fatal("Shutdown did not wait:", err)
	default:
	}
	auth.release <- struct{}{}
	for _, want := range []string{"+OK Send the password", "+OK maildrop has 1 messages (3 octets)", "-ERR [SYS/TEMP] The server is shutting down"} {
		if l := slow.line(); l != want {
			t.Error(l)
		}
	}
	slow.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
	if f, err := s.Store.As("a1").Folder(t.Context(), "INBOX"); err != nil || f.Messages != 1 {
		t.Errorf("%d messages, %v", f.Messages, err)
	}
}

func TestShutdownUntilItsContextEnds(t *testing.T) {
	auth := blockingAuth{make(chan struct{}), make(chan struct{})}
	s := &Server{Auth: auth, InsecureAuth: true}
	addr := start(t, s)
	p := dial(t, addr)
	p.send("USER ann\r\nPASS secret")
	<-auth.entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan error)
	go func() { done <- s.Shutdown(ctx) }()
	io.Copy(io.Discard, p.br) // it is cut off
	auth.release <- struct{}{}
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
}

// The last reply arrives although the client said more than was read.
func TestLastWordsArrive(t *testing.T) {
	addr := start(t, &Server{InsecureAuth: true})
	for name, say := range map[string]string{
		"quit":  "QUIT\r\n" + strings.Repeat("NOOP\r\n", 10_000),
		"bad":   strings.Repeat("x\r\n", 20_000),
		"long":  strings.Repeat("x", 200_000),
		"early": strings.Repeat("CAPA\r\n", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, addr)
			var wg sync.WaitGroup
			wg.Go(func() { io.WriteString(p, say) }) // it may fail: the server is gone
			out, err := io.ReadAll(p.br)
			lines := strings.Split(strings.TrimSuffix(string(out), "\r\n"), "\r\n")
			last := lines[len(lines)-1]
			want := map[string]string{"quit": "+OK Bye", "bad": "-ERR Too many bad commands", "long": "-ERR Line is too long", "early": "-ERR Too many commands without a login"}[name]
			if last != want {
				t.Errorf("the last words are %q, %v", last, err)
			}
			p.Close()
			wg.Wait()
		})
	}
}

// Scopes of an application password hold here too.
type scoped struct{ scopes []string }

func (s scoped) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	if a.Door != "pop3" || !a.Addr.IsLoopback() || a.TLS {
		return accounts.Login{}, fmt.Errorf("%+v", a)
	}
	return accounts.Login{Account: "a1", Scopes: s.scopes}, nil
}

func TestScopes(t *testing.T) {
	for _, tt := range []struct {
		scopes []string
		want   string
	}{
		{nil, "+OK maildrop has 0 messages (0 octets)"},
		{[]string{"imap", "pop3"}, "+OK maildrop has 0 messages (0 octets)"},
		{[]string{"imap"}, "-ERR [AUTH] This password is not for POP3"},
	} {
		p := dial(t, start(t, &Server{InsecureAuth: true, Auth: scoped{tt.scopes}}))
		p.ok("USER ann")
		if l := p.do("PASS secret"); l != tt.want {
			t.Error(l)
		}
	}
}

// failing cannot tell.
type failing struct{ err error }

func (f failing) Authenticate(context.Context, accounts.Attempt) (accounts.Login, error) {
	return accounts.Login{}, f.err
}

// RFC 3206: only a wrong password is [AUTH]. No error says more than it may.
func TestLoginErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{accounts.ErrBadCredentials, "-ERR [AUTH] Authentication failed"},
		{accounts.ErrThrottled, "-ERR [SYS/TEMP] Too many failed logins, try again later"},
		{errDisk, "-ERR [SYS/TEMP] Authentication is temporarily unavailable"},
	} {
		p := dial(t, start(t, &Server{InsecureAuth: true, Auth: failing{tt.err}}))
		p.ok("USER ann")
		if l := p.do("PASS secret"); l != tt.want {
			t.Error(l)
		}
		if l := p.do("AUTH PLAIN AGEAc2VjcmV0"); l != tt.want {
			t.Error(l)
		}
	}
}

// Logins that are older than LoginDelay are forgotten.
func TestLoginDelayForgets(t *testing.T) {
	clock := new(testclock.Clock)
	s := &Server{LoginDelay: time.Minute, Clock: clock}
	s.init()
	for i := range 20_000 {
		id := store.AccountID(strconv.Itoa(i))
		if err := s.login(id); err != nil {
			t.Fatal(err)
		}
		s.state.logout(id)
		clock.Advance(time.Second)
	}
	if n := len(s.state.last); n > 2000 {
		t.Errorf("%d logins are held", n)
	}
	if n := len(s.state.logins); n != 0 {
		t.Errorf("%d sessions are held", n)
	}
}
