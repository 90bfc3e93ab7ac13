package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/smtp"
)

// T12: nothing in an envelope can begin a new line somewhere else (CVE-2020-28015,
// -28021, -28026). It is refused, or it comes back as it was, in a form without
// control characters.
func TestT12_NothingIsInjected(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Auth, s.InsecureAuth, s.Directory = users(), true, nil })
	evil := []string{"a\rb", "a\nX-Evil: b", "a\r\nX-Evil: b", "a\x00b", "a\x1bb", "a\x7fb", "a\vb", "a+0D+0AX-Evil:+20b", "a+0Ab", "a+00b", "a+0Db", "+0A",
		`a\x{A}b`, `a\x{D}\x{A}X-Evil:b`, `a\x{85}b`, `a\x{2028}b`, `a\x{1B}b`, `a\x{00}b`, "a\u2028X-Evil:b", "a\u0085b", "(a", "a)", `a"b`, "a;b", "a\tb"}
	where := []string{"EHLO %s", "MAIL FROM:<%s@example.net>", `MAIL FROM:<"%s"@example.net>`, "MAIL FROM:<a@%s>", "MAIL FROM:<a@b.example> ENVID=%s", "MAIL FROM:<a@b.example> AUTH=%s@x.example",
		"MAIL FROM:<a@b.example> RET=%s", "MAIL FROM:<a@b.example> BODY=%s", "MAIL FROM:<a@b.example> SIZE=%s", "MAIL FROM:<a@b.example> SMTPUTF8 ENVID=%s",
		"RCPT TO:<%s@example.net>", `RCPT TO:<"%s"@example.net>`, "RCPT TO:<a@%s>", "RCPT TO:<a@b.example> ORCPT=rfc822;%s", "RCPT TO:<a@b.example> ORCPT=utf-8;%s",
		"RCPT TO:<a@b.example> ORCPT=%s;x", "RCPT TO:<a@b.example> NOTIFY=%s", "RCPT TO:<%s@a.example:a@b.example>"}
	for _, w := range where {
		for _, e := range evil {
			p := dial(t, r.addr)
			p.want("220")
			// Each line may fail; what gets through is looked at.
			for _, l := range []string{"EHLO x", "", "MAIL FROM:<a@b.example>", "RCPT TO:<a@b.example>", "DATA"} {
				if l == "" {
					p.login("ann@example.org", "secret-a1")
					continue
				}
				if strings.HasPrefix(w, l[:4]) {
					l = fmt.Sprintf(w, e)
				}
				p.send(l + "\r\n")
				ok := false
				for range strings.Count(l, "\n") + 1 {
					ok = strings.HasPrefix(p.reply(), "250")
				}
				if !ok && l[:4] == "EHLO" {
					p.do("EHLO x", "250")
				}
				if l == "DATA" {
					p.send("x: y\r\n.\r\nQUIT\r\n")
				}
			}
			for p.reply() != "EOF" {
			}
		}
	}
	clean := func(field, s string) {
		t.Helper()
		if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == 0x2028 }) || strings.Contains(s, "X-Evil: ") {
			t.Errorf("%s is %q", field, s)
		}
	}
	for _, m := range r.sink.all() {
		e := m.env
		clean("sender", e.From)
		clean("ENVID", e.EnvelopeID)
		clean("RET", e.Return)
		clean("hello", e.Origin.Hello)
		for _, rc := range e.Rcpts {
			clean("recipient", rc.Addr+rc.Given)
			clean("ORCPT", rc.Orcpt)
		}
		head, _, _ := strings.Cut(m.data, "x: y\r\n")
		lines := strings.Split(strings.TrimSuffix(head, "\r\n"), "\r\n")
		for i, l := range lines {
			if i == 0 != strings.HasPrefix(l, "Received: from ") || i > 0 && l[0] != '\t' || len(l) > 998 {
				t.Errorf("the prefix is %q", head)
			}
			clean("Received", strings.TrimLeft(l, "\t"))
		}
	}
	if len(r.sink.all()) < 50 {
		t.Errorf("only %d got through: is the test right?", len(r.sink.all()))
	}
}

func TestDSNParameters(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Auth, s.InsecureAuth, s.Directory = users(), true, nil })
	p := dial(t, r.addr).hello().login("ann@example.org", "secret-a1")
	p.do("MAIL FROM:<ann@example.org> RET=BOTH", "501", "MAIL FROM:<ann@example.org> ENVID=", "501", "MAIL FROM:<ann@example.org> ENVID="+strings.Repeat("x", 101), "501 5.5.4",
		"MAIL FROM:<ann@example.org> ENVID=a+2", "501", "MAIL FROM:<ann@example.org> RET=hdrs ENVID=QQ+2B314159 SIZE=1000 BODY=8BITMIME", "250")
	p.do("RCPT TO:<x@example.net> NOTIFY=NEVER,DELAY", "501", "RCPT TO:<x@example.net> NOTIFY=", "501", "RCPT TO:<x@example.net> ORCPT=x400;a", "501", "RCPT TO:<x@example.net> ORCPT=rfc822;", "501",
		"RCPT TO:<x@example.net> ORCPT=rfc822;"+strings.Repeat("x", 501), "501 5.5.4", "RCPT TO:<x@example.net> RRVS=2014-04-03T23:01:00Z", "555", "RCPT TO:<x@example.net> BY=120;R", "555",
		"RCPT TO:<a@example.net> NOTIFY=SUCCESS,Failure ORCPT=rfc822;Bob+2BBuilder@Example.NET", "250",
		"RCPT TO:<b@example.net> NOTIFY=NEVER", "250", "RCPT TO:<c@example.net> ORCPT=utf-8;z\\x{C3AB}@x.example", "250", "RCPT TO:<d@example.net> NOTIFY=DELAY", "250", "RCPT TO:<e@example.net>", "250")
	p.do("DATA", "354").send(".\r\n")
	p.want("250")
	e := r.sink.all()[0].env
	if e.Return != "HDRS" || e.EnvelopeID != "QQ+314159" {
		t.Errorf("%q %q", e.Return, e.EnvelopeID)
	}
	want := []mailkeel.Recipient{
		{Addr: "a@example.net", Notify: mailkeel.NotifySuccess | mailkeel.NotifyFailure, Orcpt: "rfc822;Bob+2BBuilder@Example.NET"},
		{Addr: "b@example.net", Notify: mailkeel.NotifyNever, Index: 1},
		{Addr: "c@example.net", Orcpt: `utf-8;z\x{C3AB}@x.example`, Index: 2},
		{Addr: "d@example.net", Notify: mailkeel.NotifyDelay, Index: 3},
		{Addr: "e@example.net", Index: 4},
	}
	for i, w := range want {
		if e.Rcpts[i] != w {
			t.Errorf("got %+v, want %+v", e.Rcpts[i], w)
		}
	}
}

func TestSMTPUTF8(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Auth, s.InsecureAuth, s.Directory = users(), true, nil })
	p := dial(t, r.addr).hello().login("ann@example.org", "secret-a1")
	send := func(mail, rcpt, content string) mailkeel.Envelope {
		t.Helper()
		p.do("MAIL FROM:"+mail, "250", "RCPT TO:"+rcpt, "250", "DATA", "354").send(content + "\r\n.\r\n")
		p.want("250")
		all := r.sink.all()
		return all[len(all)-1].env
	}
	p.do("MAIL FROM:<ž@exämple.org>", "553 5.6.7", "MAIL FROM:<a@example.org>", "250", "RCPT TO:<ž@example.net>", "553 5.6.7", "RSET", "250")
	for i, tt := range []struct {
		mail, rcpt, content string
		utf8, eight         bool
	}{
		{"<a@example.org>", "<b@example.net>", "Subject: x\r\n\r\nx", false, false},
		{"<a@example.org> SMTPUTF8", "<b@example.net>", "Subject: x\r\n\r\nx", false, false}, // asked for, not needed
		{"<a@example.org> SMTPUTF8", "<b@example.net>", "Subject: x\r\n\r\nž", false, true},
		{"<a@example.org> SMTPUTF8", "<b@example.net>", "Subject: ž\r\n\r\nx", true, true},
		{"<a@example.org>", "<b@example.net>", "Subject: ž\r\n\r\nx", false, true}, // wrong, but common
		{"<ž@example.org> SMTPUTF8", "<b@example.net>", "x", true, false},
		{"<a@example.org> SMTPUTF8", "<ž@exämple.net>", "x", true, false},
	} {
		if e := send(tt.mail, tt.rcpt, tt.content); e.UTF8 != tt.utf8 || e.EightBit != tt.eight {
			t.Errorf("%d: %+v", i, e)
		}
	}
	all := r.sink.all()
	if got := all[len(all)-1].data; !strings.Contains(got, " with UTF8SMTPA id ") || !strings.Contains(got, "for <ž@exämple.net>") {
		t.Error(got)
	}
}

// groups knows more than a static directory can.
type groups struct {
	accounts.Directory
	of  map[string][]accounts.Target
	err map[string]error
}

func (g groups) Resolve(ctx context.Context, a string) (accounts.Resolution, error) {
	if err := g.err[a]; err != nil {
		return accounts.Resolution{}, err
	}
	if ts := g.of[a]; ts != nil {
		return accounts.Resolution{Targets: ts}, nil
	}
	return g.Directory.Resolve(ctx, a)
}

func TestAliasesBecomeRecipients(t *testing.T) {
	r := newRig(t, nil)
	p := dial(t, r.addr).hello().do("MAIL FROM:<zoe@example.net>", "250",
		"RCPT TO:<ann@example.org> NOTIFY=NEVER", "250", "RCPT TO:<both@example.org>", "250", "RCPT TO:<away@example.org>", "250", "RCPT TO:<bob+lists@example.org>", "250", "RCPT TO:<ann@example.org>", "250")
	p.do("DATA", "354").send(".\r\n")
	p.want("250")
	m := r.sink.all()[0]
	var got []string
	for _, rc := range m.env.Rcpts {
		got = append(got, fmt.Sprintf("%d %s<%s %s %s %d", rc.Index, rc.Addr, rc.Given, rc.Account, rc.Mailbox, rc.Notify))
	}
	want := []string{"0 ann@example.org< a1  1", "2 bob@example.org<both@example.org b2  0", "3 ann@elsewhere.example<away@example.org   0", "4 bob+lists@example.org< b2 lists 0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if strings.Contains(m.data, "for <") {
		t.Error("a Received field for several recipients names one")
	}
}

func TestDirectoryErrorsAreTemporary(t *testing.T) {
	boom := errors.New("the database is on fire, password hunter2")
	r := newRig(t, func(s *smtp.Server) {
		s.Directory = groups{users(), nil, map[string]error{"ann@example.org": boom, "bob@example.org": &mailkeel.Error{Code: 450, Enhanced: [3]int{4, 2, 1}, Message: "busy"}}}
	})
	p := dial(t, r.addr).hello().do("MAIL FROM:<zoe@example.net>", "250")
	for range 30 { // and do not count as guesses
		p.do("RCPT TO:<ann@example.org>", "451 4.3.0 cannot look up the address now", "RCPT TO:<bob@example.org>", "450 4.2.1 busy")
	}
}

// verifier is a Transport that is asked at RCPT.
type verifier struct {
	sink
	fn func(rcpt mailkeel.Recipient, size int64) error
}

func (v *verifier) Verify(_ context.Context, _ *mailkeel.Envelope, rcpt mailkeel.Recipient, size int64) error {
	return v.fn(rcpt, size)
}

func TestNextIsAskedAtRCPT(t *testing.T) {
	full := &mailkeel.Error{Code: 452, Enhanced: [3]int{4, 2, 2}, Message: "mailbox full"}
	gone := &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 2, 1}, Message: "mailbox disabled"}
	v := &verifier{}
	v.fn = func(rc mailkeel.Recipient, size int64) error {
		switch {
		case rc.Account == "b2" && size > 1000:
			return full
		case rc.Account == "c3":
			return gone
		}
		return errors.New("cannot tell")
	}
	team := []accounts.Target{{Addr: "ann@example.org", Account: "a1"}, {Addr: "bob@example.org", Account: "b2"}}
	r := newRig(t, func(s *smtp.Server) {
		s.Next = v
		s.Directory = groups{users(), map[string][]accounts.Target{"team@example.org": team, "all@example.org": append(team, accounts.Target{Addr: "c@example.org", Account: "c3"})}, nil}
	})
	p := dial(t, r.addr).hello()
	// The answer is the worst of the targets.
	p.do("MAIL FROM:<zoe@example.net> SIZE=2000", "250", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<bob@example.org>", "452 4.2.2 mailbox full",
		"RCPT TO:<team@example.org>", "452 4.2.2", "RCPT TO:<all@example.org>", "550 5.2.1 mailbox disabled")
	p.do("RSET", "250", "MAIL FROM:<zoe@example.net> SIZE=1000", "250", "RCPT TO:<team@example.org>", "250")
}

func TestRecipientLimits(t *testing.T) {
	big := make([]accounts.Target, 1001)
	for i := range big {
		big[i] = accounts.Target{Addr: fmt.Sprintf("m%d@example.org", i), Account: mailkeel.AccountID(fmt.Sprint(i))}
	}
	r := newRig(t, func(s *smtp.Server) {
		s.MaxRcpts = 3
		s.Directory = groups{users(), map[string][]accounts.Target{"huge@example.org": big, "large@example.org": big[1:]}, nil}
	})
	p := dial(t, r.addr).hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<huge@example.org>", "452 4.5.3", "RCPT TO:<large@example.org>", "250",
		"RCPT TO:<ann@example.org>", "250", "RCPT TO:<bob@example.org>", "250")
	for range 500 { // a client with many recipients must not be thrown out
		p.do("RCPT TO:<ann@example.org>", "452 4.5.3")
	}
	p.do("DATA", "354").send(".\r\n")
	p.want("250")
	if n := len(r.sink.all()[0].env.Rcpts); n != 1002 {
		t.Errorf("%d recipients", n)
	}
	seen := map[int]bool{}
	for _, rc := range r.sink.all()[0].env.Rcpts {
		if seen[rc.Index] {
			t.Fatalf("index %d twice", rc.Index)
		}
		seen[rc.Index] = true
	}
}
