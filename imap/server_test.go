package imap

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
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

func (p *pipes) dial(t *testing.T) *peer {
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

// I4: a client that never says anything under implicit TLS does not stay.
func TestI4HandshakeHasADeadline(t *testing.T) {
	s := &Server{TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}}
	bubble(t, s, func(t *testing.T, ln *pipes) {
		p := ln.dial(t)
		begin := time.Now()
		if _, err := p.br.ReadByte(); err == nil {
			t.Error("the server said something")
		}
		if d := time.Since(begin); d > time.Minute {
			t.Error("it took", d)
		}
	})
}

// The handshake of STARTTLS has the deadline of the command.
func TestStartTLSHandshakeHasADeadline(t *testing.T) {
	s := &Server{TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}}
	s.Hostname, s.Auth, s.Store = "h", anyone{}, newStore()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		go s.Serve(ln)
		p := ln.dial(t)
		p.line()
		p.ok("STARTTLS")
		begin := time.Now()
		if _, err := p.br.ReadByte(); err == nil || time.Since(begin) > 2*time.Minute {
			t.Error(err, time.Since(begin))
		}
		s.Close()
	})
}

// I5: what counts is that something moves, not how long it takes.
func TestI5SlowTransfersAreNotCut(t *testing.T) {
	s := &Server{}
	bubble(t, s, func(t *testing.T, ln *pipes) {
		p := ln.dial(t)
		p.line()
		p.ok("LOGIN ann secret")
		p.send("a APPEND INBOX {100}")
		p.line()
		begin := time.Now()
		for range 100 {
			io.WriteString(p, "x")
			time.Sleep(4 * time.Minute)
		}
		p.send("")
		if l := p.line(); !strings.HasPrefix(l, "a OK") {
			t.Error(l)
		}
		if time.Since(begin) < 6*time.Hour {
			t.Error("the test did not wait")
		}
		p.send("b APPEND INBOX {100}")
		p.line()
		io.WriteString(p, "x")
		begin = time.Now()
		if l := p.line(); !strings.HasPrefix(l, "* BYE") || time.Since(begin) > 6*time.Minute {
			t.Error(l, time.Since(begin))
		}
	})
}

// Before login, dripping bytes does not buy time.
func TestDrippingBeforeLogin(t *testing.T) {
	bubble(t, &Server{}, func(t *testing.T, ln *pipes) {
		p := ln.dial(t)
		p.line()
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if _, err := io.WriteString(p, "x"); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		})
		if l := p.line(); !strings.HasPrefix(l, "* BYE") || time.Since(begin) > 2*time.Minute {
			t.Error(l, time.Since(begin))
		}
		wg.Wait()
	})
}

// A client that does not read is cut off.
func TestAClientThatDoesNotRead(t *testing.T) {
	s := &Server{}
	bubble(t, s, func(t *testing.T, ln *pipes) {
		p := ln.dial(t)
		p.line()
		p.ok("LOGIN ann secret")
		io.WriteString(p, "a CAPABILITY\r\n")
		begin := time.Now()
		for s.state.guard.Conns() > 0 {
			if time.Sleep(time.Second); time.Since(begin) > 10*time.Minute {
				t.Fatal("it is still there")
			}
		}
	})
}

// blockingAuth waits for release.
type blockingAuth struct{ entered, release chan struct{} }

func (b blockingAuth) Authenticate(_ context.Context, a accounts.Attempt) (accounts.Login, error) {
	b.entered <- struct{}{}
	<-b.release
	return accounts.Login{Account: "a1"}, nil
}

// I6 and I14: Shutdown says BYE to who waits, in IDLE too, and waits for the
// command in progress.
func TestI6ShutdownSaysByeAndWaits(t *testing.T) {
	auth := blockingAuth{make(chan struct{}), make(chan struct{})}
	s := &Server{Auth: auth, InsecureAuth: true}
	addr := start(t, s)
	idle := dial(t, addr)
	idle.send("a LOGIN ann secret")
	<-auth.entered
	auth.release <- struct{}{}
	idle.line()
	idle.send("b IDLE")
	idle.line()
	silent, slow := dial(t, addr), dial(t, addr)
	slow.send("a LOGIN ann secret")
	<-auth.entered

	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	for _, p := range []*peer{idle, silent} {
		if l := p.line(); !strings.HasPrefix(l, "* BYE [UNAVAILABLE]") {
			t.Error(l)
		}
		if _, err := p.br.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	}
	select {
	case err := <-done:
		t.Fatal("Shutdown did not wait:", err)
	default:
	}
	auth.release <- struct{}{}
	if l := slow.line(); !strings.HasPrefix(l, "a OK") {
		t.Error(l)
	}
	if l := slow.line(); !strings.HasPrefix(l, "* BYE") {
		t.Error(l)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}

func TestShutdownWaitsForALiteralUntilItsContextEnds(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: anyone{}}
	addr := start(t, s)
	p, q, silent := dial(t, addr), dial(t, addr), dial(t, addr)
	for _, p := range []*peer{p, q} {
		p.ok("LOGIN ann secret")
		p.send("a APPEND INBOX {5}")
		p.line()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Shutdown(ctx) }()
	if l := silent.line(); !strings.HasPrefix(l, "* BYE") { // so it has begun
		t.Error(l)
	}
	p.send("hello")
	if l := p.line(); !strings.HasPrefix(l, "a OK [APPENDUID") {
		t.Error(l)
	}
	if l := p.line(); !strings.HasPrefix(l, "* BYE") {
		t.Error(l)
	}
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
	if _, err := q.br.ReadByte(); err == nil {
		t.Error("q is still there")
	}
}

// I7: a session that ends in IDLE leaves nothing behind.
func TestI7IdleEndsWithTheConnection(t *testing.T) {
	s := &Server{}
	bubble(t, s, func(t *testing.T, ln *pipes) {
		for range 3 {
			p := ln.dial(t)
			p.line()
			p.ok("LOGIN ann secret")
			p.ok("SELECT INBOX")
			p.send("a IDLE")
			p.line()
			p.Close()
		}
		synctest.Wait()
		s.state.views.mu.Lock()
		defer s.state.views.mu.Unlock()
		for _, v := range s.state.views.open {
			if v.refs != 0 || len(v.idle) != 0 || v.quit != nil {
				t.Errorf("%d sessions, %d idle", v.refs, len(v.idle))
			}
		}
		if n := len(s.state.logins); n != 0 {
			t.Error(n, "logins")
		}
	})
}

// faulty fails or panics when it is told to.
type faulty struct {
	store.Backend
	mu   sync.Mutex
	fail func()
}

func (f *faulty) View(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	fail := f.fail
	f.fail = nil
	f.mu.Unlock()
	if fail != nil {
		fail()
		return os.ErrPermission
	}
	return f.Backend.View(ctx, fn)
}

func (f *faulty) next(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fn
}

// I8: a panic is the problem of one command, and the client never sees it.
func TestI8PanicsAndFaults(t *testing.T) {
	b := &faulty{Backend: new(memstore.Backend)}
	s := &Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: b, Blobs: new(memblob.Store)}}
	p := dial(t, start(t, s))
	p.ok("LOGIN ann secret")
	p.ok("SELECT INBOX")
	for range 3 {
		b.next(func() { panic("boom") })
		if l := p.do("STATUS INBOX (MESSAGES)"); l[0] != "t NO [SERVERBUG] Internal error" {
			t.Error(l)
		}
		b.next(func() {})
		if l := p.do("STATUS INBOX (MESSAGES)"); l[0] != "t NO [UNAVAILABLE] Temporary failure, try again later" {
			t.Error(l)
		}
		p.ok("STATUS INBOX (MESSAGES)")
	}
	// In the middle of IDLE.
	p.send("i IDLE")
	p.line()
	b.next(func() { panic("boom") })
	put(t, &store.Store{Backend: b.Backend, Blobs: s.Store.Blobs}, "a1", inbox, "x\n")
	l := p.line()
	if strings.HasPrefix(l, "* 1 EXISTS") { // another reader met the panic
		p.send("DONE")
		l = p.line()
	}
	if !strings.HasPrefix(l, "i ") {
		t.Error(l)
	}
}

// I13: what matters is that there is TLS, not of which type the connection is.
func TestI13LoginUnderAnyTLS(t *testing.T) {
	s := &Server{Hostname: "h", Auth: anyone{}, Store: newStore(), TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.ServeTLS(ln)
	defer s.Close()
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &peer{t, c, bufio.NewReader(c)}
	if l := p.line(); !strings.Contains(l, "AUTH=PLAIN") || strings.Contains(l, "LOGINDISABLED") || strings.Contains(l, "STARTTLS") {
		t.Error(l)
	}
	p.ok("LOGIN ann secret")
	p.ok("SELECT INBOX")
	p.send("i IDLE") // a Read that is interrupted does not end TLS
	p.line()
	for i := range 3 {
		put(t, s.Store, "a1", inbox, fmt.Sprintf("%d\n", i))
		if l := p.line(); l != fmt.Sprintf("* %d EXISTS", i+1) {
			t.Error(l)
		}
	}
	p.send("DONE")
	p.until("i OK")
}

func TestConnectionsAreCapped(t *testing.T) {
	s := &Server{InsecureAuth: true, Auth: anyone{}, MaxConns: 3, MaxPerAccount: 2}
	addr := start(t, s)
	a, b, c := dial(t, addr), dial(t, addr), dial(t, addr)
	d, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if l, _ := bufio.NewReader(d).ReadString('\n'); l != "* BYE [UNAVAILABLE] Too many connections\r\n" {
		t.Errorf("%q", l)
	}
	a.ok("LOGIN ann secret")
	b.ok("LOGIN ann secret")
	if l := c.do("LOGIN ann secret"); !strings.HasPrefix(l[0], "t NO [LIMIT]") {
		t.Error(l)
	}
	a.ok("LOGOUT")
	a.br.ReadByte()
	c.ok("LOGIN ann secret")
}

func TestTooManyBadCommandsAndCommandsBeforeLogin(t *testing.T) {
	out := converse(t, &Server{Auth: anyone{}, Store: newStore()}, strings.Repeat("a FROB\r\n", 100))
	if n := strings.Count(out, "a BAD"); n != maxBad || !strings.HasSuffix(out, "* BYE Too many bad commands\r\n") {
		t.Error(n, out[max(0, len(out)-100):])
	}
	out = converse(t, &Server{Auth: anyone{}, Store: newStore()}, strings.Repeat("a NOOP\r\n", 500))
	if n := strings.Count(out, "a OK"); n != maxEarly || !strings.HasSuffix(out, "* BYE Too many commands without a login\r\n") {
		t.Error(n, out[max(0, len(out)-100):])
	}
}
