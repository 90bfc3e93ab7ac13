package guard_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/internal/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a listener over net.Pipe, for tests in virtual time.
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

// countConn counts writes and has an address.
type countConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
	remote net.Addr
}

func (c *countConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *countConn) RemoteAddr() net.Addr { return c.remote }

// dial connects as the given address.
func (p *pipes) dial(from string) (net.Conn, *countConn) {
	a, b := net.Pipe()
	s := &countConn{Conn: b, remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	p.ch <- s
	return a, s
}

// serve runs a guard over pipes in the bubble of a test.
func serve(t *testing.T, g *guard.Guard, cfg *tls.Config, handle func(*guard.Conn)) *pipes {
	ln := newPipes()
	ran := make(chan error, 1)
	go func() { ran <- g.Serve(ln, cfg, handle) }()
	t.Cleanup(func() {
		g.Close()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return ln
}

// echo answers each line, prefixed.
func echo(c *guard.Conn) {
	var rw net.Conn = c
	if c.TLS() != nil {
		rw = c.TLS()
	}
	c.OnFarewell(func() { fmt.Fprint(rw, "bye\r\n") })
	r := bufio.NewReader(rw)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch strings.TrimSpace(line) {
		case "busy":
			c.Busy(true)
		case "idle":
			c.Busy(false)
		case "poison":
			fmt.Fprint(rw, "last\r\n")
			c.Poison()
			fmt.Fprint(rw, "unheard\r\n")
			continue
		case "panic":
			panic("handler")
		}
		fmt.Fprintf(rw, "you said ")
		fmt.Fprint(rw, line)
	}
}

func say(t *testing.T, c net.Conn, line string) string {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	return hear(t, c)
}

func hear(t *testing.T, c net.Conn) string {
	t.Helper()
	s, err := bufio.NewReaderSize(c, 16).ReadString('\n')
	if err != nil {
		t.Fatalf("%q %v", s, err)
	}
	return strings.TrimSpace(s)
}

func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q %v", rest, err)
	}
}

func TestIdleDeadlineHoldsWhateverTheDoorSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		errs := make(chan error, 3)
		ln := serve(t, &guard.Guard{IdleTimeout: time.Minute}, nil, func(c *guard.Conn) {
			c.SetDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(time.Time{})
			b := make([]byte, 10)
			_, err := c.Read(b)
			errs <- err
			_, err = c.Read(b)
			errs <- err
		})
		c, _ := ln.dial("192.0.2.1:1")
		first, again := <-errs, <-errs
		if d := time.Since(start); d != time.Minute {
			t.Errorf("ended after %v", d)
		}
		var ne net.Error
		if !errors.As(first, &ne) || !ne.Timeout() || again != first {
			t.Errorf("got %v, then %v: a timeout must stay", first, again)
		}
		ended(t, c)
	})
}

func TestLimitEndsASlowTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		gone := make(chan error, 1)
		ln := serve(t, &guard.Guard{IdleTimeout: time.Minute}, nil, func(c *guard.Conn) {
			c.SetLimit(time.Now().Add(10 * time.Minute))
			_, err := io.Copy(io.Discard, c)
			gone <- err
		})
		c, _ := ln.dial("192.0.2.1:1")
		for {
			time.Sleep(30 * time.Second) // virtual
			if _, err := c.Write([]byte("x")); err != nil {
				break
			}
		}
		if err := <-gone; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if d := time.Since(start); d > 11*time.Minute || d < 10*time.Minute {
			t.Errorf("ended after %v", d)
		}
	})
}

func TestAPeerThatDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan error, 1)
		ln := serve(t, &guard.Guard{IdleTimeout: time.Minute}, nil, func(c *guard.Conn) {
			_, err := c.Write([]byte("hello\r\n"))
			gone <- err
		})
		ln.dial("192.0.2.1:1")
		if err := <-gone; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestWritesLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := serve(t, &guard.Guard{Coalesce: 256}, nil, echo)
		c, s := ln.dial("192.0.2.1:1")
		if got := say(t, c, "hi"); got != "you said hi" {
			t.Error(got)
		}
		if s.writes != 1 {
			t.Errorf("%d writes for one answer", s.writes)
		}
		// What is over the bound goes out at once, in order.
		long := strings.Repeat("x", 1000)
		if got := say(t, c, long); got != "you said "+long {
			t.Error(got)
		}
		if s.writes != 3 {
			t.Errorf("%d writes", s.writes)
		}
		c.Close()
	})
}

func TestPoisonLetsTheLastWordOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := serve(t, &guard.Guard{Coalesce: 256}, nil, echo)
		c, _ := ln.dial("192.0.2.1:1")
		go io.WriteString(c, "poison\nhi\n")
		if got := hear(t, c); got != "last" {
			t.Error(got)
		}
		ended(t, c)
	})
}

func TestShutdownWaitsForTheBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{Coalesce: 256}
		ln := serve(t, g, nil, echo)
		idle, _ := ln.dial("192.0.2.1:1")
		say(t, idle, "hi")
		busy, _ := ln.dial("192.0.2.1:2")
		say(t, busy, "busy")
		down := make(chan error, 1)
		go func() { down <- g.Shutdown(t.Context()) }()
		if got := hear(t, idle); got != "bye" {
			t.Error(got)
		}
		ended(t, idle)
		synctest.Wait()
		select {
		case err := <-down:
			t.Fatalf("shut down while busy: %v", err)
		default:
		}
		if got := say(t, busy, "still here"); got != "you said still here" {
			t.Error(got)
		}
		if got := say(t, busy, "idle"); got != "you said idle" {
			t.Error(got)
		}
		if got := hear(t, busy); got != "bye" {
			t.Error(got)
		}
		ended(t, busy)
		if err := <-down; err != nil || g.Conns() != 0 {
			t.Error(err, g.Conns())
		}
	})
}

func TestShutdownForcesWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{}
		ln := serve(t, g, nil, echo)
		busy, _ := ln.dial("192.0.2.1:2")
		say(t, busy, "busy")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || g.Conns() != 0 {
			t.Error(err, g.Conns())
		}
		ended(t, busy)
	})
}

// A peer that reads nothing must not keep the others from their farewell, nor
// Shutdown from heeding its context.
func TestShutdownDoesNotWaitForADeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{}
		ln := serve(t, g, nil, echo)
		for i := range 20 { // whichever is told first
			ln.dial(fmt.Sprintf("192.0.2.1:%d", i+1))
		}
		polite, _ := ln.dial("192.0.2.2:2")
		synctest.Wait()
		heard := make(chan time.Duration, 1)
		begin := time.Now()
		go func() {
			io.ReadAll(polite)
			heard <- time.Since(begin)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || g.Conns() != 0 {
			t.Error(err, g.Conns())
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		if after := <-heard; after != 0 {
			t.Errorf("the one that reads was told after %v", after)
		}
	})
}

func TestCloseCancelsContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{}
		in := make(chan bool)
		ln := serve(t, g, nil, func(c *guard.Conn) {
			close(in)
			<-c.Context().Done()
		})
		ln.dial("192.0.2.1:2")
		<-in
		g.Close()
		if g.Conns() != 0 {
			t.Error("connections left")
		}
	})
}

func TestDetachedConnectionsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{}
		ln := serve(t, g, nil, func(c *guard.Conn) {
			c.Detach()
			go func() {
				defer c.Close()
				echo(c)
			}()
		})
		c, _ := ln.dial("192.0.2.1:2")
		say(t, c, "hi")
		done := make(chan error, 1)
		go func() { done <- g.Shutdown(t.Context()) }()
		if got := hear(t, c); got != "bye" {
			t.Error(got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLimitsOnConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{MaxConns: 5, MaxPerIP: 2, Refuse: func() string { return "421 no\r\n" },
			Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
		ln := serve(t, g, nil, echo)
		ok := func(from string) net.Conn {
			t.Helper()
			c, _ := ln.dial(from)
			if got := say(t, c, "hi"); got != "you said hi" {
				t.Errorf("%s: %s", from, got)
			}
			return c
		}
		no := func(from string) {
			t.Helper()
			c, _ := ln.dial(from)
			if got := hear(t, c); got != "421 no" {
				t.Errorf("%s: %s", from, got)
			}
			ended(t, c)
		}
		first := ok("[2001:db8::1]:1")
		ok("[2001:db8::2]:1")
		no("[2001:db8::3]:1")
		ok("[2001:db8:0:1::3]:1")
		first.Close()
		synctest.Wait()
		ok("[2001:db8::3]:1")
		ok("198.51.100.1:1")
		ok("198.51.100.1:2")
		no("198.51.100.1:3") // over MaxConns
		if g.Conns() != 5 {
			t.Error(g.Conns())
		}
	})
}

func TestPanicEndsOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := serve(t, &guard.Guard{}, nil, echo)
		c, _ := ln.dial("192.0.2.1:1")
		go io.WriteString(c, "panic\n")
		ended(t, c)
		c, _ = ln.dial("192.0.2.1:1")
		if got := say(t, c, "hi"); got != "you said hi" {
			t.Error(got)
		}
	})
}

func TestAcceptGoesOnAfterTemporaryErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &flaky{pipes: newPipes(), fail: 20}
		g := &guard.Guard{}
		ran := make(chan error, 1)
		go func() { ran <- g.Serve(ln, nil, echo) }()
		c, _ := ln.dial("192.0.2.1:1")
		if got := say(t, c, "hi"); got != "you said hi" {
			t.Error(got)
		}
		g.Close()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := g.Serve(newPipes(), nil, echo); err != nil {
			t.Error(err)
		}
	})
}

type flaky struct {
	*pipes
	fail int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.fail--; f.fail >= 0 {
		return nil, tempErr{}
	}
	return f.pipes.Accept()
}

type tempErr struct{}

func (tempErr) Error() string   { return "too many open files" }
func (tempErr) Timeout() bool   { return false }
func (tempErr) Temporary() bool { return true }

var testCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(1000 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func TestImplicitTLS(t *testing.T) {
	cert := testCert()
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{HandshakeTimeout: 10 * time.Second, Coalesce: 256}
		ln := serve(t, g, &tls.Config{Certificates: []tls.Certificate{cert}}, echo)
		silent, _ := ln.dial("192.0.2.1:1") // never says ClientHello
		start := time.Now()
		raw, s := ln.dial("192.0.2.1:2")
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) != 0 {
			t.Error("a silent peer delayed another")
		}
		s.writes = 0
		if got := say(t, c, "hi"); got != "you said hi" || s.writes != 1 {
			t.Error(got, s.writes)
		}
		ended(t, silent)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("the silent one was dropped after %v", d)
		}
		go g.Shutdown(t.Context())
		if got := hear(t, c); got != "bye" {
			t.Error(got)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("still open")
		}
	})
}

func TestProxyHeaders(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	for _, tt := range []struct {
		name, from, send, want string // want "" means closed
	}{
		{"v1", "127.0.0.1:9", "PROXY TCP4 192.0.2.7 192.0.2.8 1000 25\r\nhi\n", "192.0.2.7:1000"},
		{"v1 of IPv6", "127.0.0.1:9", "PROXY TCP6 2001:db8::7 2001:db8::8 1000 25\r\nhi\n", "[2001:db8::7]:1000"},
		{"v1 unknown", "127.0.0.1:9", "PROXY UNKNOWN\r\nhi\n", "127.0.0.1:9"},
		{"v2", "127.0.0.1:9", v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x03\xe8\x00\x19hi\n", "192.0.2.7:1000"},
		{"v2 local", "127.0.0.1:9", v2 + "\x20\x00\x00\x00hi\n", "127.0.0.1:9"},
		{"v2 cut short", "127.0.0.1:9", v2 + "\x21\x11\x00\x0c\xc0\x00\x02", ""},
		{"none", "127.0.0.1:9", "hi there, this is no header\n", ""},
		{"v1 broken", "127.0.0.1:9", "PROXY TCP4 999.0.2.7 192.0.2.8 1000 25\r\nhi\n", ""},
		{"v1 endless", "127.0.0.1:9", "PROXY TCP4 " + strings.Repeat("1", 500), ""},
		{"from elsewhere", "192.0.2.9:9", "PROXY TCP4 192.0.2.7 192.0.2.8 1000 25\r\n", "192.0.2.9:9 PROXY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := make(chan string, 1)
				g := &guard.Guard{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
				ln := serve(t, g, nil, func(c *guard.Conn) {
					line, _ := bufio.NewReader(c).ReadString('\n')
					s := c.Addr().String()
					if c.RemoteAddr().String() != s {
						t.Error(c.RemoteAddr())
					}
					if strings.HasPrefix(line, "PROXY") {
						s += " PROXY"
					} else if line != "hi\n" {
						t.Errorf("the first line is %q", line)
					}
					seen <- s
				})
				c, _ := ln.dial(tt.from)
				var wg sync.WaitGroup
				wg.Go(func() {
					io.WriteString(c, tt.send)
					if tt.want == "" {
						time.Sleep(time.Second)
						c.Close()
					}
				})
				io.ReadAll(c)
				wg.Wait()
				synctest.Wait()
				close(seen)
				if got := <-seen; got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestPerAddressLimitCountsBehindAProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard.Guard{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, MaxPerIP: 1, Refuse: func() string { return "421 no\r\n" }}
		ln := serve(t, g, nil, echo)
		for i, want := range []string{"you said hi", "421 no"} {
			c, _ := ln.dial("127.0.0.1:9")
			go io.WriteString(c, "PROXY TCP4 192.0.2.7 192.0.2.8 1000 25\r\nhi\n")
			if got := hear(t, c); got != want {
				t.Errorf("%d: %q", i, got)
			}
		}
	})
}

// A peer that still sends when the server ends the connection must get the last
// reply, and not a reset that eats it.
func TestLastWordSurvivesUnreadInput(t *testing.T) {
	g := &guard.Guard{Coalesce: 256}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- g.Serve(ln, nil, echo) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "poison\n"+strings.Repeat("more and more\n", 20_000))
	if got := hear(t, c); got != "last" {
		t.Error(got)
	}
	ended(t, c)
	c.Close()
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
