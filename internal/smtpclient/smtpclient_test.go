package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
	"github.com/mailkeel/mailkeel/internal/testclock"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

const message = text("Subject: hello\r\n\r\n.hi\r\n")

func envelope(to ...string) *mailkeel.Envelope {
	env := &mailkeel.Envelope{ID: "m", From: "ann@x.test"}
	for i, a := range to {
		env.Rcpts = append(env.Rcpts, mailkeel.Recipient{Addr: a, Index: i})
	}
	return env
}

// dial returns a client that has not started.
func dial(t testing.TB, s *smtpsink.Server, o Options) *Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := New(conn, "sink.test", o)
	t.Cleanup(func() { c.Close() })
	return c
}

func start(t testing.TB, s *smtpsink.Server) *Client {
	t.Helper()
	c := dial(t, s, Options{Hello: "me.test", LMTP: s.LMTP})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOneTransaction(t *testing.T) {
	for _, ext := range [][]string{{"PIPELINING", "8BITMIME"}, {}} {
		s := smtpsink.Start(t, &smtpsink.Server{Ext: ext})
		c := start(t, s)
		for i, r := range c.Deliver(t.Context(), envelope("a@y.test", "b@y.test"), message) {
			if r.Err != nil || r.Action != mailkeel.Relayed || r.Hop != "sink.test" || r.Reply != "250 2.0.0 queued" {
				t.Errorf("recipient %d: %+v", i, r)
			}
		}
		if err := c.Reset(t.Context()); err != nil {
			t.Error(err)
		}
		ms := s.Messages()
		if len(ms) != 1 || ms[0].Data != string(message) || ms[0].From != "<ann@x.test>" || fmt.Sprint(ms[0].Rcpts) != "[<a@y.test> <b@y.test>]" {
			t.Errorf("the peer has %+v", ms)
		}
	}
}

func TestPeerWithoutEHLO(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		if strings.HasPrefix(cmd, "EHLO") {
			return "502 5.5.1 what?"
		}
		return ""
	}})
	c := start(t, s)
	if _, ok := c.Ext("PIPELINING"); ok {
		t.Error("extensions without EHLO")
	}
	if r := c.Deliver(t.Context(), envelope("a@y.test"), message)[0]; r.Err != nil {
		t.Error(r.Err)
	}
}

// TestParameters: what the envelope says reaches a peer that knows the extension.
func TestParameters(t *testing.T) {
	env := envelope("b\u00f6b@y.test", "c+d@y.test")
	env.UTF8, env.EightBit, env.Return, env.EnvelopeID = true, true, "full", "Q+ 1"
	env.Rcpts[0].Notify, env.Rcpts[0].Orcpt = mailkeel.NotifySuccess|mailkeel.NotifyDelay, "utf-8;b\u00f6b@z.test"
	env.Rcpts[1].Notify, env.Rcpts[1].Orcpt = mailkeel.NotifyNever, "rfc822;c+2Bd@z.test"
	s := smtpsink.Start(t, &smtpsink.Server{})
	for _, r := range start(t, s).Deliver(t.Context(), env, message) {
		if r.Err != nil || r.Action != mailkeel.Handed {
			t.Errorf("%+v", r)
		}
	}
	m := s.Messages()[0]
	if want := fmt.Sprintf("<ann@x.test> SMTPUTF8 BODY=8BITMIME SIZE=%d RET=FULL ENVID=Q+2B+201", len(message)); m.From != want {
		t.Errorf("MAIL FROM:%s, want %s", m.From, want)
	}
	if want := "<b\u00f6b@y.test> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;b\u00f6b@z.test"; m.Rcpts[0] != want {
		t.Errorf("RCPT TO:%s, want %s", m.Rcpts[0], want)
	}
	if want := "<c+d@y.test> NOTIFY=NEVER ORCPT=rfc822;c+2Bd@z.test"; m.Rcpts[1] != want {
		t.Errorf("RCPT TO:%s, want %s", m.Rcpts[1], want)
	}
}

// enhanced returns the enhanced code of an error, zero without one.
func enhanced(err error) [3]int {
	var e *mailkeel.Error
	if errors.As(err, &e) {
		return e.Enhanced
	}
	return [3]int{}
}

func TestWhatThePeerCannotTake(t *testing.T) {
	utf8 := envelope("b@y.test")
	utf8.UTF8 = true
	eight := envelope("b@y.test")
	eight.EightBit = true
	tls := envelope("b@y.test")
	tls.RequireTLS = true
	for _, tt := range []struct {
		name string
		env  *mailkeel.Envelope
		m    text
		want [3]int
	}{
		{"an address", envelope("b\u00f6b@y.test"), message, [3]int{5, 6, 7}},
		{"a header", utf8, "Subject: \u00f6\r\n\r\n", [3]int{5, 6, 7}},
		{"a body", eight, "A: b\r\n\r\n\u00f6", [3]int{5, 6, 3}},
		{"size", envelope("b@y.test"), text(strings.Repeat("x", 2000)), [3]int{5, 3, 4}},
		{"no TLS", tls, message, [3]int{5, 7, 10}},
		{"an address with a line break", envelope("b@y.test>\r\nRCPT TO:<evil@y.test"), message, [3]int{5, 1, 3}},
		// What only claims to need it goes.
		{"a claim of UTF8", utf8, message, [3]int{}},
		{"a claim of 8 bits", eight, message, [3]int{}},
		{"a domain that has an ASCII form", envelope("b@\u00f6.test"), message, [3]int{}},
	} {
		s := smtpsink.Start(t, &smtpsink.Server{Ext: []string{"PIPELINING", "SIZE 1000"}})
		r := start(t, s).Deliver(t.Context(), tt.env, tt.m)[0]
		if enhanced(r.Err) != tt.want || (tt.want[0] == 5) != mailkeel.Permanent(r.Err) {
			t.Errorf("%s: %+v, want %v", tt.name, r, tt.want)
		}
		if (r.Err == nil) != (len(s.Messages()) == 1) {
			t.Errorf("%s: the peer has %+v", tt.name, s.Messages())
		}
	}
}

func TestResultsPerRecipient(t *testing.T) {
	script := func(cmd string) string {
		switch {
		case strings.Contains(cmd, "no@"):
			return "550 5.1.1 no\x01 such user"
		case strings.Contains(cmd, "later@"):
			return "450-4.2.1 mailbox\n450 4.2.1 busy"
		}
		return ""
	}
	for _, ext := range [][]string{nil, {}} {
		s := smtpsink.Start(t, &smtpsink.Server{Ext: ext, Reply: script})
		c := start(t, s)
		rs := c.Deliver(t.Context(), envelope("no@y.test", "a@y.test", "later@y.test"), message)
		if !mailkeel.Permanent(rs[0].Err) || rs[0].Reply != "550 5.1.1 no  such user" || rs[1].Err != nil ||
			enhanced(rs[2].Err) != [3]int{4, 2, 1} || rs[2].Reply != "450 4.2.1 mailbox busy" {
			t.Errorf("got %+v", rs)
		}
		rs = c.Deliver(t.Context(), envelope("no@y.test"), message)
		if !mailkeel.Permanent(rs[0].Err) || errors.Is(rs[0].Err, ErrSession) {
			t.Errorf("got %+v", rs)
		}
		if rs = c.Deliver(t.Context(), envelope("a@y.test"), message); rs[0].Err != nil || c.Broken() != nil {
			t.Errorf("after a refusal: %+v, %v", rs, c.Broken())
		}
		if n, _ := s.Sessions(); n != 1 || len(s.Messages()) != 2 {
			t.Errorf("%d sessions, %d messages", n, len(s.Messages()))
		}
	}
}

func TestNobodyLeftButThePeerWantsTheContent(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		switch {
		case strings.Contains(cmd, "no@"):
			return "550 5.1.1 no"
		case cmd == "DATA":
			return "354 come on"
		}
		return ""
	}})
	c := start(t, s)
	rs := c.Deliver(t.Context(), envelope("no@y.test"), message)
	if !mailkeel.Permanent(rs[0].Err) || c.Broken() != nil {
		t.Errorf("got %+v, %v", rs, c.Broken())
	}
	for _, m := range s.Messages() {
		if m.Data != "" || len(m.Rcpts) != 0 {
			t.Errorf("the peer has %+v", m)
		}
	}
}

func TestManyRecipients(t *testing.T) {
	var to []string
	for i := range 250 {
		to = append(to, fmt.Sprintf("%s%d@y.test", strings.Repeat("x", 50), i))
	}
	for _, tt := range []struct {
		ext  []string
		most int
	}{{nil, 100}, {[]string{"PIPELINING", "LIMITS MAILMAX=9 RCPTMAX=60"}, 60}, {[]string{}, 100}} {
		s := smtpsink.Start(t, &smtpsink.Server{Ext: tt.ext})
		for _, r := range start(t, s).Deliver(t.Context(), envelope(to...), message) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		n := 0
		for _, m := range s.Messages() {
			n += len(m.Rcpts)
			if len(m.Rcpts) > tt.most {
				t.Errorf("%d recipients at once", len(m.Rcpts))
			}
		}
		if n != 250 {
			t.Errorf("%d recipients, want 250", n)
		}
	}
}

// TestTooManyRecipients: 452 at RCPT means another transaction, not another day.
func TestTooManyRecipients(t *testing.T) {
	n := 0
	s := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		switch {
		case strings.HasPrefix(cmd, "MAIL"):
			n = 0
		case strings.HasPrefix(cmd, "RCPT"):
			if n++; n > 3 {
				return "452 4.5.3 too many"
			}
		}
		return ""
	}})
	for _, r := range start(t, s).Deliver(t.Context(), envelope("a@y.test", "b@y.test", "c@y.test", "d@y.test", "e@y.test", "f@y.test", "g@y.test"), message) {
		if r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
	if len(s.Messages()) != 3 {
		t.Errorf("%d transactions, want 3", len(s.Messages()))
	}
}

func TestLMTP(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{LMTP: true, Reply: func(cmd string) string {
		switch {
		case strings.HasPrefix(cmd, "RCPT") && strings.Contains(cmd, "no@"):
			return "550 5.1.1 no"
		case cmd == ". <full@y.test>":
			return "452 4.2.2 full"
		}
		return ""
	}})
	c := start(t, s)
	rs := c.Deliver(t.Context(), envelope("a@y.test", "no@y.test", "full@y.test", "b@y.test"), message)
	if rs[0].Err != nil || !mailkeel.Permanent(rs[1].Err) || enhanced(rs[2].Err) != [3]int{4, 2, 2} || rs[3].Err != nil || c.Broken() != nil {
		t.Errorf("got %+v, %v", rs, c.Broken())
	}
	if cmd := s.Commands()[0]; cmd != "LHLO me.test" {
		t.Errorf("the first command is %q", cmd)
	}
}

// TestFaultAtEachStep: whatever the peer does, the answer is right and nothing is
// sent twice in a session.
func TestFaultAtEachStep(t *testing.T) {
	for _, ext := range [][]string{nil, {}} {
		for _, step := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."} {
			for _, what := range []string{smtpsink.Drop, "421 4.3.2 bye", "451 4.3.0 no", "554 5.7.1 never", "250 ok", "999 what", "354 more", smtpsink.Raw + strings.Repeat("y", 5000), smtpsink.Raw + "250-x\r\n550 y\r\n"} {
				if what == "250 ok" && step != "DATA" || what == "354 more" && step == "DATA" {
					continue
				}
				s := smtpsink.Start(t, &smtpsink.Server{Ext: ext, Reply: func(cmd string) string {
					if strings.HasPrefix(cmd, step) || step == "EHLO" && strings.HasPrefix(cmd, "HELO") {
						return what
					}
					return ""
				}})
				c := dial(t, s, Options{})
				err := c.Start(t.Context())
				if step == "CONNECT" || step == "EHLO" {
					if err == nil || mailkeel.Permanent(err) != (what[0] == '5') {
						t.Errorf("%s %.20q: Start gave %v", step, what, err)
					}
					continue
				}
				r := c.Deliver(t.Context(), envelope("a@y.test"), message)[0]
				if r.Err == nil || mailkeel.Permanent(r.Err) != (what[0] == '5') || len(s.Messages()) != 0 {
					t.Errorf("%s %.20q: %+v, %d messages", step, what, r, len(s.Messages()))
				}
				alive := what[0] == '5' || what[:3] == "451"
				if (c.Broken() == nil) != alive {
					t.Errorf("%s %.20q: Broken = %v", step, what, c.Broken())
				}
				if want := !alive && step != "."; errors.Is(r.Err, ErrSession) != want {
					t.Errorf("%s %.20q: %v, ErrSession is to be %v", step, what, r.Err, want)
				}
			}
		}
	}
}

// timers is a clock that says when a timer of some length was begun.
type timers struct {
	*testclock.Clock
	begun chan time.Duration
}

func (c timers) NewTimer(d time.Duration) mailkeel.Timer {
	t := c.Clock.NewTimer(d)
	c.begun <- d
	return t
}

// TestSilentPeer: every wait ends, by the clock that is given.
func TestSilentPeer(t *testing.T) {
	limits := Timeouts{Greeting: time.Minute, Command: 2 * time.Minute, Data: 3 * time.Minute, Final: 4 * time.Minute}
	for _, tt := range []struct {
		step  string
		wait  time.Duration
		which int // of the waits of this length
	}{{"CONNECT", limits.Greeting, 1}, {"EHLO", limits.Command, 1}, {"MAIL", limits.Command, 2}, {"RCPT", limits.Command, 3}, {"DATA", limits.Data, 1}, {".", limits.Final, 1}} {
		s := smtpsink.Start(t, &smtpsink.Server{Ext: []string{}, Reply: func(cmd string) string {
			if strings.HasPrefix(cmd, tt.step) {
				return smtpsink.Hang
			}
			return ""
		}})
		clock := timers{&testclock.Clock{}, make(chan time.Duration, 100)}
		c := dial(t, s, Options{Clock: clock, Timeouts: limits})
		done := make(chan error)
		go func() {
			err := c.Start(t.Context())
			if err == nil {
				err = c.Deliver(t.Context(), envelope("a@y.test"), message)[0].Err
			}
			done <- err
		}()
		for n := 0; n < tt.which; {
			if <-clock.begun == tt.wait {
				n++
			}
		}
		clock.Advance(tt.wait - 1)
		select {
		case err := <-done:
			t.Fatalf("%s: %v before its time", tt.step, err)
		default:
		}
		clock.Advance(1)
		err := <-done
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || mailkeel.Permanent(err) {
			t.Errorf("%s: %v, want a timeout", tt.step, err)
		}
	}
}

// endless is a Content that never ends while the peer does not read.
type endless struct{}

func (endless) Size() int64                                 { return 1 << 40 }
func (endless) Open(context.Context) (io.ReadCloser, error) { return io.NopCloser(endless{}), nil }
func (endless) Read(p []byte) (int, error)                  { return copy(p, strings.Repeat("x", 1000)+"\r\n"), nil }

func TestPeerThatDoesNotRead(t *testing.T) {
	ours, theirs := net.Pipe() // has no buffer at all
	defer theirs.Close()
	go func() {
		buf := make([]byte, 1000)
		for _, reply := range []string{"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"} {
			theirs.Write([]byte(reply))
			if reply[:3] != "354" {
				theirs.Read(buf)
			}
		}
	}()
	clock := timers{&testclock.Clock{}, make(chan time.Duration, 100)}
	c := New(ours, "x", Options{Clock: clock, Timeouts: Timeouts{Greeting: time.Hour, Command: time.Hour, Data: time.Minute}})
	defer c.Close()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan mailkeel.Result)
	go func() { done <- c.Deliver(t.Context(), envelope("a@y.test"), endless{})[0] }()
	for waits := 0; waits < 2; { // for 354, and for the first bytes to be taken
		if <-clock.begun == time.Minute {
			waits++
		}
	}
	clock.Advance(time.Minute)
	if r := <-done; !errors.Is(r.Err, ErrSession) {
		t.Errorf("%+v", r)
	}
}

func TestCancelEndsTheSession(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("lease lost")
	s := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		if strings.HasPrefix(cmd, "RCPT") {
			cancel(why)
			return smtpsink.Hang
		}
		return ""
	}})
	c := start(t, s)
	r := c.Deliver(ctx, envelope("a@y.test"), message)[0]
	if !errors.Is(r.Err, why) || mailkeel.Permanent(r.Err) || c.Broken() == nil {
		t.Errorf("%+v, %v", r, c.Broken())
	}
}

// lying is a Content that breaks off.
type lying struct{ text }

func (l lying) Size() int64 { return int64(len(l.text)) + 1 }

func TestHalfAMessageIsNeverSent(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{})
	c := start(t, s)
	r := c.Deliver(t.Context(), envelope("a@y.test"), lying{message})[0]
	if !errors.Is(r.Err, io.ErrUnexpectedEOF) || errors.Is(r.Err, ErrSession) || c.Broken() == nil || len(s.Messages()) != 0 {
		t.Errorf("%+v, %d messages", r, len(s.Messages()))
	}
}

func TestReplyToNothing(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		if strings.HasPrefix(cmd, "EHLO") {
			return smtpsink.Raw + "250 hi\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n250 took it\r\n"
		}
		return ""
	}})
	c := start(t, s)
	if r := c.Deliver(t.Context(), envelope("a@y.test"), message)[0]; !errors.Is(r.Err, ErrProtocol) || c.Broken() == nil {
		t.Errorf("%+v", r)
	}
}

// TestSmugglingOut is T2: no content is more than one message to any peer.
func TestSmugglingOut(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{Naive: true})
	c := start(t, s)
	rnd := rand.New(rand.NewPCG(1, 2))
	bits := []string{"\r", "\n", "\r\n", ".", "\x00", "x", "MAIL FROM:<evil@x>", "..", "\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\r\n.\r\n"}
	for i := range 600 {
		var b strings.Builder
		for range 1 + rnd.IntN(12) {
			b.WriteString(bits[rnd.IntN(len(bits))])
		}
		body := b.String()
		if r := c.Deliver(t.Context(), envelope("a@y.test"), text(body))[0]; r.Err != nil {
			t.Fatalf("%q: %v", body, r.Err)
		}
		ms := s.Messages()
		if len(ms) != i+1 || ms[i].Data != canonical(body) || ms[i].From != fmt.Sprintf("<ann@x.test> SIZE=%d", len(body)) {
			t.Fatalf("%q: the peer has %d messages, the last is %q, want %q", body, len(ms), ms[len(ms)-1].Data, canonical(body))
		}
	}
	for _, cmd := range s.Commands() {
		if strings.Contains(cmd, "evil") {
			t.Errorf("smuggled: %q", cmd)
		}
	}
}

// canonical is the form in which s is to arrive.
func canonical(s string) string {
	s = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n", "\x00", " ").Replace(s)
	if s != "" && !strings.HasSuffix(s, "\r\n") {
		s += "\r\n"
	}
	return s
}

func FuzzDotWriter(f *testing.F) {
	f.Add("a\r\n.\r\nb", 1)
	f.Add("\n.\n\r.\r\x00.", 3)
	f.Fuzz(func(t *testing.T, s string, size int) {
		var b strings.Builder
		d := &dotWriter{w: &b}
		size = max(1, size%100)
		for rest := s; rest != ""; {
			n := min(size, len(rest))
			d.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		d.Close()
		out, ok := strings.CutSuffix("\r\n"+b.String(), "\r\n.\r\n")
		if !ok || strings.Contains(out+"\r\n", "\r\n.\r\n") || strings.Contains(out, "\x00") {
			t.Fatalf("%q was written as %q", s, b.String())
		}
		back := strings.TrimPrefix(strings.ReplaceAll(out+"\r\n", "\r\n.", "\r\n"), "\r\n")
		if back != canonical(s) {
			t.Fatalf("%q arrives as %q, want %q", s, back, canonical(s))
		}
	})
}
