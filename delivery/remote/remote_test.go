package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/delivery/deliverytest"
	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

const message = text("Subject: hello\r\n\r\nhi\r\n")

func envelope(to ...string) *mailkeel.Envelope {
	env := &mailkeel.Envelope{ID: "m", From: "ann@x.test"}
	for i, a := range to {
		env.Rcpts = append(env.Rcpts, mailkeel.Recipient{Addr: a, Index: i})
	}
	return env
}

// world is a network in which servers have any address.
type world struct {
	*testing.T
	*remote.Transport
	dns   *testdns.Server
	clock *testclock.Clock

	mu      sync.Mutex
	servers map[string]*smtpsink.Server // by IP
	dialed  []string
}

func newWorld(t *testing.T, records ...string) *world {
	w := &world{T: t, dns: testdns.New(t, records...), clock: &testclock.Clock{}, servers: map[string]*smtpsink.Server{}}
	w.Transport = &remote.Transport{Hostname: "me.test", Resolver: w.dns.Resolver(), Dial: w.dial, Clock: w.clock}
	t.Cleanup(func() { w.Close() })
	return w
}

func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, _ := net.SplitHostPort(addr)
	w.mu.Lock()
	w.dialed = append(w.dialed, host)
	s := w.servers[host]
	w.mu.Unlock()
	if s == nil || port != "25" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, s.Addr)
}

// serve starts a server at an address.
func (w *world) serve(ip string, s *smtpsink.Server) *smtpsink.Server {
	smtpsink.Start(w.T, s)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[ip] = s
	return s
}

// tried returns the addresses dialed since the last call.
func (w *world) tried() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.dialed, " ")
	w.dialed = nil
	return s
}

func (w *world) send(to ...string) []mailkeel.Result {
	return mailkeel.Deliver(w.Context(), w.Transport, envelope(to...), message)
}

// status is the enhanced code of a result, "" for none.
func status(r mailkeel.Result) string {
	var e *mailkeel.Error
	switch {
	case r.Err == nil:
		return "2"
	case errors.As(r.Err, &e):
		return fmt.Sprintf("%d.%d.%d", e.Enhanced[0], e.Enhanced[1], e.Enhanced[2])
	}
	return ""
}

func (w *world) want(what, status_ string, r mailkeel.Result) {
	w.Helper()
	if got := status(r); got != status_ || strings.HasPrefix(status_, "5") != mailkeel.Permanent(r.Err) {
		w.Errorf("%s: %q %+v, want %s", what, got, r, status_)
	}
}

func TestPreference(t *testing.T) {
	w := newWorld(t, "y.test. MX 20 b.y.test.", "y.test. MX 10 a.y.test.", "y.test. MX 30 c.y.test.",
		"a.y.test. A 10.0.0.1", "a.y.test. AAAA fd00::1", "b.y.test. A 10.0.0.2", "c.y.test. A 10.0.0.3")
	b, c := w.serve("10.0.0.2", &smtpsink.Server{}), w.serve("10.0.0.3", &smtpsink.Server{})
	r := w.send("bob@Y.test")[0]
	if r.Err != nil || r.Action != mailkeel.Handed || r.Hop != "b.y.test" {
		t.Errorf("%+v", r)
	}
	if got := w.tried(); got != "fd00::1 10.0.0.1 10.0.0.2" {
		t.Errorf("tried %s", got)
	}
	if len(b.Messages()) != 1 || len(c.Messages()) != 0 {
		t.Error("not the best server")
	}
}

func TestEqualPreferencesShareTheLoad(t *testing.T) {
	w := newWorld(t, "y.test. MX 10 a.y.test.", "y.test. MX 10 b.y.test.", "a.y.test. A 10.0.0.1", "b.y.test. A 10.0.0.2")
	w.IdleTimeout = -1
	a, b := w.serve("10.0.0.1", &smtpsink.Server{}), w.serve("10.0.0.2", &smtpsink.Server{})
	for range 40 {
		w.want("send", "2", w.send("bob@y.test")[0])
	}
	if len(a.Messages()) == 0 || len(b.Messages()) == 0 { // 2 in 2^40 runs
		t.Errorf("%d and %d messages", len(a.Messages()), len(b.Messages()))
	}
}

func TestWhereADomainsMailGoes(t *testing.T) {
	w := newWorld(t,
		"implicit.test. A 10.0.0.1",
		"alias.test. CNAME real.test.", "real.test. MX 10 mx.real.test.", "mx.real.test. CNAME host.real.test.", "host.real.test. A 10.0.0.1",
		"null.test. MX 0 .",
		"nomail.test. TXT \"x\"",
		"deadmx.test. MX 10 nowhere.test.",
		"badmx.test. MX 10 -bad-.test.",
		"self.test. MX 10 ME.test.", "self.test. MX 20 mx.real.test.",
		"selfequal.test. MX 10 me.test.", "selfequal.test. MX 10 mx.real.test.",
		"backup.test. MX 20 me.test.", "backup.test. MX 10 mx.real.test.", "backup.test. MX 30 nowhere.test.",
		"fail.test. MX 10 mx.real.test.", "failmx.test. MX 10 fail2.test.", "fail2.test. A 10.0.0.1",
		"trunc.test. MX 10 mx.real.test.",
		"down.test. A 10.0.0.9",
		"xn--bcher-kva.test. A 10.0.0.1",
	)
	w.dns.Fail("fail.test", testdns.ServFail)
	w.dns.Fail("fail2.test", testdns.ServFail)
	w.dns.Fail("trunc.test", testdns.Truncate)
	w.serve("10.0.0.1", &smtpsink.Server{})
	for addr, want := range map[string]string{
		"bob@implicit.test": "2", "bob@alias.test": "2", "bob@[10.0.0.1]": "2", "bob@trunc.test": "2", "bob@backup.test": "2", "bob@b\u00fccher.test": "2",
		"bob@null.test": "5.1.10", "bob@nomail.test": "5.1.2", "bob@nowhere.test": "5.1.2",
		"bob@deadmx.test": "5.4.4", "bob@self.test": "5.4.6", "bob@selfequal.test": "5.4.6",
		"bob@fail.test": "4.4.3", "bob@failmx.test": "4.4.3", "bob@down.test": "4.4.1",
		"bob@x test": "5.1.3", "bob": "5.1.3", "bob@1.2.3.4": "5.1.3", "bob@[1.2.3]": "5.1.3",
	} {
		w.want(addr, want, w.send(addr)[0])
	}
	if r := w.send("bob@null.test")[0]; !strings.HasPrefix(r.Err.Error(), "556 ") {
		t.Errorf("null MX: %v, want 556 (RFC 7505)", r.Err)
	}
	if r := w.send("bob@down.test")[0]; !errors.Is(r.Err, delivery.ErrUnreachable) {
		t.Errorf("down: %v", r.Err)
	}
}

func TestDomainsOfOneEnvelope(t *testing.T) {
	w := newWorld(t, "y.test. A 10.0.0.1", "z.test. A 10.0.0.2")
	y, z := w.serve("10.0.0.1", &smtpsink.Server{}), w.serve("10.0.0.2", &smtpsink.Server{Reply: func(cmd string) string {
		if strings.Contains(cmd, "no@") {
			return "550 5.1.1 no"
		}
		return ""
	}})
	rs := w.send("a@y.test", "no@z.test", "b@Y.test", "bad", "c@z.test")
	for i, want := range []string{"2", "5.1.1", "2", "5.1.3", "2"} {
		w.want(fmt.Sprint("recipient ", i), want, rs[i])
	}
	if len(y.Messages()) != 1 || len(y.Messages()[0].Rcpts) != 2 || len(z.Messages()) != 1 {
		t.Errorf("y has %+v, z has %+v", y.Messages(), z.Messages())
	}
}

func TestSessionsAreReused(t *testing.T) {
	w := newWorld(t, "y.test. A 10.0.0.1")
	s := w.serve("10.0.0.1", &smtpsink.Server{})
	for range 250 {
		w.want("send", "2", w.send("bob@y.test")[0])
	}
	if n, _ := s.Sessions(); n != 3 {
		t.Errorf("%d sessions for 250 messages, want 3", n)
	}
	if n := len(w.dns.Queries()); n > 20 {
		t.Errorf("%d look-ups", n)
	}
	// Not those that waited too long, and a session that the peer ended costs
	// nothing.
	w.clock.Advance(11 * time.Second)
	w.want("after a while", "2", w.send("bob@y.test")[0])
	if n, _ := s.Sessions(); n != 4 {
		t.Errorf("%d sessions, want 4", n)
	}
	s.CloseConns()
	w.want("after the peer left", "2", w.send("bob@y.test")[0])
	if n, _ := s.Sessions(); n != 5 {
		t.Errorf("%d sessions, want 5", n)
	}
	// One that refused something is in order again.
	if r := w.send("bob@y.test", "bad@[x]@y.test")[1]; !mailkeel.Permanent(r.Err) {
		t.Errorf("%+v", r)
	}
	w.want("after a refusal", "2", w.send("bob@y.test")[0])
	if n, _ := s.Sessions(); n != 5 || len(s.Messages()) != 254 {
		t.Errorf("%d sessions, %d messages", n, len(s.Messages()))
	}
}

// TestNextHostTakesOver: a host that fails before it has the message does not
// delay it, wherever it fails; one that refuses is believed.
func TestNextHostTakesOver(t *testing.T) {
	for _, step := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		for _, what := range []string{smtpsink.Drop, "421 4.3.2 bye", "450 4.3.0 later", "554 5.7.1 never"} {
			w := newWorld(t, "y.test. MX 10 a.test.", "y.test. MX 20 b.test.", "a.test. A 10.0.0.1", "b.test. A 10.0.0.2")
			w.serve("10.0.0.1", &smtpsink.Server{Reply: func(cmd string) string {
				if strings.HasPrefix(cmd, step) || step == "EHLO" && strings.HasPrefix(cmd, "HELO") {
					return what
				}
				return ""
			}})
			b := w.serve("10.0.0.2", &smtpsink.Server{})
			r := w.send("bob@y.test")[0]
			session := step == "CONNECT" || step == "EHLO"
			switch {
			case session, step != "." && (what == smtpsink.Drop || what[:3] == "421"):
				w.want(step+" "+what, "2", r)
			case what == smtpsink.Drop: // after the content: nobody knows
				if r.Err == nil || mailkeel.Permanent(r.Err) || len(b.Messages()) != 0 {
					t.Errorf("%s %s: %+v", step, what, r)
				}
			default:
				w.want(step+" "+what, what[4:9], r)
			}
			if n := len(b.Messages()); (n == 1) != (r.Err == nil) {
				t.Errorf("%s %s: the next host has %d messages, the result is %+v", step, what, n, r)
			}
		}
	}
}

func TestAllHostsSayNo(t *testing.T) {
	w := newWorld(t, "y.test. MX 10 a.test.", "y.test. MX 20 b.test.", "a.test. A 10.0.0.1", "b.test. A 10.0.0.2")
	say := func(what string) *smtpsink.Server {
		return &smtpsink.Server{Reply: func(string) string { return what }}
	}
	w.serve("10.0.0.1", say("554 5.7.1 go away"))
	w.serve("10.0.0.2", say("554 5.7.1 you too"))
	w.want("both say no", "5.7.1", w.send("bob@y.test")[0])
	w.serve("10.0.0.2", say("421 4.3.2 busy"))
	w.want("one is busy", "4.3.2", w.send("bob@y.test")[0])
}

func TestDeadHostIsPassedOver(t *testing.T) {
	w := newWorld(t, "y.test. A 10.0.0.1", "z.test. A 10.0.0.1")
	w.want("down", "4.4.1", w.send("bob@y.test")[0])
	w.want("down", "4.4.1", w.send("bob@z.test")[0])
	w.serve("10.0.0.1", &smtpsink.Server{})
	w.want("still down", "4.4.1", w.send("bob@y.test")[0])
	if got := w.tried(); got != "10.0.0.1" {
		t.Errorf("dialed %s, want it once", got)
	}
	w.clock.Advance(time.Minute)
	w.want("up again", "2", w.send("bob@y.test")[0])
}

func TestHostsHaveALimit(t *testing.T) {
	var records []string
	for i := range 200 {
		records = append(records, fmt.Sprintf("y.test. MX %d a%d.y.test.", i, i), fmt.Sprintf("a%d.y.test. A 10.0.1.%d", i, i+1))
	}
	w := newWorld(t, records...)
	w.want("many", "4.4.1", w.send("bob@y.test")[0])
	if n := len(strings.Fields(w.tried())); n != 20 {
		t.Errorf("tried %d addresses, want 20", n)
	}
}

func TestSlowConnect(t *testing.T) {
	w := newWorld(t, "y.test. A 10.0.0.1")
	w.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		w.clock.Advance(30 * time.Second)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.want("slow", "4.4.1", w.send("bob@y.test")[0])
}

func TestCancelled(t *testing.T) {
	w := newWorld(t, "y.test. A 10.0.0.1")
	w.serve("10.0.0.1", &smtpsink.Server{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := mailkeel.Deliver(ctx, w.Transport, envelope("bob@y.test"), message)[0]; r.Err == nil || mailkeel.Permanent(r.Err) {
		t.Errorf("%+v", r)
	}
	w.want("the host is not to blame", "2", w.send("bob@y.test")[0])
}

// TestLocalAddress also goes without Dial, to a literal and to another port.
func TestLocalAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from := make(chan string, 1)
	s := &smtpsink.Server{}
	s.Serve(t, watched{ln, from})
	tr := &remote.Transport{LocalAddrs: []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.7")}, Port: ln.Addr().(*net.TCPAddr).Port}
	defer tr.Close()
	if r := mailkeel.Deliver(t.Context(), tr, envelope("bob@[127.0.0.1]"), message)[0]; r.Err != nil || len(s.Messages()) != 1 {
		t.Errorf("%+v", r)
	}
	if host, _, _ := net.SplitHostPort(<-from); host != "127.0.0.7" {
		t.Errorf("it came from %s", host)
	}
}

// watched says where connections come from.
type watched struct {
	net.Listener
	from chan string
}

func (w watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.from <- c.RemoteAddr().String()
	}
	return c, err
}

func TestConformance(t *testing.T) {
	deliverytest.Run(t, deliverytest.Options{New: func(t *testing.T) deliverytest.Subject {
		w := newWorld(t, "y.test. MX 10 mx.y.test.", "mx.y.test. A 10.0.0.1")
		s := w.serve("10.0.0.1", &smtpsink.Server{Reply: func(cmd string) string {
			if strings.HasPrefix(cmd, "RCPT") && strings.Contains(cmd, "no@") {
				return "550 5.1.1 no such user"
			}
			return ""
		}})
		return deliverytest.Subject{Transport: w.Transport, Bad: "no@y.test", Got: func() (all []deliverytest.Message) {
			for _, m := range s.Messages() {
				for _, r := range m.Rcpts {
					all = append(all, deliverytest.Message{Rcpt: strings.Trim(r, "<>"), Content: m.Data})
				}
			}
			return all
		}}
	}})
}
