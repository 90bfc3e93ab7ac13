package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// deliver sends content over DATA in one piece, over DATA in small pieces and in
// chunks, and wants the same of all: a reply, and the content that was kept.
func deliver(t *testing.T, r *rig, content, reply, kept string) {
	t.Helper()
	p := dial(t, r.addr).hello()
	for _, how := range []string{"DATA", "pieces", "BDAT", "small chunks"} {
		p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
		var got string
		stuffed := strings.ReplaceAll(content, "\r\n.", "\r\n..") + ".\r\n"
		switch how {
		case "DATA":
			p.do("DATA", "354").send(stuffed)
			got = p.reply()
		case "pieces":
			p.do("DATA", "354")
			for len(stuffed) > 0 {
				n := min(len(stuffed), 1+len(stuffed)/97)
				p.send(stuffed[:n])
				stuffed = stuffed[n:]
			}
			got = p.reply()
		case "BDAT":
			p.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), content))
			got = p.reply()
		default:
			for rest := content; ; {
				n := min(len(rest), 1+len(content)/13)
				word := ""
				if n == len(rest) {
					word = " LAST"
				}
				p.send(fmt.Sprintf("BDAT %d%s\r\n%s", n, word, rest[:n]))
				rest, got = rest[n:], p.reply()
				if word != "" || got[0] != '2' {
					break
				}
			}
		}
		if !strings.HasPrefix(got, reply) {
			t.Errorf("%s: got %q, want %q", how, got, reply)
		}
		if m := r.sink.all(); reply[:3] != "250" {
			if len(m) != 0 {
				t.Errorf("%s: it was delivered", how)
			}
		} else if len(m) != 1 || m[0].body() != kept {
			t.Errorf("%s: kept %.600q\nwant %.300q", how, fmt.Sprint(m), kept)
		}
		r.sink.got = nil
		p.do("RSET", "250")
	}
}

func TestContentIsKeptAsItIs(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []string{
		"", "\r\n", "x\r\n", "Subject: a\r\n\r\nb\r\n", "\r\nb\r\n", "Subject: a\r\n b\r\n\tc\r\n\r\n.\r\n..\r\n...d\r\n",
		"no header, and no empty line\r\n", "Received: x\r\nno colon\r\nReceived: y\r\n\r\nz\r\n", " folded from nothing\r\nSubject: x\r\n\r\n",
		"Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 20_000),
		"Subject: x\r\n\r\n" + strings.Repeat("x", 64<<10) + "\r\n",
		"Subject: x\r\n\r\n\x80\xff\xfe\x01\x02\r\n",
		"Authentication-Results\r\nSubject: x\r\n\r\nAuthentication-Results: mx.example.org; spf=pass\r\n",
	} {
		deliver(t, r, c, "250", c)
	}
}

func TestContentLimits(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.MaxBytes, s.MaxHeader, s.MaxLine = 100_000, 2000, 5000 })
	deliver(t, r, "Subject: x\r\n\r\n"+strings.Repeat("x", 5001)+"\r\n", "550 5.6.0 message contains a line longer", "")
	long := "Subject: x\r\n\r\n" + strings.Repeat("x", 5000) + "\r\n"
	deliver(t, r, long, "250", long)
	deliver(t, r, strings.Repeat("X: "+strings.Repeat("y", 95)+"\r\n", 20)+"X: y\r\n\r\n", "552 5.3.4 message header too large", "")
	head := strings.Repeat("X: "+strings.Repeat("y", 93)+"\r\n", 20) + "\r\n"
	deliver(t, r, head, "250", head)
	text := strings.Repeat("this is no header\r\n", 1000)
	deliver(t, r, text, "250", text)
	deliver(t, r, strings.Repeat("0123456789abcdef\r\n", 6000), "552 5.3.4", "")
}

func TestLoopStops(t *testing.T) {
	r := newRig(t, nil)
	hops := func(n int) string {
		return strings.Repeat("received: from a by b;\r\n\tMon, 5 Jan 2026 10:00:00 +0000\r\n", n/2) + strings.Repeat("Received : x\r\n", n-n/2) + "\r\nReceived: not here\r\n"
	}
	deliver(t, r, hops(24), "250", hops(24))
	deliver(t, r, hops(25), "554 5.4.6", "")
}

// Nobody else may say that a message was checked here (RFC 8601, 5).
func TestForeignAuthenticationResultsAreDropped(t *testing.T) {
	r := newRig(t, nil)
	drop := []string{
		"Authentication-Results: mx.example.org; spf=pass\r\n",
		"authentication-results:MX.Example.ORG;spf=pass\r\n",
		"Authentication-Results: mx.example.org\r\n",
		"Authentication-Results: mx.example.org 1; none\r\n",
		"Authentication-Results: mx.example.org.; spf=pass\r\n",
		"Authentication-Results:\r\n mx.example.org;\r\n\tspf=pass\r\n\tdkim=pass\r\n",
		"Authentication-Results: (a (nested) \\) comment)\r\n\t(another) mx.example.org(x); spf=pass\r\n",
		"Authentication-Results: \"mx.example.org\"; spf=pass\r\n",
		"Authentication-Results: \"mx.\\example.org\"; spf=pass\r\n",
		"Authentication-Results : mx.example.org; spf=pass\r\n",
		"Authentication-Results: (" + strings.Repeat("x\r\n ", 2000) + ") mx.example.org; spf=pass\r\n",
		"no field\r\nAuthentication-Results: mx.example.org; spf=pass\r\n",
	}
	keep := []string{
		"Authentication-Results: other.example; spf=pass smtp.mailfrom=mx.example.org\r\n",
		"Authentication-Results: sub.mx.example.org; spf=pass\r\n",
		"Authentication-Results: (mx.example.org) other.example;\r\n\tspf=pass\r\n",
		"X-Authentication-Results: mx.example.org; spf=pass\r\n",
		"ARC-Authentication-Results: i=1; mx.example.org; spf=pass\r\n",
		"Authentication-Results:\r\n",
		"Authentication-Results:\r\n \r\n",
	}
	for _, d := range drop {
		kept := ""
		if strings.HasPrefix(d, "no field") {
			kept = "no field\r\n"
		}
		deliver(t, r, "A: 1\r\n"+d+"B: 2\r\n C\r\n"+d+"\r\nbody\r\n", "250", "A: 1\r\n"+kept+"B: 2\r\n C\r\n"+kept+"\r\nbody\r\n")
		deliver(t, r, d+"\r\n", "250", kept+"\r\n")
	}
	for _, k := range keep {
		deliver(t, r, "A: 1\r\n"+k+drop[5]+k+"\r\nbody\r\n", "250", "A: 1\r\n"+k+k+"\r\nbody\r\n")
	}
}

// Equal contents are one blob, whatever stands before them.
func TestEqualContentsShareABlob(t *testing.T) {
	refs := map[blob.Ref]int{}
	r := newRig(t, nil)
	r2 := newRig(t, func(s *smtp.Server) {
		s.Blobs = r.blobs
		s.Next = transport(func(_ context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
			st, info, prefix := c.(blob.Stored).Stored()
			if st != blob.Store(r.blobs) || !strings.HasPrefix(string(prefix), "Received: ") || c.Size() != info.Size+int64(len(prefix)) {
				t.Errorf("%v %q", info, prefix)
			}
			refs[info.Ref]++
			return make([]mailkeel.Result, len(env.Rcpts))
		})
	})
	p := dial(t, r2.addr).hello()
	for range 3 {
		p.mail("zoe@example.net", "ann@example.org", "Subject: x\r\n\r\nAuthentication-Results: a\r\n")
	}
	if len(refs) != 1 {
		t.Error(refs)
	}
}

type transport func(context.Context, *mailkeel.Envelope, mailkeel.Content) []mailkeel.Result

func (f transport) Deliver(ctx context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
	return f(ctx, env, c)
}

// failing is a blob.Store that fails at one place.
type failing struct {
	*memblob.Store
	at  string
	err error
}

type failingWriter struct {
	blob.Writer
	f *failing
}

func (f *failing) Create(ctx context.Context) (blob.Writer, error) {
	if f.at == "create" {
		return nil, f.err
	}
	w, err := f.Store.Create(ctx)
	return failingWriter{w, f}, err
}

func (w failingWriter) Write(p []byte) (int, error) {
	switch w.f.at {
	case "write":
		return 0, w.f.err
	case "panic":
		panic("write")
	}
	return w.Writer.Write(p)
}

func (w failingWriter) Commit() (blob.Info, error) {
	if w.f.at == "commit" {
		return blob.Info{}, w.f.err
	}
	return w.Writer.Commit()
}

// D4: what cannot be made durable is not acknowledged, and the next message is.
func TestStorageFailuresAreTemporary(t *testing.T) {
	f := &failing{Store: &memblob.Store{}}
	r := newRig(t, func(s *smtp.Server) { s.Blobs = f })
	p := dial(t, r.addr).hello()
	for _, at := range []string{"create", "write", "commit"} {
		for _, tt := range []struct {
			err   error
			reply string
		}{
			{errors.New("secret path /var/lib"), "451 4.3.0 temporary failure, try again later ("},
			{fmt.Errorf("write: %w", syscall.ENOSPC), "452 4.3.1"},
			{&mailkeel.Error{Code: 550, Enhanced: [3]int{5, 0, 0}, Message: "a store that is wrong"}, "550"},
			{io.ErrUnexpectedEOF, "451 4.3.0"},
		} {
			f.at, f.err = at, tt.err
			if got := p.mail("zoe@example.net", "ann@example.org", "x: y\r\n\r\nz"); !strings.HasPrefix(got, tt.reply) || strings.Contains(got, "secret") {
				t.Errorf("%s %v: %s", at, tt.err, got)
			}
		}
	}
	f.at = ""
	if got := p.mail("zoe@example.net", "ann@example.org", "x: y\r\n\r\nz"); !strings.HasPrefix(got, "250") || len(r.sink.all()) != 1 {
		t.Errorf("%s %d", got, len(r.sink.all()))
	}
	f.at = "panic"
	p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354").send("x\r\n.\r\n")
	p.want("421 4.3.0")
	p.ended()
}

// What Next says is what the client hears.
func TestReplies(t *testing.T) {
	temp := &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 1}, Message: "later"}
	perm := &mailkeel.Error{Code: 552, Enhanced: [3]int{5, 2, 2}, Message: "over quota"}
	secret := errors.New("pq: password hunter2")
	odd := &mailkeel.Error{Code: 250, Enhanced: [3]int{2, 0, 0}, Message: "an error that is none"}
	evil := &mailkeel.Error{Code: 550, Enhanced: [3]int{4, 0, -1}, Message: "two\r\n250 lines \x00 and ž" + strings.Repeat("x", 1000), Err: secret}
	var errs []error
	r := newRig(t, func(s *smtp.Server) {
		s.Next = transport(func(_ context.Context, env *mailkeel.Envelope, c mailkeel.Content) []mailkeel.Result {
			rs := make([]mailkeel.Result, len(env.Rcpts))
			for i := range rs {
				rs[i] = mailkeel.Result{Err: errs[i%len(errs)], Action: mailkeel.Queued}
			}
			if errs[0] == odd {
				panic("next")
			}
			return rs
		})
	})
	p := dial(t, r.addr).hello()
	for _, tt := range []struct {
		errs  []error
		reply string
	}{
		{[]error{nil, nil}, "250 2.0.0 ok: queued as "},
		{[]error{perm, perm}, "552 5.2.2 over quota"},
		{[]error{temp, perm}, "451 4.7.1 later"},
		{[]error{perm, temp}, "451 4.7.1 later"},
		{[]error{nil, perm}, "552 5.2.2 over quota"},
		{[]error{nil, secret}, "451 4.3.0 temporary failure, try again later ("},
		{[]error{fmt.Errorf("wrapped: %w", perm), perm}, "552 5.2.2 over quota"},
		{[]error{odd, odd}, "451 4.3.0"},
		{[]error{evil, evil}, "550 5.0.0 two  250 lines ? and ?xxx"},
		{[]error{context.DeadlineExceeded}, "451 4.4.7"},
	} {
		errs = tt.errs
		p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<bob@example.org>", "250", "DATA", "354").send(".\r\n")
		if got := p.reply(); !strings.HasPrefix(got, tt.reply) || strings.Contains(got, "hunter2") || len(got) > 510 {
			t.Errorf("%v: %q", tt.errs, got)
		}
	}
}

func TestLMTP(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.LMTP = true })
	r.sink.errs = func(env *mailkeel.Envelope) []mailkeel.Result {
		rs := make([]mailkeel.Result, len(env.Rcpts))
		for i, rc := range env.Rcpts {
			if rc.Account == "b2" {
				rs[i].Err = &mailkeel.Error{Code: 452, Enhanced: [3]int{4, 2, 2}, Message: "full"}
			}
		}
		return rs
	}
	p := dial(t, r.addr)
	p.want("220 mx.example.org LMTP")
	p.do("EHLO x", "500", "HELO x", "500", "LHLO x", "250")
	for _, bdat := range []bool{false, true} {
		p.do("MAIL FROM:<zoe@example.net>", "250", "DATA", "503", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<nobody@example.org>", "550", "RCPT TO:<x@elsewhere.example>", "550 5.7.1",
			"RCPT TO:<bob@example.org>", "250", "RCPT TO:<both@example.org>", "250", "RCPT TO:<ann@example.org>", "250")
		if bdat {
			p.send("BDAT 3\r\nx\r\nBDAT 0 LAST\r\n")
			p.want("250 2.0.0 chunk")
		} else {
			p.do("DATA", "354").send("x\r\n.\r\n")
		}
		// One answer for each recipient, in order (RFC 2033, 4.2).
		for _, want := range []string{"250 2.0.0 ok: filed", "452 4.2.2 full", "452 4.2.2 full", "250 2.0.0 ok: filed"} {
			p.want(want)
		}
		p.do("NOOP", "250")
		if m := r.sink.all(); len(m) != 1 || m[0].body() != "x\r\n" || !strings.Contains(m[0].data, " with LMTP id ") {
			t.Errorf("%+v", m)
		}
		r.sink.got = nil
	}
	// What is wrong with the content is told for each.
	p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<bob@example.org>", "250", "DATA", "354").send("a\nb\r\n.\r\n")
	p.want("550 5.6.0")
	p.want("550 5.6.0")
	p.do("NOOP", "250")

	// A client of someone else's agrees.
	c := gosmtp.NewClientLMTP(dial(t, r.addr).conn)
	defer c.Close()
	for _, err := range []error{c.Hello("x"), c.Mail("zoe@example.net", nil), c.Rcpt("ann@example.org", nil), c.Rcpt("bob@example.org", nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "Subject: x\r\n\r\ny\r\n")
	answers, err := w.CloseWithLMTPResponse()
	var le gosmtp.LMTPDataError
	if !errors.As(err, &le) || len(answers) != 1 || len(le) != 1 || le["bob@example.org"] == nil || le["bob@example.org"].Code != 452 {
		t.Errorf("%+v %v", answers, err)
	}
}
