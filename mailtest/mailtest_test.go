package mailtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/mailtest"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds a test that has gone wrong.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// send sends through a door, after STARTTLS and with a login if there is one.
func send(t *testing.T, addr string, conf *tls.Config, auth smtp.Auth, from string, to []string, msg string) {
	t.Helper()
	if err := trySend(addr, conf, auth, from, to, msg); err != nil {
		t.Fatal(err)
	}
}

func trySend(addr string, conf *tls.Config, auth smtp.Auth, from string, to []string, msg string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if conf != nil {
		if err := c.StartTLS(conf); err != nil {
			return err
		}
	}
	if auth != nil {
		if err := c.Auth(auth); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, a := range to {
		if err := c.Rcpt(a); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	io.WriteString(w, msg)
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

const text = "From: zoe@example.net\r\nTo: ann@example.test\r\nSubject: hello\r\n\r\nGrüße\r\n.dots\r\n"

// TestSendMail: the standard library's way works as it is, also with a login.
func TestSendMail(t *testing.T) {
	srv := mailtest.New(t)
	srv.Account("ann@example.test", "secret")
	if err := smtp.SendMail(srv.SMTPAddr(), nil, "zoe@example.net", []string{"ann@example.test"}, []byte(text)); err != nil {
		t.Error(err)
	}
	auth := smtp.PlainAuth("", "ann@example.test", "secret", "127.0.0.1")
	if err := smtp.SendMail(srv.SubmissionAddr(), auth, "ann@example.test", []string{"ann@example.test"}, []byte("From: ann@example.test\r\n\r\n")); err != nil {
		t.Error(err)
	}
	srv.WaitN(soon(t), 2, mailtest.Any())
	if err := trySend(srv.SMTPAddr(), srv.ClientTLS(), nil, "zoe@example.net", []string{"ann@example.test"}, text); err == nil {
		t.Error("STARTTLS is there and not offered")
	}
}

func TestFromSMTPToIMAP(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true, STARTTLS: true})
	srv.Account("ann@example.test", "secret")
	srv.Account("bob@example.test", "hidden")
	send(t, srv.SMTPAddr(), srv.ClientTLS(), nil, "zoe@example.net", []string{"ann@example.test", "bob@example.test"}, text)

	ms := srv.WaitN(soon(t), 2, mailtest.Any())
	who := map[string]bool{}
	for _, m := range ms {
		who[m.Account] = true
		if m.Mailbox != "INBOX" || m.Header("Subject") != "hello" || !strings.HasSuffix(string(m.Raw), text) {
			t.Errorf("got %v:\n%s", m, m.Raw)
		}
		for _, f := range []string{"Return-Path", "Delivered-To", "Received"} {
			if m.Header(f) == "" {
				t.Errorf("no %s in\n%s", f, m.Raw)
			}
		}
	}
	if len(who) != 2 {
		t.Errorf("filed for %v", who)
	}

	for _, dial := range []func() (*imapclient.Client, error){
		func() (*imapclient.Client, error) { return imapclient.DialInsecure(srv.IMAPAddr(), nil) },
		func() (*imapclient.Client, error) {
			return imapclient.DialStartTLS(srv.IMAPAddr(), &imapclient.Options{TLSConfig: srv.ClientTLS()})
		},
		func() (*imapclient.Client, error) {
			return imapclient.DialTLS(srv.IMAPSAddr(), &imapclient.Options{TLSConfig: srv.ClientTLS()})
		},
	} {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Login("ann@example.test", "hidden").Wait(); err == nil {
			t.Error("ann logs in with bob's password")
		}
		if err := c.Login("ann@example.test", "secret").Wait(); err != nil {
			t.Fatal(err)
		}
		if d, err := c.Select("INBOX", nil).Wait(); err != nil || d.NumMessages != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		got, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{UID: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		var want []byte
		for _, m := range ms {
			if m.Account == "ann@example.test" {
				want = m.Raw
			}
		}
		if b := got[0].FindBodySection(whole); !bytes.Equal(b, want) || got[0].Envelope.Subject != "hello" {
			t.Errorf("IMAP gives %+v\n%s", got[0].Envelope, b)
		}
		if err := c.Logout().Wait(); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

func TestSubmission(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true, STARTTLS: true})
	srv.Account("ann@example.test", "secret")
	srv.Account("bob@example.test", "hidden")
	auth := smtp.PlainAuth("", "ann@example.test", "secret", mailtest.Hostname)
	host := srv.ClientTLS()
	msg := "From: ann@example.test\r\nTo: bob@example.test, zoe@example.net\r\nSubject: out\r\n\r\nhi\r\n"
	send(t, srv.SubmissionAddr(), host, plain{auth}, "ann@example.test", []string{"bob@example.test", "zoe@example.net"}, msg)
	if m := srv.Wait(soon(t), mailtest.To("bob@example.test")); m.Account != "bob@example.test" || m.Header("Subject") != "out" {
		t.Errorf("bob got %v", m)
	}
	m := srv.Wait(soon(t), mailtest.Left())
	if m.Envelope.From != "ann@example.test" || len(m.Envelope.Rcpts) != 1 || m.Envelope.Rcpts[0].Addr != "zoe@example.net" || m.Header("Message-ID") == "" {
		t.Errorf("left: %v\n%s", m, m.Raw)
	}
	// What must not work.
	for name, err := range map[string]error{
		"no login":       trySend(srv.SubmissionAddr(), host, nil, "ann@example.test", []string{"bob@example.test"}, msg),
		"wrong password": trySend(srv.SubmissionAddr(), host, plain{smtp.PlainAuth("", "ann@example.test", "x", mailtest.Hostname)}, "ann@example.test", []string{"bob@example.test"}, msg),
		"not hers":       trySend(srv.SubmissionAddr(), host, plain{auth}, "bob@example.test", []string{"zoe@example.net"}, msg),
		"open relay":     trySend(srv.SMTPAddr(), host, nil, "ann@example.test", []string{"zoe@example.net"}, msg),
		"unknown user":   trySend(srv.SMTPAddr(), host, nil, "zoe@example.net", []string{"nobody@example.test"}, msg),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Log(name, err)
		}
	}
}

// plain lets PLAIN go over any connection: net/smtp asks for TLS by the name of
// the server, which here is an address.
type plain struct{ smtp.Auth }

func (p plain) Start(s *smtp.ServerInfo) (string, []byte, error) {
	return p.Auth.Start(&smtp.ServerInfo{Name: mailtest.Hostname, TLS: true, Auth: s.Auth})
}

func TestServersAreIsolated(t *testing.T) {
	for i := range 50 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			srv := mailtest.New(t)
			for j := range 3 {
				srv.Account(fmt.Sprintf("u%d@example.test", j), "pw")
				send(t, srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{fmt.Sprintf("u%d@example.test", j)}, fmt.Sprintf("Subject: %d %d\r\n\r\n", i, j))
				ms := srv.WaitN(soon(t), j+1, mailtest.Any())
				if got := ms[j].Header("Subject"); got != fmt.Sprintf("%d %d", i, j) {
					t.Errorf("got %q", got)
				}
			}
		})
	}
}

func TestConfigCanBeEdited(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true, Config: func(c *server.Config) {
		c.MaxBytes = 100
		c.IMAP = server.Listen{}
	}})
	srv.Account("ann@example.test", "secret")
	if srv.Addr(server.IMAP) != nil {
		t.Error("IMAP is on")
	}
	if err := trySend(srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{"ann@example.test"}, strings.Repeat("x\r\n", 1000)); err == nil {
		t.Error("a message that is too large was accepted")
	}
}

// failing notes what a test would have said.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestWaitSaysWhatDidArrive(t *testing.T) {
	f := &failing{TB: t}
	srv := mailtest.New(f)
	srv.Account("ann@example.test", "secret")
	send(t, srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{"ann@example.test"}, text)
	srv.WaitN(soon(t), 1, mailtest.Any())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() {
		if recover() != any(f) || !strings.Contains(f.said, "1 of 2 came") || !strings.Contains(f.said, `ann@example.test INBOX: from "zoe@example.net", subject "hello"`) {
			t.Errorf("said %q", f.said)
		}
	}()
	srv.WaitN(ctx, 2, mailtest.Any())
}

func TestTrustLiftsRatesOfUsers(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		srv := mailtest.New(t, mailtest.Options{Strict: true, Config: func(c *server.Config) {
			c.PerDay = 1
			if trusted {
				c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		}})
		srv.Account("ann@example.test", "secret")
		auth := plain{smtp.PlainAuth("", "ann@example.test", "secret", mailtest.Hostname)}
		msg := "From: ann@example.test\r\n\r\n"
		send(t, srv.SubmissionAddr(), nil, auth, "ann@example.test", []string{"zoe@example.net"}, msg)
		err := trySend(srv.SubmissionAddr(), nil, auth, "ann@example.test", []string{"zoe@example.net"}, msg)
		if (err == nil) != trusted {
			t.Errorf("trusted %v: %v", trusted, err)
		}
		// Trust does not make anyone else of you.
		if err := trySend(srv.SubmissionAddr(), nil, auth, "boss@example.test", []string{"zoe@example.net"}, msg); err == nil {
			t.Errorf("trusted %v: sent as someone else", trusted)
		}
	}
}

// TestDeletedAccountsGetTheirBounce is about mail that waits for an account which
// is deleted meanwhile.
func TestDeletedAccountsGetTheirBounce(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true})
	srv.Account("ann@example.test", "secret")
	env := &mailkeel.Envelope{ID: "m1", From: "ann@example.test", Rcpts: []mailkeel.Recipient{{Addr: "gone@example.test", Account: "gone"}}}
	if r := mailkeel.Deliver(t.Context(), srv.Queue, env, content("Subject: too late\r\n\r\n")); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	if m := srv.WaitN(soon(t), 1, mailtest.Any())[0]; m.Account != "ann@example.test" || !strings.Contains(string(m.Raw), "5.1.1") {
		t.Errorf("ann got\n%s", m.Raw)
	}
}

// content is a message.
type content string

func (c content) Size() int64 { return int64(len(c)) }
func (c content) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(c))), nil
}

// TestGuessesCountAcrossDoors is T9: the limit on guesses is one for all doors.
func TestGuessesCountAcrossDoors(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true, STARTTLS: true})
	srv.Account("ann@example.test", "secret")
	srv.Account("bob@example.test", "hidden")
	for i := range 12 {
		c, err := imapclient.DialInsecure(srv.IMAPAddr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Login("ann@example.test", fmt.Sprint("guess ", i)).Wait(); err == nil {
			t.Fatal("a guess was right")
		}
		c.Close()
	}
	try := func(user, password string) error {
		auth := plain{smtp.PlainAuth("", user, password, mailtest.Hostname)}
		return trySend(srv.SubmissionAddr(), srv.ClientTLS(), auth, user, []string{"bob@example.test"}, "From: "+user+"\r\n\r\n")
	}
	if err := try("ann@example.test", "secret"); err == nil {
		t.Error("after so many guesses the next was looked at")
	}
	if err := try("bob@example.test", "hidden"); err != nil {
		t.Errorf("guesses for ann shut bob out: %v", err)
	}
}

// Mail programs find the mailboxes that they look for.
func TestUsualMailboxes(t *testing.T) {
	for want, edit := range map[string]func(*server.Config){
		`INBOX Archive\Archive Drafts\Drafts Junk\Junk Sent\Sent Trash\Trash`: func(*server.Config) {},
		`INBOX Gesendet\Sent`: func(c *server.Config) { c.Mailboxes = []store.InitialMailbox{{Name: "Gesendet", Role: "sent"}} },
		`INBOX`:               func(c *server.Config) { c.Mailboxes = []store.InitialMailbox{} },
	} {
		srv := mailtest.New(t, mailtest.Options{Strict: true, Config: edit})
		srv.Account("ann@example.test", "secret")
		c, err := imapclient.DialInsecure(srv.IMAPAddr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login("ann@example.test", "secret").Wait(); err != nil {
			t.Fatal(err)
		}
		list, err := c.List("", "*", &imap.ListOptions{ReturnSpecialUse: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range list {
			name := m.Mailbox
			for _, a := range m.Attrs {
				name += string(a)
			}
			got = append(got, name)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("ann has %s, want %s", got, want)
		}
	}
}

// notes is a log that a test reads.
type notes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// TestTheLogFollowsAMessage: who wrote, to whom, and what became of it, by one ID.
func TestTheLogFollowsAMessage(t *testing.T) {
	log := &notes{}
	srv := mailtest.New(t, mailtest.Options{Strict: true, STARTTLS: true, Config: func(c *server.Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) }})
	srv.Account("ann@example.test", "secret")
	auth := plain{smtp.PlainAuth("", "ann@example.test", "secret", mailtest.Hostname)}
	send(t, srv.SubmissionAddr(), srv.ClientTLS(), auth, "ann@example.test", []string{"ann@example.test", "zoe@example.net"}, "From: ann@example.test\r\n\r\n")
	id, _, _ := strings.Cut(srv.Wait(soon(t), mailtest.Left()).Envelope.ID, "/")
	srv.Queue.Settled(soon(t))
	if trySend(srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{"nobody@example.test"}, text) == nil ||
		trySend(srv.SubmissionAddr(), srv.ClientTLS(), auth, "eve@example.test", []string{"zoe@example.net"}, text) == nil {
		t.Error("what must be refused was not")
	}
	lines := strings.Split(log.String(), "\n")
	for _, want := range [][]string{
		{"smtp: message received", "door=submission", "id=" + id, "from=ann@example.test", `to="[ann@example.test zoe@example.net]"`},
		{"queue: delivered", "item=" + id + "/1", "from=ann@example.test", "to=zoe@example.net", "hop=mailtest"},
		{"smtp: recipient refused", "door=smtp", "addr=127.0.0.1:", "from=zoe@example.net", "to=<nobody@example.test>", "5.1.1"},
		{"smtp: sender refused", "door=submission", "from=<eve@example.test>"},
	} {
		if !slices.ContainsFunc(lines, func(l string) bool {
			return !slices.ContainsFunc(want, func(part string) bool { return !strings.Contains(l, part) })
		}) {
			t.Errorf("no line with %q", want)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}

// TestBehindAProxy: who is behind a load balancer is judged by the address that it
// tells.
func TestBehindAProxy(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true, Config: func(c *server.Config) {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.MaxPerIP = 1
		c.Reverse = func(_ context.Context, a netip.Addr) string { return "peer-" + a.String() + ".example.net" }
	}})
	srv.Account("ann@example.test", "secret")
	dial := func(addr, from string) *textproto.Conn {
		t.Helper()
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		fmt.Fprintf(nc, "PROXY TCP4 %s 127.0.0.1 40000 25\r\n", from)
		return textproto.NewConn(nc)
	}
	c := dial(srv.SMTPAddr(), "192.0.2.7")
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"HELO me", 250}, {"MAIL FROM:<z@example.net>", 250}, {"RCPT TO:<ann@example.test>", 250}, {"DATA", 354}, {text + ".", 250}} {
		if step.say != "" {
			c.PrintfLine("%s", step.say)
		}
		if _, msg, err := c.ReadResponse(step.code); err != nil {
			t.Fatalf("%s: %v %s", step.say, err, msg)
		}
	}
	if m := srv.WaitN(soon(t), 1, mailtest.Any())[0]; !strings.Contains(m.Header("Received"), "from me (peer-192.0.2.7.example.net [192.0.2.7])") {
		t.Errorf("Received: %s", m.Header("Received"))
	}
	for _, addr := range []string{srv.SMTPAddr(), srv.SubmissionAddr()} {
		for from, code := range map[string]int{"192.0.2.7": 421, "192.0.2.8": 220} {
			if addr == srv.SubmissionAddr() {
				code = 220 // another part counts for itself
			}
			if _, msg, err := dial(addr, from).ReadResponse(code); err != nil {
				t.Errorf("%s from %s: %v %s", addr, from, err, msg)
			}
		}
	}
	for _, want := range []string{"* OK", "* BYE"} {
		if line, err := dial(srv.IMAPAddr(), "192.0.2.9").ReadLine(); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("imap: %q, %v, want %q", line, err, want)
		}
	}
}
