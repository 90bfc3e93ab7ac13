package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// attacks are what one connection can do to hold memory. Each ends with the
// connection open and the server waiting for more.
var attacks = []struct {
	name string
	send func() string
}{
	{"nothing", func() string { return "" }},
	{"EHLO", func() string { return "EHLO x\r\n" }},
	{"half a command", func() string { return "EHLO x\r\nMAIL FROM:<" + strings.Repeat("x", 3000) }},
	{"half a login", func() string { return "EHLO x\r\nAUTH PLAIN " + strings.Repeat("A", 12000) }},
	{"half an answer", func() string { return "EHLO x\r\nAUTH PLAIN\r\n" + strings.Repeat("A", 12000) }},
	{"long name", func() string { return "EHLO " + strings.Repeat("x", 3500) + "\r\n" }},
	{"recipients", func() string {
		var b strings.Builder
		b.WriteString("EHLO x\r\nMAIL FROM:<zoe@example.net>\r\n")
		for i := range 1100 {
			fmt.Fprintf(&b, "RCPT TO:<ann+%d@example.org>\r\n", i)
		}
		return b.String()
	}},
	{"long recipients", func() string {
		var b strings.Builder
		b.WriteString("EHLO x\r\nMAIL FROM:<zoe@example.net>\r\n")
		for i := range 1100 {
			fmt.Fprintf(&b, "RCPT TO:<ann+%d%s@example.org> ORCPT=rfc822;%s\r\n", i, strings.Repeat("x", 50), strings.Repeat("x", 400))
		}
		return b.String()
	}},
	{"half a message", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nX: y\r\n\r\n" + strings.Repeat("x", 60_000)
	}},
	{"long header line", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nX:" + strings.Repeat(" x", 32_000)
	}},
	{"endless field", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nAuthentication-Results:" + strings.Repeat(" (x)\r\n", 30_000)
	}},
	{"half a chunk", func() string {
		return "EHLO x\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nBDAT 1000000\r\n" + strings.Repeat("x", 60_000)
	}},
}

// nowhere is a blob.Store that keeps nothing.
type nowhere struct{ memblob.Store }

type counter struct {
	n int64
	h hash.Hash
}

func (*nowhere) Create(context.Context) (blob.Writer, error) { return &counter{h: sha256.New()}, nil }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return c.h.Write(p) }
func (c *counter) Close() error                { return nil }
func (c *counter) Commit() (blob.Info, error) {
	return blob.Info{Ref: blob.Ref(fmt.Sprintf("sha256-%x", c.h.Sum(nil))), Size: c.n}, nil
}

// T7: a connection costs at most 256 KB, whatever it does.
func TestT7_MemoryPerConnection(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { attack(t, a.send()) }) })
	}
}

func attack(t *testing.T, text string) {
	const conns, bar = 8, 256 << 10
	_, ln := newPipeRig(t, func(s *smtp.Server) {
		s.Auth, s.InsecureAuth, s.MaxPerIP, s.Blobs = users(), true, 10_000, &nowhere{}
	})
	heap := func() int64 {
		synctest.Wait() // until every connection waits for more
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	var wg sync.WaitGroup
	var open []net.Conn
	connect := func(text string) {
		c, s := net.Pipe()
		open = append(open, c)
		ln.ch <- &addressed{Conn: s, remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}}
		wg.Go(func() { io.Copy(io.Discard, c) })
		wg.Go(func() { io.WriteString(c, text) })
	}
	connect("EHLO x\r\nQUIT\r\n") // a server that has served has its buffers
	before := heap()
	for range conns {
		connect(text)
	}
	each := (heap() - before) / conns
	t.Logf("%d bytes", each)
	if each > bar {
		t.Errorf("a connection costs %d bytes", each)
	}
	for _, c := range open {
		c.Close()
	}
	wg.Wait()
}

// T7: floods end, and none of the limits is lost after RSET, EHLO, STARTTLS or a
// failed chunk.
func TestT7_FloodsEnd(t *testing.T) {
	hello := "EHLO x\r\n"
	mail := "MAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\n"
	for _, tt := range []struct{ name, once, again, last string }{
		{"NOOP", hello, "NOOP\r\n", "421 4.7.0"},
		{"RSET", hello, "RSET\r\n", "421 4.7.0"},
		{"VRFY", hello, "VRFY x\r\n", "421 4.7.0"},
		{"EHLO", hello, "EHLO x\r\n", "421 4.7.0"},
		{"MAIL", hello, "MAIL FROM:<zoe@example.net>\r\nRSET\r\n", "421 4.7.0"},
		{"callouts", hello, mail + "RSET\r\n", "421 4.7.0"},
		{"broken", hello, "X\x01\r\n", "421 4.7.0"},
		{"long lines", hello, strings.Repeat("x", 4000) + "\r\n", "421 4.7.0"},
		{"unknown", hello, "BOGUS\r\n", "421 4.7.0"},
		{"one endless line", hello, strings.Repeat("x", 64<<10), "500 5.5.2 line too long, closing"},
		{"bad chunks", hello, "BDAT 1000 LAST\r\n" + strings.Repeat("x", 1000), "421 4.7.0"},
		{"large bad chunks", hello, "BDAT 1000000 LAST\r\n" + strings.Repeat("x", 1000000), "552 5.3.4"},
		{"huge chunk", hello + mail, "BDAT 4000000000 LAST\r\n" + strings.Repeat("x", 1000000), "552 5.3.4"},
		{"chunk of 2^63", hello + mail, "BDAT 9223372036854775808 LAST\r\n", "501 5.5.4"},
		{"negative chunk", hello + mail, "BDAT -1 LAST\r\n", "501 5.5.4"},
		{"tiny chunks", hello + mail, "BDAT 1\r\nx", "421 4.7.0"},
		{"empty chunks", hello + mail, "BDAT 0\r\n", "421 4.7.0"},
		{"endless body", hello + mail + "DATA\r\n", strings.Repeat("x", 1000000) + "\r\n", "552 5.3.4"},
		{"failed messages", hello, mail + "DATA\r\na\nb\r\n.\r\n", "421 4.7.0"},
		{"logins", hello, "AUTH LOGIN\r\n*\r\n", "421 4.7.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, ln := newPipeRig(t, func(s *smtp.Server) { s.Auth, s.InsecureAuth, s.MaxBytes, s.Blobs = users(), true, 3<<20, &nowhere{} })
				p, _ := ln.dial(t)
				var wg sync.WaitGroup
				wg.Go(func() {
					io.WriteString(p.conn, tt.once)
					for range 10_000 {
						if _, err := io.WriteString(p.conn, tt.again); err != nil {
							return
						}
					}
					t.Error("10,000 times and no end")
					p.conn.Close()
				})
				last := ""
				for r := p.reply(); r != "EOF"; r = p.reply() {
					last = r
				}
				wg.Wait()
				if !strings.HasPrefix(last, tt.last) {
					t.Errorf("the last word is %q", last)
				}
			})
		})
	}
}

// An honest client may go on for long.
func TestT7_ManyMessagesOnAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, nil)
		p, _ := ln.dial(t)
		p.hello()
		for range 500 {
			p.do("RSET", "250")
			if got := p.mail("zoe@example.net", "ann@example.org", "x"); got[:3] != "250" {
				t.Fatal(got)
			}
		}
		p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
		for range 900 {
			p.send("BDAT 2000\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 20))
			p.want("250")
		}
		p.do("BDAT 0 LAST", "250")
		if n := len(r.sink.all()); n != 501 {
			t.Error(n)
		}
	})
}

// A client that is slow within a line, or stops reading, is dropped.
func TestT7_SlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ln := newPipeRig(t, func(s *smtp.Server) { s.CommandTimeout = time.Minute })
		start := time.Now()
		p, _ := ln.dial(t)
		p.want("220")
		for _, b := range "EHLO a.very.long.name.indeed" {
			if _, err := io.WriteString(p.conn, string(b)); err != nil {
				break
			}
			time.Sleep(10 * time.Second)
		}
		p.want("421 4.4.2")
		p.ended()
		if d := time.Since(start); d > 2*time.Minute {
			t.Errorf("after %v", d)
		}
		// Who lets TLS hang.
		start = time.Now()
		p, _ = ln.dial(t)
		p.hello().do("STARTTLS", "220").ended()
		if d := time.Since(start); d != time.Minute {
			t.Errorf("after %v", d)
		}
		// Who does not read.
		start = time.Now()
		c, s := net.Pipe()
		ln.ch <- s
		defer c.Close()
		if _, err := io.WriteString(c, strings.Repeat("NOOP\r\n", 200)); err == nil {
			synctest.Wait()
			for {
				time.Sleep(10 * time.Second)
				if _, err := io.WriteString(c, "N"); err != nil {
					break
				}
			}
		}
		if d := time.Since(start); d > 3*time.Minute {
			t.Errorf("after %v", d)
		}
	})
}

func TestConnectionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, func(s *smtp.Server) { s.MaxConns, s.MaxPerIP = 3, 2 })
		a, _ := ln.dial(t)
		a.hello()
		b, _ := ln.dial(t)
		b.hello()
		c, _ := ln.dial(t)
		c.want("421 4.7.0 mx.example.org too many connections")
		c.ended()
		a.do("QUIT", "221").ended()
		synctest.Wait()
		c, _ = ln.dial(t)
		c.hello()
		if r.Conns() != 2 {
			t.Error(r.Conns())
		}
	})
}

func TestProxyProtocol(t *testing.T) {
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r := newRig(t, func(s *smtp.Server) {
		s.Proxies = here
		s.Reverse = func(_ context.Context, a netip.Addr) string {
			return map[string]string{"192.0.2.7": "mail.example.net.", "2001:db8::1": "evil\r\nX: y"}[a.String()]
		}
	})
	for _, tt := range []struct{ header, addr, trace string }{
		{"PROXY TCP4 192.0.2.7 192.0.2.1 99 25\r\n", "192.0.2.7:99", "(mail.example.net [192.0.2.7])"},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 99 25\r\n", "[2001:db8::1]:99", "(evil??X:?y [IPv6:2001:db8::1])"},
	} {
		p := dial(t, r.addr)
		p.send(tt.header)
		p.hello().mail("zoe@example.net", "ann@example.org", "x")
		m := r.sink.all()[len(r.sink.all())-1]
		if m.env.Origin.Addr.String() != tt.addr || !strings.HasPrefix(m.data, "Received: from client.example.net "+tt.trace+"\r\n") {
			t.Errorf("%v %q", m.env.Origin.Addr, m.data)
		}
		p = dial(t, r.tls)
		p.send(tt.header)
		p.startTLS()
		p.hello()
	}
	p := dial(t, r.addr)
	p.send("EHLO x\r\n")
	p.ended()

	r = newRig(t, nil) // nobody is a proxy
	p = dial(t, r.addr)
	p.want("220")
	p.do("PROXY TCP4 192.0.2.7 192.0.2.1 99 25", "500")
}

// zones is a Resolver.
type zones struct {
	ptr map[string][]string
	a   map[string][]netip.Addr
}

func (z zones) LookupAddr(_ context.Context, a string) ([]string, error) {
	if z.ptr[a] == nil {
		return nil, &net.DNSError{IsNotFound: true}
	}
	return z.ptr[a], nil
}

func (z zones) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	return z.a[name], nil
}

func TestReverseNamesAreChecked(t *testing.T) {
	one := netip.MustParseAddr("192.0.2.1")
	look := smtp.ReverseBy(zones{
		ptr: map[string][]string{"192.0.2.1": {"liar.example.", "mail.example."}, "192.0.2.2": {"mail.example."}},
		a:   map[string][]netip.Addr{"mail.example.": {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.1")}},
	})
	for a, want := range map[netip.Addr]string{one: "mail.example.", netip.MustParseAddr("192.0.2.2"): "", netip.MustParseAddr("192.0.2.3"): ""} {
		if got := look(t.Context(), a); got != want {
			t.Errorf("%v is %q", a, got)
		}
	}
}

// R8: Shutdown under load lets messages end, refuses new ones, and leaves nothing.
func TestR8_ShutdownUnderLoad(t *testing.T) {
	before := goleak.IgnoreCurrent()
	r := newRig(t, func(s *smtp.Server) { s.TLS = nil })
	const clients = 20
	var ready, done sync.WaitGroup
	acked := make(chan int, clients)
	ready.Add(clients)
	for range clients {
		done.Go(func() {
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Error(err)
				ready.Done()
				return
			}
			defer c.Close()
			p := &peer{t, c, bufio.NewReader(c)}
			p.hello()
			first := true
			n := 0
			defer func() { acked <- n }()
			for {
				for _, l := range []string{"MAIL FROM:<zoe@example.net>", "RCPT TO:<ann@example.org>", "DATA", "x\r\n."} {
					if _, err := io.WriteString(c, l+"\r\n"); err != nil {
						return
					}
					switch got := p.reply(); {
					case strings.HasPrefix(got, "250 2.0.0 ok: filed"):
						n++
						if first {
							first = false
							ready.Done()
						}
					case strings.HasPrefix(got, "421 4.3.2"), got == "EOF":
						return
					case got[0] != '2' && got[0] != '3':
						t.Errorf("%s: %s", l, got)
						return
					}
				}
			}
		})
	}
	ready.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if r.Conns() != 0 {
		t.Error("connections left")
	}
	done.Wait()
	close(acked)
	sum := 0
	for n := range acked {
		sum += n
	}
	if n := len(r.sink.all()); n != sum {
		t.Errorf("%d messages were delivered and %d acknowledged", n, sum)
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// A transaction that has begun may end.
func TestShutdownLetsTransactionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, nil)
		p, _ := ln.dial(t)
		p.hello().do("MAIL FROM:<zoe@example.net>", "250")
		q, _ := ln.dial(t)
		q.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250").send("BDAT 3\r\nx\r\n")
		q.want("250")
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(t.Context()) }()
		synctest.Wait()
		p.do("RCPT TO:<ann@example.org>", "250", "DATA", "354").send("x\r\n.\r\n")
		p.want("250 2.0.0 ok: filed")
		p.want("421 4.3.2")
		p.ended()
		q.send("BDAT 0 LAST\r\nMAIL FROM:<zoe@example.net>\r\n")
		q.want("250 2.0.0 ok: filed")
		q.want("421 4.3.2")
		q.ended()
		if err := <-down; err != nil || len(r.sink.all()) != 2 {
			t.Error(err, len(r.sink.all()))
		}
	})
}

func TestShutdownOverTLS(t *testing.T) {
	r := newRig(t, nil)
	p := dialTLS(t, r.tls).hello()
	q := dial(t, r.addr).hello().do("STARTTLS", "220")
	q.startTLS()
	q.do("EHLO x", "250")
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range []*peer{p, q} {
		c.want("421 4.3.2")
		c.ended()
	}
	if err := r.Serve(newPipes()); err != nil {
		t.Error(err)
	}
}

func TestNoSessionTickets(t *testing.T) {
	r := newRig(t, nil)
	cache := tls.NewLRUClientSessionCache(10)
	for range 2 {
		c, err := tls.Dial("tcp", r.tls, &tls.Config{InsecureSkipVerify: true, ServerName: "mx.example.org", ClientSessionCache: cache})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p := &peer{t, c, bufio.NewReader(c)}
		p.hello().do("QUIT", "221")
		if c.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
	if _, ok := cache.Get("mx.example.org"); ok {
		t.Error("there was a ticket")
	}
}

// All replies that are ready leave in one write: a message takes one for each time
// that the client waits.
func TestWritesPerMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ln := newPipeRig(t, nil)
		p, s := ln.dial(t)
		p.hello()
		if n := s.count(); n != 2 {
			t.Errorf("%d writes for a greeting and EHLO", n)
		}
		p.send("MAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
		for range 4 {
			p.want("")
		}
		p.send("x\r\n.\r\nMAIL FROM:<zoe@example.net>\r\nRCPT TO:<ann@example.org>\r\nBDAT 1 LAST\r\nxQUIT\r\n")
		for range 5 {
			p.want("2")
		}
		p.ended()
		if n := s.count(); n != 4 {
			t.Errorf("%d writes in all", n)
		}
	})
}

func TestUnixSocket(t *testing.T) {
	var log bytes.Buffer // after Close
	r := newRig(t, func(s *smtp.Server) { s.LMTP, s.Logger = true, slog.New(slog.NewTextHandler(&log, nil)) })
	ln, err := net.Listen("unix", t.TempDir()+"/lmtp")
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error)
	go func() { ran <- r.Serve(ln) }()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &peer{t, c, bufio.NewReader(c)}
	p.want("220")
	p.do("LHLO x", "250").mail("zoe@example.net", "ann@example.org", "x")
	if m := r.sink.all(); len(m) != 1 || !strings.HasPrefix(m[0].data, "Received: from x (local)\r\n") || m[0].env.Origin.Addr.IsValid() {
		t.Errorf("%+v", m)
	}
	r.Close()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, " addr=local ") || strings.Contains(got, "invalid") {
		t.Error(got)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, s := range []*smtp.Server{
		{}, {Hostname: "x"}, {Hostname: "x y", Blobs: &nowhere{}, Next: &sink{}}, {Hostname: "x\r\n", Blobs: &nowhere{}, Next: &sink{}},
		{Hostname: "x", Blobs: &nowhere{}, Next: &sink{}, Submission: true},
	} {
		if err := s.Serve(newPipes()); err == nil {
			t.Errorf("%+v was taken", s)
		}
		s.Close()
		s.Shutdown(t.Context())
	}
	s := &smtp.Server{Hostname: "x", Blobs: &nowhere{}, Next: mailkeel.HandlerFunc(nil)}
	if err := s.ServeTLS(newPipes()); err == nil {
		t.Error("TLS without a config")
	}
	s.Close()
}
