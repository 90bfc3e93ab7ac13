package mailtest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/mailtest"
	"github.com/mailkeel/mailkeel/server"
)

// try sends a mail, with STARTTLS and a login where the door has them, and returns
// why not.
func try(srv *mailtest.Server, to string) error {
	return trySend(srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{to}, text)
}

func code(err error) int {
	var e *textproto.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func TestFaultsOfSMTP(t *testing.T) {
	at := mailtest.At
	for name, tt := range map[string]struct {
		fault mailtest.Fault
		code  int // zero: the connection ends
		taken bool
	}{
		"connect, dropped":    {at(mailtest.Connect), 0, false},
		"connect, refused":    {at(mailtest.Connect).Reply("554 no"), 554, false},
		"connect, garbage":    {at(mailtest.Connect).Garbage(), 0, false},
		"EHLO":                {at(mailtest.Hello).Reply("421 4.3.2 closing"), 0, false},
		"MAIL":                {at(mailtest.Mail).From("zoe@example.net").Reply("451 4.3.0 later"), 451, false},
		"RCPT":                {at(mailtest.Rcpt).To("ann@example.test").Reply("550 5.1.1 no"), 550, false},
		"RCPT, dropped":       {at(mailtest.Rcpt), 0, false},
		"DATA":                {at(mailtest.Data).To("ann@example.test").Reply("452 4.3.1 full"), 452, false},
		"content, refused":    {at(mailtest.Content).To("ann@example.test").Reply("554 5.7.1 spam"), 554, false},
		"content, dropped":    {at(mailtest.Content), 0, false},
		"taken, dropped":      {at(mailtest.Taken), 0, true},
		"taken, and refused":  {at(mailtest.Taken).Reply("451 4.3.0 who knows"), 451, true},
		"bytes":               {at(mailtest.Bytes).After(60).Drop(), 0, false},
		"size":                {mailtest.SizeLimit(10), 552, false},
		"greylist":            {mailtest.Greylist(time.Hour), 451, false},
		"rate":                {mailtest.RateLimit(0, time.Hour), 421, false},
		"for another":         {at(mailtest.Rcpt).To("bob@example.test"), 250, true},
		"for another sender":  {at(mailtest.Mail).From("bob@example.test"), 250, true},
		"at another door":     {at(mailtest.Connect).Door(server.LMTP), 250, true},
		"for somebody inside": {at(mailtest.Mail).Account("ann@example.test"), 250, true},
		"slow":                {at(mailtest.Mail).Slow(time.Microsecond), 250, true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := mailtest.New(t)
			if tt.code == 250 {
				srv.Fail(tt.fault)
			} else {
				srv.Fail(tt.fault.Times(1))
			}
			err := try(srv, "ann@example.test")
			if (err == nil) != (tt.code == 250) || tt.code != 250 && code(err) != tt.code {
				t.Errorf("got %v", err)
			}
			srv.Settle(soon(t))
			if n := len(srv.Messages(mailtest.Any())); (n == 1) != tt.taken {
				t.Errorf("%d messages", n)
			}
			if tt.code == 250 {
				return
			}
			if err := try(srv, "ann@example.test"); err != nil { // it was only once
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

func TestFaultsCount(t *testing.T) {
	srv := mailtest.New(t)
	a := srv.Fail(mailtest.At(mailtest.Rcpt).Skip(1).Times(2).Reply("451 4.3.0 later"))
	var got []int
	for range 5 {
		got = append(got, code(try(srv, "ann@example.test")))
	}
	if fmt.Sprint(got) != "[0 451 451 0 0]" || a.Hits() != 2 {
		t.Error(got, a.Hits())
	}
	b := srv.Fail(mailtest.At(mailtest.Rcpt).Reply("450 4.3.0 later"))
	if c := code(try(srv, "ann@example.test")); c != 450 {
		t.Error(c)
	}
	b.Stop()
	if err := try(srv, "ann@example.test"); err != nil {
		t.Error(err)
	}
	srv.Fail(mailtest.At(mailtest.Connect))
	srv.Heal()
	if err := try(srv, "ann@example.test"); err != nil {
		t.Error(err)
	}
}

// TestGreylistAndRate go by the clock of the test.
func TestGreylistAndRate(t *testing.T) {
	clock := &mailtest.Clock{}
	srv := mailtest.New(t, mailtest.Options{Clock: clock, Faults: []mailtest.Fault{mailtest.Greylist(5 * time.Minute), mailtest.RateLimit(3, time.Minute)}})
	steps := []struct {
		wait time.Duration
		want int
	}{{0, 451}, {4 * time.Minute, 451}, {time.Minute, 0}, {0, 0}, {0, 0}, {0, 421}, {time.Minute, 0}}
	for i, s := range steps {
		srv.Advance(s.wait)
		if c := code(try(srv, "ann@example.test")); c != s.want {
			t.Errorf("step %d: %d, want %d", i, c, s.want)
		}
	}
}

// TestSlowGoesByTheClock: a test sees what happens in the hour that an answer takes.
func TestSlowGoesByTheClock(t *testing.T) {
	clock := &mailtest.Clock{}
	srv := mailtest.New(t, mailtest.Options{Clock: clock})
	a := srv.Fail(mailtest.At(mailtest.Mail).Slow(time.Hour))
	done := make(chan error, 1)
	go func() { done <- try(srv, "ann@example.test") }()
	for a.Hits() == 0 { // until it waits
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	for {
		srv.Advance(time.Hour)
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// TestStallEnds with the test or the client.
func TestStallEnds(t *testing.T) {
	for _, p := range []mailtest.Fault{mailtest.At(mailtest.Rcpt).Stall(), mailtest.At(mailtest.Bytes).After(10).Stall()} {
		srv := mailtest.New(t)
		a := srv.Fail(p)
		nc, err := net.Dial("tcp", srv.SMTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(nc, "EHLO me\r\nMAIL FROM:<z@example.net>\r\nRCPT TO:<a@example.test>\r\n")
		for a.Hits() == 0 {
			nc.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := nc.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		nc.Close()
	}
}

func TestFaultsOfTLS(t *testing.T) {
	for name, tt := range map[string]struct {
		fault mailtest.Fault
		want  func(error) bool
	}{
		"wrong name": {mailtest.At(mailtest.Handshake).WrongName(), func(err error) bool { return errors.As(err, new(x509.HostnameError)) }},
		"expired":    {mailtest.At(mailtest.Handshake).Expired(), func(err error) bool { return errors.As(err, new(x509.CertificateInvalidError)) }},
		"dropped":    {mailtest.At(mailtest.Handshake).Drop(), func(err error) bool { return err != nil }},
		"garbage":    {mailtest.At(mailtest.Handshake).Garbage(), func(err error) bool { return err != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			srv := mailtest.New(t, mailtest.Options{STARTTLS: true})
			for _, addr := range []string{srv.TLSAddr(), srv.IMAPSAddr(), srv.POP3SAddr()} {
				srv.Fail(tt.fault.Times(1))
				if c, err := tls.Dial("tcp", addr, srv.ClientTLS()); !tt.want(err) {
					t.Errorf("%v", err)
					if err == nil {
						c.Close()
					}
				}
				c, err := tls.Dial("tcp", addr, srv.ClientTLS())
				if err != nil {
					t.Fatalf("the second time: %v", err)
				}
				c.Close()
			}
			srv.Fail(tt.fault.Times(1))
			if err := trySend(srv.SMTPAddr(), srv.ClientTLS(), nil, "z@example.net", []string{"ann@example.test"}, text); err == nil {
				t.Error("after STARTTLS all went well")
			}
			if err := trySend(srv.SMTPAddr(), srv.ClientTLS(), nil, "z@example.net", []string{"ann@example.test"}, text); err != nil {
				t.Error(err)
			}
		})
	}
	srv := mailtest.New(t, mailtest.Options{STARTTLS: true})
	srv.Fail(mailtest.At(mailtest.StartTLS).Reply("454 4.7.0 not now").Times(1))
	if err := trySend(srv.SMTPAddr(), srv.ClientTLS(), nil, "z@example.net", []string{"ann@example.test"}, text); code(err) != 454 {
		t.Error(err)
	}
	srv.Fail(mailtest.At(mailtest.StartTLS).Garbage().Times(1))
	if err := trySend(srv.SMTPAddr(), srv.ClientTLS(), nil, "z@example.net", []string{"ann@example.test"}, text); err == nil {
		t.Error("garbage was taken for TLS")
	}
	srv.Fail(mailtest.At(mailtest.Auth).Reply("454 4.7.0 not now").Times(1))
	if err := trySend(srv.SubmissionAddr(), nil, plain{smtp.PlainAuth("", "ann@example.test", "x", mailtest.Hostname)}, "ann@example.test", []string{"bob@example.test"}, text); code(err) != 454 {
		t.Error(err)
	}
}

// talk says lines and returns all answers until the connection ends or want came.
func talk(t *testing.T, addr, want string, lines ...string) (got string, ended bool) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(nc)
	fmt.Fprint(nc, strings.Join(lines, "\r\n")+"\r\n")
	for {
		line, err := r.ReadString('\n')
		got += line
		if err == io.EOF || errors.Is(err, net.ErrClosed) {
			return got, true
		} else if err != nil {
			return got, true // reset
		}
		if want != "" && strings.HasPrefix(line, want) {
			return got, false
		}
	}
}

func TestFaultsOfReaders(t *testing.T) {
	at := mailtest.At
	imap := []string{"a LOGIN ann@example.test x", "b SELECT INBOX", "c FETCH 1 (FLAGS)", "d IDLE"}
	pop := []string{"USER ann@example.test", "PASS x", "STAT", "RETR 1", "NOOP"}
	for name, tt := range map[string]struct {
		fault mailtest.Fault
		pop   bool
		until string // what the last answer begins with; empty: the connection ends
		want  string
	}{
		"greeting":               {at(mailtest.Connect).Reply("* BYE busy"), false, "", "* BYE busy"},
		"login":                  {at(mailtest.Auth).Reply("NO [UNAVAILABLE] later"), false, "a ", "a NO [UNAVAILABLE] later"},
		"select":                 {at("select").Account("ann@example.test").Reply("NO [INUSE] later"), false, "b ", "b NO [INUSE] later"},
		"fetch, dropped":         {at("FETCH"), false, "", "b OK"},
		"fetch, bye":             {at("FETCH").Reply("* BYE over"), false, "", "* BYE over"},
		"idle, dropped":          {at(mailtest.Idle), false, "", "+ idling"},
		"idle, refused":          {at("IDLE").Reply("NO not now"), false, "d ", "d NO not now"},
		"fetch, garbage":         {at("FETCH").Garbage(), false, "", "garbage"},
		"another account":        {at("FETCH").Account("bob@example.test"), false, "+ idling", "c OK"},
		"POP3, greeting":         {at(mailtest.Connect).Reply("-ERR [SYS/TEMP] busy"), true, "", "-ERR [SYS/TEMP] busy"},
		"POP3, password":         {at(mailtest.Auth).Reply("-ERR [AUTH] no"), true, "-ERR [AUTH] no", "-ERR [AUTH] no"},
		"POP3, RETR, dropped":    {at("RETR"), true, "", "+OK 1 "},
		"POP3, RETR, refused":    {at("RETR").Reply("-ERR damaged"), true, "-ERR damaged", "-ERR damaged"},
		"POP3, at another door":  {at("RETR").Door(server.IMAP), true, ".", "+OK"},
		"IMAP, at the TLS door":  {at("FETCH").Door(server.IMAPS), false, "", "b OK"},
		"IMAP, after some bytes": {at(mailtest.Bytes).After(35).Drop(), false, "", "a OK"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := mailtest.New(t)
			if err := try(srv, "ann@example.test"); err != nil {
				t.Fatal(err)
			}
			srv.Fail(tt.fault)
			addr, lines := srv.IMAPAddr(), imap
			if tt.pop {
				addr, lines = srv.POP3Addr(), pop
			}
			got, ended := talk(t, addr, tt.until, lines...)
			if !strings.Contains(got, tt.want) || ended != (tt.until == "") {
				t.Errorf("ended %v:\n%s", ended, got)
			}
		})
	}
}

func TestFaultScript(t *testing.T) {
	const script = `
# what goes wrong
at RCPT to=ann@example.test times=2 reply 451 4.3.0 try again later
at CONNECT door=imap drop
at CONTENT skip=1 stall
at BYTES after=1000 drop
at FETCH account=ann@example.test slow 2s
at MAIL from=a@x delay=1s garbage
at HANDSHAKE expired
at HANDSHAKE door=imaps wrong-name
greylist 5m
size 10000
rate 5 1m
`
	all, err := mailtest.ParseFaults(strings.NewReader(script))
	if err != nil || len(all) != 11 {
		t.Fatal(all, err)
	}
	for _, f := range all {
		again, err := mailtest.ParseFaults(strings.NewReader(f.String()))
		if err != nil || len(again) != 1 || again[0] != f {
			t.Errorf("%v: %v %v", f, again, err)
		}
	}
	for _, bad := range []string{"at", "at RCPT", "at RCPT to=x", "at RCPT fly", "at RCPT drop it", "at RCPT times=x drop", "at RCPT color=red drop", "greylist", "greylist x", "size x", "rate 1", "rate x 1m", "at X reply", "nonsense"} {
		if f, err := mailtest.ParseFaults(strings.NewReader("\n" + bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v %v", bad, f, err)
		}
	}
	srv := mailtest.New(t, mailtest.Options{Faults: all[:1]})
	if c := code(try(srv, "ann@example.test")); c != 451 {
		t.Error(c)
	}
}

// TestRetryAfterFaults: in a World a server that fails for a while gets its mail.
func TestRetryAfterFaults(t *testing.T) {
	w := mailtest.NewWorld(t)
	here, there := w.Server("here.example"), w.Server("there.example")
	for _, f := range []mailtest.Fault{
		mailtest.At(mailtest.Connect), mailtest.At(mailtest.Rcpt).Reply("451 4.3.0 later"), mailtest.At(mailtest.Content),
		mailtest.At(mailtest.Handshake), mailtest.Greylist(5 * time.Minute),
	} {
		a := there.Fail(f.Times(1))
		submit(t, here, "ann@here.example", "zoe@there.example", out)
		here.Settle(soon(t))
		for range 10 {
			w.Advance(time.Hour)
		}
		there.Wait(soon(t), mailtest.To("zoe@there.example"))
		if n := len(there.Messages(mailtest.Any())); n != 1 || a.Hits() != 1 {
			t.Errorf("%v: %d messages, %d hits", f, n, a.Hits())
		}
		there.Forget()
		a.Stop()
	}
	// When it took the mail and did not say so, the mail comes twice: at least once.
	there.Fail(mailtest.At(mailtest.Taken).Times(1))
	submit(t, here, "ann@here.example", "zoe@there.example", out)
	here.Settle(context.Background())
	w.Advance(time.Hour)
	if n := len(there.Messages(mailtest.Any())); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// TestWhatHangsIsNamed: a client in the middle of a message does not hold the end of a
// test up, also when the clock stands, and is named.
func TestWhatHangsIsNamed(t *testing.T) {
	f := &ends{TB: t}
	srv := mailtest.New(f, mailtest.Options{Clock: &mailtest.Clock{}})
	nc, err := net.Dial("tcp", srv.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprint(nc, "HELO me\r\nMAIL FROM:<z@example.net>\r\nRCPT TO:<a@example.test>\r\nDATA\r\nSubject: x\r\n")
	for r := bufio.NewReader(nc); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "354") {
			break
		}
	}
	f.end()
	if !strings.Contains(f.logged, "smtp from "+nc.LocalAddr().String()) || !strings.Contains(f.logged, "C: MAIL FROM:<z@example.net>") {
		t.Error(f.logged)
	}
}
