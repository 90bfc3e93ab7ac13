package smtp_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/smtp"
)

// The engine has defects that we know of. Each test shows one on the bare engine,
// so that we hear of it when it is gone, and that our door does not have it.

// bare is the engine with a simple backend.
type bare struct {
	mu      sync.Mutex
	got     []string // contents
	from    string
	rcpts   []string
	inData  chan struct{} // Data says that it runs, if set
	proceed chan struct{} // and waits
	running bool
	logout  bool // while Data ran
	reset   bool // likewise
}

func (b *bare) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return b, nil }
func (b *bare) Reset()                                          { b.mark(&b.reset) }
func (b *bare) Logout() error                                   { b.mark(&b.logout); return nil }

func (b *bare) mark(flag *bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*flag = *flag || b.running
}

func (b *bare) Mail(from string, _ *gosmtp.MailOptions) error { b.from = from; return nil }
func (b *bare) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	b.rcpts = append(b.rcpts, to)
	return nil
}

func (b *bare) Data(r io.Reader) error {
	if b.inData != nil {
		one := make([]byte, 1)
		io.ReadFull(r, one)
		b.mu.Lock()
		b.running = true
		b.mu.Unlock()
		b.inData <- struct{}{}
		<-b.proceed
		b.mu.Lock()
		b.running = false
		b.mu.Unlock()
		return errors.New("interrupted")
	}
	data, err := io.ReadAll(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.got = append(b.got, string(data))
	}
	return err
}

func (b *bare) AuthMechanisms() []string { return []string{"PLAIN"} }
func (b *bare) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error { return errors.New("wrong") }), nil
}

// newBare serves the bare engine on ln.
func newBare(t testing.TB, ln net.Listener, change func(*gosmtp.Server)) (*bare, *gosmtp.Server) {
	b := &bare{}
	s := gosmtp.NewServer(b)
	s.Domain = "bare.example"
	s.AllowInsecureAuth = true
	s.EnableREQUIRETLS = true
	s.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(s)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(ln) })
	t.Cleanup(func() {
		s.Close()
		wg.Wait()
	})
	return b, s
}

// both runs a test in virtual time with peers of the bare engine and of our door,
// of which the latter has said MAIL and RCPT if ready is set.
func both(t *testing.T, ready bool, engine func(*gosmtp.Server), change func(*smtp.Server), test func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		b, _ := newBare(t, ln, engine)
		theirs, _ := ln.dial(t)
		theirs.hello()
		r, ln2 := newPipeRig(t, change)
		ours, _ := ln2.dial(t)
		ours.hello()
		if ready {
			theirs.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
			ours.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
		}
		test(t, theirs, b, ours, r)
	})
}

func TestS1_StalledBodyIsNotCommands(t *testing.T) {
	both(t, true, func(s *gosmtp.Server) { s.ReadTimeout = time.Minute }, func(s *smtp.Server) { s.DataTimeout = time.Minute },
		func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
			for _, p := range []*peer{theirs, ours} {
				p.do("DATA", "354")
				p.send("half a line")
			}
			time.Sleep(90 * time.Second)
			theirs.want("554")
			theirs.do("NOOP", "250") // what was meant as content is a command
			ours.want("421 4.4.2")
			ours.ended()
			if len(r.sink.all()) != 0 {
				t.Error("half a message was delivered")
			}
		})
}

func TestS2_SlowBodyArrives(t *testing.T) {
	trickle := func(p *peer, d time.Duration) bool {
		p.do("DATA", "354")
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Second) {
			if _, err := io.WriteString(p.conn, "a line\r\n"); err != nil {
				return false
			}
		}
		io.WriteString(p.conn, ".\r\n")
		return strings.HasPrefix(p.reply(), "250")
	}
	both(t, true, func(s *gosmtp.Server) { s.ReadTimeout = time.Minute }, func(s *smtp.Server) { s.DataTimeout = time.Minute; s.MessageTimeout = 10 * time.Minute },
		func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
			if trickle(theirs, 5*time.Minute) {
				t.Error("the engine has lost this defect")
			}
			if !trickle(ours, 5*time.Minute) {
				t.Error("a steady client was cut off")
			}
			ours.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
			if trickle(ours, 15*time.Minute) {
				t.Error("there is no limit for the whole")
			}
		})
}

func TestS3_BareLFIsRefused(t *testing.T) {
	both(t, true, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		for _, p := range []*peer{theirs, ours} {
			p.do("DATA", "354")
			p.send("a\nb\r\n.\r\n")
		}
		theirs.want("250")
		if b.got[0] != "a\nb\r\n" {
			t.Errorf("the engine gave %q", b.got[0])
		}
		ours.want("550 5.6.0")
		ours.do("NOOP", "250")
	})
}

func TestS4_CRCRLFDoesNotHideTheEnd(t *testing.T) {
	both(t, true, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		for _, p := range []*peer{theirs, ours} {
			p.do("DATA", "354")
			p.send("a\r\r\n.\r\nNOOP\r\n")
		}
		synctest.Wait()
		if got := theirs.pending(); got != "" {
			t.Errorf("the engine has lost this defect: %q", got)
		}
		ours.want("550 5.6.0")
		ours.want("250")
	})
}

func TestS5_NothingIsLostAfterADot(t *testing.T) {
	both(t, true, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		for _, p := range []*peer{theirs, ours} {
			p.do("DATA", "354")
			p.send("a\r\n.\rb\r\n.\r\n")
		}
		theirs.want("250")
		if b.got[0] != "a\r\nb\r\n" {
			t.Errorf("the engine gave %q", b.got[0])
		}
		ours.want("550 5.6.0")
	})
}

func TestS6_SizeLimitIsExact(t *testing.T) {
	const limit = 1000
	content := func(n int) string { return strings.Repeat("x", n-2) + "\r\n.\r\n" }
	both(t, true, func(s *gosmtp.Server) { s.MaxMessageBytes = limit }, func(s *smtp.Server) { s.MaxBytes = limit },
		func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
			theirs.do("DATA", "354").send(content(limit))
			theirs.want("552")
			ours.do("DATA", "354").send(content(limit))
			ours.want("250")
			ours.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354").send(content(limit + 1))
			ours.want("552 5.3.4")
			ours.do("MAIL FROM:<zoe@example.net> SIZE=1001", "552 5.3.4", "MAIL FROM:<zoe@example.net> SIZE=1000", "250")
			// Who sends far more is not listened to for ever.
			ours.do("RCPT TO:<ann@example.org>", "250", "DATA", "354")
			n := 0
			for ; n < 100<<20; n += 1 << 20 {
				if _, err := io.WriteString(ours.conn, strings.Repeat("x", 1<<20)); err != nil {
					break
				}
			}
			if n > 2<<20 {
				t.Errorf("took %d bytes", n)
			}
			ours.want("552 5.3.4")
			ours.ended()
		})
}

func TestS7_LongLineInAChunk(t *testing.T) {
	both(t, true, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		for _, p := range []*peer{theirs, ours} {
			p.send("BDAT 3002 LAST\r\n" + strings.Repeat("x", 3000) + "\r\n")
		}
		theirs.want("500")
		ours.want("250 2.0.0")
		if got := r.sink.all()[0].body(); got != strings.Repeat("x", 3000)+"\r\n" {
			t.Errorf("%d bytes", len(got))
		}
	})
}

func TestS8_LongInitialResponse(t *testing.T) {
	ir := base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00" + strings.Repeat("x", 3000)))
	both(t, false, nil, func(s *smtp.Server) { s.Auth = users(); s.InsecureAuth = true },
		func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
			theirs.do("AUTH PLAIN "+ir, "500").ended()
			ours.do("AUTH PLAIN "+ir, "535 5.7.8", "NOOP", "250")
			// The same as an answer to a challenge, and what is too long for that.
			ours.do("AUTH PLAIN", "334", ir, "535 5.7.8", "AUTH PLAIN", "334", strings.Repeat("QUFB", 5000), "501 5.7.0", "NOOP", "250")
		})
}

func TestS9_CommandsBesideALongLine(t *testing.T) {
	both(t, false, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		for _, p := range []*peer{theirs, ours} {
			p.send("NOOP\r\n" + strings.Repeat("x", 3900) + "\r\nNOOP\r\n")
		}
		theirs.want("500") // and not a word about NOOP
		theirs.ended()
		ours.want("250")
		ours.want("500 5.5.2 line too long")
		ours.want("250")
		ours.do(strings.Repeat("x", 100_000), "500 5.5.2 line too long", "NOOP", "250")
	})
}

func TestS10_ShutdownEndsIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		_, s := newBare(t, ln, nil)
		theirs, _ := ln.dial(t)
		theirs.hello()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		s.Close()
		theirs.do("NOOP", "250") // still served
		theirs.conn.Close()

		r, ln2 := newPipeRig(t, nil)
		ours, _ := ln2.dial(t)
		ours.hello()
		start := time.Now()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if time.Since(start) != 0 {
			t.Error("an idle connection was waited for")
		}
		ours.want("421 4.3.2")
		ours.ended()
	})
}

func TestS11_NothingIsTornDownUnderData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The engine resets a session, and ends it, while its Data runs.
		ln := newPipes()
		b, s := newBare(t, ln, nil)
		b.inData, b.proceed = make(chan struct{}), make(chan struct{})
		for range 2 {
			p, _ := ln.dial(t)
			p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
			if !b.reset {
				p.send("BDAT 1\r\nx")
				<-b.inData
				p.want("250")
				p.do("RSET", "250")
			} else {
				p.do("DATA", "354").send("x\r\n")
				<-b.inData
				s.Close()
			}
			b.proceed <- struct{}{}
			synctest.Wait()
		}
		if !b.reset || !b.logout {
			t.Errorf("the engine has lost this defect: %v %v", b.reset, b.logout)
		}

		// Our Close waits for the Transport, whose context is done.
		in, out := make(chan struct{}), false
		r, ln2 := newPipeRig(t, func(s *smtp.Server) {
			s.Next = mailkeel.HandlerFunc(func(ctx context.Context, _ *mailkeel.Envelope, _ mailkeel.Content) error {
				close(in)
				<-ctx.Done()
				out = true
				return ctx.Err()
			})
		})
		p, _ := ln2.dial(t)
		p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354").send(".\r\n")
		<-in
		r.Close()
		if !out {
			t.Error("Close did not wait")
		}
	})
}

// A chunk that was reset never becomes part of a message.
func TestS11_ResetBetweenChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, nil)
		p, _ := ln.dial(t)
		p.hello()
		for i := range 50 {
			p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
			p.send("BDAT 6\r\nlost\r\n")
			p.want("250")
			p.send([]string{"RSET\r\n", "EHLO again\r\n"}[i%2] + "MAIL FROM:<zoe@example.net>\r\nRCPT TO:<bob@example.org>\r\nBDAT 6 LAST\r\nkept\r\n")
			for range 4 {
				p.want("250")
			}
		}
		if len(r.sink.all()) != 50 {
			t.Errorf("%d messages", len(r.sink.all()))
		}
		for _, m := range r.sink.all() {
			if m.body() != "kept\r\n" || m.env.Rcpts[0].Account != "b2" {
				t.Errorf("%+v", m)
			}
		}
	})
}

func TestS12_AddressesAreReadStrictly(t *testing.T) {
	both(t, false, nil, func(s *smtp.Server) { s.Auth = users(); s.InsecureAuth = true; s.Directory = nil },
		func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
			ours.login("ann@example.org", "secret-a1")
			bad := []string{"a@b@c.example", "u\xff@example.org", "u@do..main", "a@example.org.", "a@-x.example", ".a@example.org", "a..b@example.org",
				"a@[1.2.3]", "a@[IPv6:::g]", "a@b c", "a@exa(x)mple.org", "a,b@example.org"}
			theirs.do("MAIL FROM:<zoe@example.net>", "250")
			ours.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<u\x01@example.org>", "500 5.5.2")
			for _, a := range bad {
				theirs.send("RCPT TO:<" + a + ">\r\n")
				theirs.reply()
				ours.send("RCPT TO:<" + a + ">\r\n")
				if got := ours.reply(); !strings.HasPrefix(got, "50") && !strings.HasPrefix(got, "555") {
					t.Errorf("%q: %s", a, got)
				}
			}
			if len(b.rcpts) < 6 {
				t.Errorf("the engine has lost this defect: %q", b.rcpts)
			}
			ours.do("RCPT TO:<zoë@example.org>", "553 5.6.7", "RCPT TO:<zoe@exämple.org>", "553 5.6.7")
			// Quotes stay, so that nobody takes a local part for a domain.
			const quoted = `"x@evil.example"@example.org`
			theirs.do("RCPT TO:<"+quoted+">", "250")
			if got := b.rcpts[len(b.rcpts)-1]; got != "x@evil.example@example.org" {
				t.Errorf("the engine gave %q", got)
			}
			ours.do("RCPT TO:<"+quoted+">", "250", `RCPT TO:<"a\"b"@example.org>`, "250", `RCPT TO:<"plain"@example.org>`, "250", "RCPT TO:<@r1.example,@r2.example:c@d.example>", "250", "DATA", "354").send(".\r\n")
			ours.want("250")
			var got []string
			for _, rc := range r.sink.all()[0].env.Rcpts {
				got = append(got, rc.Addr)
			}
			if want := quoted + ` "a\"b"@example.org plain@example.org c@d.example`; strings.Join(got, " ") != want {
				t.Errorf("got %q", got)
			}
		})
}

func TestS13_Conformance(t *testing.T) {
	both(t, false, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		theirs.do("MAIL FROM:<zoe@example.net>", "250", "MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<postmaster>", "501", "RSET", "250", "MAIL FROM:<zoe@example.net> X=Y", "500", "DATA", "502")
		ours.do("MAIL FROM:<zoe@example.net>", "250", "MAIL FROM:<zoe@example.net>", "503 5.5.1", "RCPT TO:<Postmaster>", "250", "RSET", "250",
			"MAIL FROM:<zoe@example.net> X=Y", "555 5.5.4", "DATA", "503 5.5.1")
		if got := ours.mail("zoe@example.net", "postmaster", "x"); !strings.HasPrefix(got, "250") {
			t.Error(got)
		}
		if rc := r.sink.all()[0].env.Rcpts[0]; rc.Account != "a1" || rc.Given != "postmaster@mx.example.org" {
			t.Errorf("%+v", rc)
		}
	})
}

func TestS14_FailuresAreLimited(t *testing.T) {
	wrong := base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00wrong"))
	both(t, false, nil, func(s *smtp.Server) { s.Auth = users(); s.InsecureAuth = true },
		func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
			for range 50 {
				theirs.do("AUTH PLAIN "+wrong, "454")
			}
			theirs.do("MAIL FROM:<zoe@example.net>", "250", "AUTH PLAIN "+wrong, "454") // within a transaction
			ours.do("MAIL FROM:<zoe@example.net>", "250", "AUTH PLAIN "+wrong, "503 5.5.1", "RSET", "250")
			ours.do("AUTH PLAIN "+wrong, "535 5.7.8", "AUTH PLAIN "+wrong, "535 5.7.8")
			ours.send("AUTH PLAIN " + wrong + "\r\nNOOP\r\n")
			ours.want("535 5.7.8")
			ours.want("421 4.7.0")
			ours.ended()
		})
}

func TestS14_UnknownRecipientsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ln := newPipeRig(t, nil)
		p, _ := ln.dial(t)
		p.hello().do("MAIL FROM:<zoe@example.net>", "250")
		for i := range 19 {
			p.do(fmt.Sprintf("RCPT TO:<guess%d@example.org>", i), "550 5.1.1")
			if i%5 == 0 {
				p.do("RSET", "250", "MAIL FROM:<zoe@example.net>", "250")
			}
		}
		p.do("RCPT TO:<ann@example.org>", "250", "RCPT TO:<x@elsewhere.example>", "550 5.7.1").want("421 4.7.0")
		p.ended()
	})
}

func TestS15_RepliesDoNotEcho(t *testing.T) {
	both(t, false, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		for _, l := range []string{"MAIL FROM:<marker@example.net>", "RCPT TO:<both+marker@example.org>", "RCPT TO:<ann@example.org>", "XMARKER", "RCPT TO:<marker"} {
			theirs.send(l + "\r\n")
			ours.send(l + "\r\n")
			theirs.reply()
			if got := ours.reply(); strings.Contains(strings.ToLower(got), "marker") || strings.Contains(got, "@") || got[4] != got[0] {
				t.Errorf("%s: %s", l, got)
			}
		}
	})
}

// A layer above TLS hides TLS from the engine, which then offers neither AUTH nor
// REQUIRETLS. Ours is such a layer, and says those words itself.
func TestS17_TLSIsKnownAboveTLS(t *testing.T) {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{testCert()}})
	if err != nil {
		t.Fatal(err)
	}
	newBare(t, wrapped{ln}, func(s *gosmtp.Server) { s.AllowInsecureAuth = false })
	theirs := dialTLS(t, ln.Addr().String())
	theirs.want("220")
	theirs.send("EHLO x\r\n")
	if got := theirs.reply(); strings.Contains(got, "AUTH") || strings.Contains(got, "REQUIRETLS") {
		t.Errorf("the engine has lost this defect: %s", got)
	}

	r := newRig(t, func(s *smtp.Server) { s.Auth = users(); s.Submission = true })
	check := func(p *peer, tls bool) {
		t.Helper()
		p.send("EHLO x\r\n")
		got := p.reply()
		for word, want := range map[string]bool{"AUTH SCRAM-SHA-256 PLAIN LOGIN": tls, "REQUIRETLS": tls, "STARTTLS": !tls, "PIPELINING": true, "SIZE 52428800": true,
			"8BITMIME": true, "SMTPUTF8": true, "ENHANCEDSTATUSCODES": true, "CHUNKING": true, "DSN": true, "LIMITS RCPTMAX=1000": true} {
			if strings.Contains(got+"\n", word+"\n") != want {
				t.Errorf("TLS %v, offers %s: %v\n%s", tls, word, !want, got)
			}
		}
	}
	p := dialTLS(t, r.tls)
	p.want("220")
	check(p, true)
	p.login("ann@example.org", "secret-a1").do("MAIL FROM:<ann@example.org> REQUIRETLS", "250")
	p = dial(t, r.addr)
	p.want("220")
	check(p, false)
	p.do("STARTTLS", "220")
	p.startTLS()
	check(p, true)
	p.do("STARTTLS", "503").login("ann@example.org", "secret-a1").do("MAIL FROM:<ann@example.org> REQUIRETLS", "250")
}

type wrapped struct{ net.Listener }

func (w wrapped) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

// Not in the list we began with: the engine takes a chunk that ends with the
// connection for a whole one.
func TestS18_CutOffChunkIsNoMessage(t *testing.T) {
	both(t, true, nil, nil, func(t *testing.T, theirs *peer, b *bare, ours *peer, r *rig) {
		for _, p := range []*peer{theirs, ours} {
			p.send("BDAT 1000 LAST\r\nSubject: pay\r\n\r\nnot ")
			p.conn.Close()
		}
		synctest.Wait()
		if len(b.got) != 1 {
			t.Error("the engine has lost this defect")
		}
		if n := len(r.sink.all()); n != 0 {
			t.Errorf("%d messages delivered", n)
		}
	})
}
