package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/authres"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/smtp"
)

// spy is a filter of every stage that answers what the test says, and notes what
// it saw.
type spy struct {
	mu   sync.Mutex
	says map[filter.Stage]func(*filter.Transaction) filter.Verdict
	saw  []string
	ends []filter.Outcome
}

func (s *spy) Name() string { return "x-spy" }

func (s *spy) at(st filter.Stage, t *filter.Transaction) (filter.Verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note := fmt.Sprintf("%v tls=%v trusted=%v", st, t.Origin.TLS, t.Trusted)
	if t.Env != nil {
		note += fmt.Sprintf(" <%s> %d", t.Env.From, len(t.Env.Rcpts))
	}
	if t.Rcpt != nil {
		note += " " + t.Rcpt.Addr + " " + string(t.Rcpt.Account)
	}
	if t.Content != nil {
		rc, err := t.Content.Open(context.Background())
		if err != nil {
			return filter.Verdict{}, err
		}
		b, _ := io.ReadAll(rc)
		rc.Close()
		text := string(b)
		note += fmt.Sprintf(" %d %q", strings.Index(text, "Received: "), text[strings.LastIndex(text, "(UTC)")+5:])
	}
	s.saw = append(s.saw, note)
	if f := s.says[st]; f != nil {
		return f(t), nil
	}
	return filter.Verdict{}, nil
}

func (s *spy) FilterConn(_ context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return s.at(filter.Conn, t)
}
func (s *spy) FilterSender(_ context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return s.at(filter.Sender, t)
}
func (s *spy) FilterRcpt(_ context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return s.at(filter.Rcpt, t)
}
func (s *spy) FilterMessage(_ context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return s.at(filter.Message, t)
}

func (s *spy) Done(_ context.Context, t *filter.Transaction, o filter.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saw = append(s.saw, fmt.Sprintf("done <%s> %d %d", t.Env.From, len(t.Env.Rcpts), len(o.Results)))
	s.ends = append(s.ends, o)
}

func (s *spy) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	saw := s.saw
	s.saw = nil
	return saw
}

func (s *spy) set(st filter.Stage, f func(*filter.Transaction) filter.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says[st] = f
}

func newSpy(t *testing.T, change func(*smtp.Server)) (*spy, *rig) {
	s := &spy{says: map[filter.Stage]func(*filter.Transaction) filter.Verdict{}}
	return s, newRig(t, func(srv *smtp.Server) {
		srv.Filters = &filter.Chain{Groups: [][]filter.Filter{{s}}, JunkAt: 5}
		if change != nil {
			change(srv)
		}
	})
}

func TestFiltersAreAskedAtEachStage(t *testing.T) {
	s, r := newSpy(t, nil)
	p := dial(t, r.addr).hello().do("STARTTLS", "220")
	p.startTLS()
	p.do("EHLO x", "250")
	p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<both@example.org>", "250", "RCPT TO:<no@example.org>", "550", "DATA", "354").send("Subject: x\r\n\r\n.\r\n")
	p.want("250")
	p.do("MAIL FROM:<a@example.net>", "250", "RSET", "250", "MAIL FROM:<b@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354").send("a\nb\r\n.\r\n")
	p.want("550")
	p.do("MAIL FROM:<c@example.net>", "250", "QUIT", "221").ended()
	r.Close()
	want := []string{
		"conn tls=false trusted=false",
		"conn tls=true trusted=false",
		"sender tls=true trusted=false <zoe@example.net> 0",
		"rcpt tls=true trusted=false <zoe@example.net> 0 ann@example.org a1",
		"rcpt tls=true trusted=false <zoe@example.net> 1 both@example.org ",
		`message tls=true trusted=false <zoe@example.net> 2 0 "\r\nSubject: x\r\n\r\n"`,
		"done <zoe@example.net> 2 2",
		"sender tls=true trusted=false <a@example.net> 0",
		"done <a@example.net> 0 0",
		"sender tls=true trusted=false <b@example.net> 0",
		"rcpt tls=true trusted=false <b@example.net> 0 ann@example.org a1",
		"done <b@example.net> 1 0",
		"sender tls=true trusted=false <c@example.net> 0",
		"done <c@example.net> 0 0",
	}
	if got := s.take(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFiltersRefuse(t *testing.T) {
	s, r := newSpy(t, nil)
	no := func(code int) func(*filter.Transaction) filter.Verdict {
		return func(*filter.Transaction) filter.Verdict {
			return filter.Verdict{Refuse: &mailkeel.Error{Code: code, Enhanced: [3]int{code / 100, 7, 1}, Message: "I do not like you"}}
		}
	}
	s.set(filter.Message, no(554))
	p := dial(t, r.addr).hello()
	if got := p.mail("zoe@example.net", "ann@example.org", "x"); got != "554 5.7.1 I do not like you" {
		t.Error(got)
	}
	s.set(filter.Rcpt, no(450))
	p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "450 4.7.1 I do", "DATA", "503", "RSET", "250")
	s.set(filter.Sender, no(550))
	p.do("MAIL FROM:<zoe@example.net>", "550 5.7.1 I do", "RCPT TO:<ann@example.org>", "503")
	for _, tt := range []struct {
		code  int
		reply string
	}{{550, "554 5.7.1 mx.example.org I do not like you"}, {450, "421 4.7.1 mx.example.org I do not like you"}} {
		s.set(filter.Conn, no(tt.code))
		p = dial(t, r.addr)
		p.want(tt.reply)
		p.ended()
	}
	// After STARTTLS it is said at EHLO.
	s.set(filter.Conn, nil)
	p = dial(t, r.addr).hello()
	s.set(filter.Conn, no(550))
	p.do("STARTTLS", "220")
	p.startTLS()
	p.do("EHLO x", "550 5.7.1 I do", "MAIL FROM:<zoe@example.net>", "503")
	if n := len(r.sink.all()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestVerdictsReachTheMessage(t *testing.T) {
	s, r := newSpy(t, nil)
	add := func(name string, score float64) func(*filter.Transaction) filter.Verdict {
		return func(*filter.Transaction) filter.Verdict {
			return filter.Verdict{Score: score, Why: "why " + name, Prefix: []byte("X-" + name + ": 1\r\n"),
				Results: []authres.Result{&authres.SPFResult{Value: authres.ResultPass, From: name}}}
		}
	}
	s.set(filter.Conn, add("conn", 1))
	s.set(filter.Sender, add("sender", 1))
	s.set(filter.Message, add("message", 3.5))
	p := dial(t, r.addr).hello()
	for range 2 { // what was said of the connection holds for each message
		p.mail("zoe@example.net", "ann@example.org", "Subject: x\r\n")
	}
	for _, m := range r.sink.all() {
		i := strings.Index(m.data, "Received: ")
		want := "Authentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=conn;\r\n\tspf=pass smtp.mailfrom=sender;\r\n\tspf=pass smtp.mailfrom=message\r\n" +
			"X-Spam-Status: Yes, score=5.5\r\n\t(why conn; why sender; why message)\r\nX-message: 1\r\nX-sender: 1\r\nX-conn: 1\r\n"
		if got := m.data[:i]; got != want {
			t.Errorf("got %q\nwant %q", got, want)
		}
		if !m.env.Rcpts[0].Junk {
			t.Error("over JunkAt, but no junk")
		}
	}
}

func TestVerdictsForRecipients(t *testing.T) {
	for _, lmtp := range []bool{false, true} {
		s, r := newSpy(t, func(s *smtp.Server) { s.LMTP = lmtp })
		no := &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 1}, Message: "not for bob"}
		s.set(filter.Message, func(*filter.Transaction) filter.Verdict {
			return filter.Verdict{Rcpts: map[int]filter.Verdict{
				0: {Prefix: []byte("X-For: ann\r\n"), Junk: true}, 1: {Refuse: no}, 3: {Prefix: []byte("X-For: ann\r\n")}, 4: {Discard: true}}}
		})
		s.set(filter.Rcpt, func(t *filter.Transaction) filter.Verdict {
			switch t.Rcpt.Mailbox {
			case "discard":
				return filter.Verdict{Discard: true}
			case "junk":
				return filter.Verdict{Junk: true}
			}
			return filter.Verdict{}
		})
		p := dial(t, r.addr)
		p.want("220")
		p.do(map[bool]string{false: "EHLO x", true: "LHLO x"}[lmtp], "250", "MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<bob@example.org>", "250",
			"RCPT TO:<ann+junk@example.org>", "250", "RCPT TO:<ann+same@example.org>", "250", "RCPT TO:<ann+gone@example.org>", "250", "RCPT TO:<ann+discard@example.org>", "250", "DATA", "354").send("Subject: x\r\n\r\n.\r\n")
		if lmtp {
			for _, want := range []string{"250", "550 5.7.1 not for bob", "250", "250", "250", "250"} {
				p.want(want)
			}
		} else {
			p.want("250")
		}
		var got []string
		for _, m := range r.sink.all() {
			note := fmt.Sprint(strings.HasPrefix(m.data, "X-For: ann\r\nReceived: "))
			for _, rc := range m.env.Rcpts {
				note += fmt.Sprintf(" %s%s:%v", rc.Account, rc.Mailbox, rc.Junk)
			}
			got = append(got, note)
		}
		if want := []string{"true a1:true a1same:false", "false a1junk:true"}; !slices.Equal(got, want) {
			t.Errorf("LMTP %v: got %q, want %q", lmtp, got, want)
		}
		r.sink.got = nil
		if lmtp {
			continue
		}
		// All refused is refused; all discarded, or the message, is a yes.
		s.set(filter.Message, func(*filter.Transaction) filter.Verdict {
			return filter.Verdict{Rcpts: map[int]filter.Verdict{0: {Refuse: no}}}
		})
		if got := p.mail("zoe@example.net", "bob@example.org", "x"); got != "550 5.7.1 not for bob" {
			t.Error(got)
		}
		s.set(filter.Message, func(*filter.Transaction) filter.Verdict { return filter.Verdict{Discard: true} })
		if got := p.mail("zoe@example.net", "bob@example.org", "x"); !strings.HasPrefix(got, "250") || len(r.sink.all()) != 0 {
			t.Error(got)
		}
	}
}

func TestFiltersRewriteRecipients(t *testing.T) {
	s, r := newSpy(t, nil)
	p := dial(t, r.addr).hello()
	for _, tt := range []struct{ to, reply, want string }{
		{"bob@example.org", "250", "bob@example.org<ann@example.org b2"},
		{"both@example.org", "250", "ann@example.org< a1,bob@example.org<ann@example.org b2"},
		{"else@elsewhere.example", "250", "else@elsewhere.example<ann@example.org "},
		{"bob@example.org>\r\nRCPT TO:<x@elsewhere.example", "451 4.3.0", ""},
		{"no address", "451 4.3.0", ""},
		{"nobody@example.org", "550 5.1.1", ""},
	} {
		s.set(filter.Rcpt, func(t *filter.Transaction) filter.Verdict {
			rc := *t.Rcpt
			rc.Addr = tt.to
			return filter.Verdict{Rewrite: &rc}
		})
		p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", tt.reply)
		if tt.want == "" {
			p.do("RSET", "250")
			continue
		}
		p.do("DATA", "354").send(".\r\n")
		p.want("250")
		var got []string
		for _, rc := range r.sink.all()[0].env.Rcpts {
			got = append(got, fmt.Sprintf("%s<%s %s", rc.Addr, rc.Given, rc.Account))
		}
		if strings.Join(got, ",") != tt.want {
			t.Errorf("%s: got %q", tt.to, got)
		}
		r.sink.got = nil
	}
}

// sessions makes a filter for each connection.
type sessions struct {
	mu     sync.Mutex
	open   int
	closed int
	err    error
}

func (s *sessions) Name() string { return "x-sessions" }
func (s *sessions) NewSession(context.Context, *mailkeel.Origin) (filter.Filter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	s.open++
	return &one{s: s}, nil
}

type one struct {
	s *sessions
	n int
}

func (o *one) Name() string { return "x-sessions" }
func (o *one) FilterSender(context.Context, *filter.Transaction) (filter.Verdict, error) {
	if o.n++; o.n > 2 {
		return filter.Verdict{Refuse: &mailkeel.Error{Code: 450, Enhanced: [3]int{4, 7, 1}, Message: "two are enough"}}, nil
	}
	return filter.Verdict{}, nil
}
func (o *one) Close() error {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.closed++
	return nil
}

func TestSessionFilters(t *testing.T) {
	s := &sessions{}
	r := newRig(t, func(srv *smtp.Server) {
		srv.Filters = &filter.Chain{Groups: [][]filter.Filter{{s}}, OnError: filter.TryAgain}
	})
	for range 2 {
		p := dial(t, r.addr).hello().do("MAIL FROM:<a@example.net>", "250", "RSET", "250", "STARTTLS", "220")
		p.startTLS() // the connection is still the same
		p.do("EHLO x", "250", "MAIL FROM:<a@example.net>", "250", "RSET", "250", "MAIL FROM:<a@example.net>", "450 4.7.1 two")
		p.do("QUIT", "221")
	}
	s.mu.Lock()
	s.err = errors.New("no milter")
	s.mu.Unlock()
	p := dial(t, r.addr)
	p.want("421 4.7.1")
	p.ended()
	r.Close()
	if s.open != 2 || s.closed != 2 {
		t.Errorf("%d opened, %d closed", s.open, s.closed)
	}
}

// What filters think of a recipient that was refused is no part of the message.
func TestRefusedRecipientsLeaveNoTrace(t *testing.T) {
	s, r := newSpy(t, nil)
	s.set(filter.Rcpt, func(t *filter.Transaction) filter.Verdict {
		v := filter.Verdict{Score: 1, Why: "about " + t.Rcpt.Addr, Prefix: []byte("X-About: " + t.Rcpt.Addr + "\r\n")}
		if t.Rcpt.Account != "a1" {
			v.Score, v.Refuse = 10, errNever
		}
		return v
	})
	p := dial(t, r.addr).hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<bob@example.org>", "550", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
	p.send("Subject: x\r\n\r\n.\r\n")
	p.want("250")
	m := r.sink.all()[0]
	if strings.Contains(m.data, "bob") || !strings.Contains(m.data, "X-About: ann@example.org\r\n") || !strings.Contains(m.data, "score=1.0") || m.env.Rcpts[0].Junk {
		t.Errorf("got %+v\n%s", m.env.Rcpts, m.data)
	}
}

// What filters find of recipients counts as memory of the envelope.
func TestFindingsAreBounded(t *testing.T) {
	s, r := newSpy(t, nil)
	s.set(filter.Rcpt, func(*filter.Transaction) filter.Verdict {
		return filter.Verdict{Prefix: []byte("X-Long: " + strings.Repeat("x", 900) + "\r\n")}
	})
	p := dial(t, r.addr).hello().do("MAIL FROM:<zoe@example.net>", "250")
	for i := range 1000 {
		p.send(fmt.Sprintf("RCPT TO:<ann+%d@example.org>\r\n", i))
		if got := p.reply(); strings.HasPrefix(got, "452 4.5.3") {
			if i < 100 {
				t.Errorf("only %d recipients", i)
			}
			return
		}
	}
	t.Error("a megabyte of header fields")
}
