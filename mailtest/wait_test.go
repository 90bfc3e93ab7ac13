package mailtest_test

import (
	"context"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/mailtest"
)

func TestAnyAddressAndAnyPassword(t *testing.T) {
	srv := mailtest.New(t)
	auth := plain{smtp.PlainAuth("", "zoe@anywhere.example", "whatever", mailtest.Hostname)}
	send(t, srv.SubmissionAddr(), nil, auth, "someone@else.example", []string{"Ann+news@Example.test", "bob@other.example"}, text)
	m := srv.Wait(soon(t), mailtest.To("ann@example.test").From("someone@else.example").Subject("HELLO").Text("grüße"))
	if m.Account != "ann@example.test" || m.Mailbox != "INBOX" || m.From != "someone@else.example" {
		t.Errorf("%+v", m)
	}
	srv.Wait(soon(t), mailtest.To("bob@other.example").In("INBOX"))
	c, err := imapclient.DialTLS(srv.IMAPSAddr(), &imapclient.Options{TLSConfig: srv.ClientTLS()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann@example.test", "anything").Wait(); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Select("INBOX", nil).Wait(); err != nil || d.NumMessages != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	// An account that has a password wants it.
	srv.Account("carl@example.test", "secret")
	if err := trySend(srv.SubmissionAddr(), nil, plain{smtp.PlainAuth("", "carl@example.test", "wrong", mailtest.Hostname)}, "carl@example.test", []string{"a@b.example"}, text); err == nil {
		t.Error("a wrong password was taken")
	}
}

func TestStrict(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{Strict: true, Accounts: []mailtest.Account{{Address: "ann@example.test", Password: "secret"}, {Address: "bot@example.test"}}})
	if err := trySend(srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{"nobody@example.test"}, text); err == nil {
		t.Error("mail for nobody was taken")
	}
	for _, p := range []string{"", "x"} {
		if err := trySend(srv.SubmissionAddr(), nil, plain{smtp.PlainAuth("", "bot@example.test", p, mailtest.Hostname)}, "bot@example.test", []string{"ann@example.test"}, text); err == nil {
			t.Errorf("an account without a password logs in with %q", p)
		}
	}
	auth := plain{smtp.PlainAuth("", "ann@example.test", "secret", mailtest.Hostname)}
	send(t, srv.SubmissionAddr(), nil, auth, "ann@example.test", []string{"zoe@example.net"}, "From: ann@example.test\r\n\r\nhi\r\n")
	srv.Wait(soon(t), mailtest.Left().To("zoe@example.net"))
}

// TestWaitTellsWhy: who reads the failure knows what to mend.
func TestWaitTellsWhy(t *testing.T) {
	f := &failing{TB: t}
	srv := mailtest.New(f)
	send(t, srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{"ann@example.test"}, text)
	srv.Wait(soon(t), mailtest.Any())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() {
		recover()
		for _, want := range []string{
			"0 of 1 came", `ann@example.test INBOX: from "zoe@example.net", subject "hello"`,
			"went to ann@example.test, not bob@example.test", `Subject is "hello", without "Welcome"`, "is not with a link",
		} {
			if !strings.Contains(f.said, want) {
				t.Errorf("no %q in\n%s", want, f.said)
			}
		}
	}()
	srv.Wait(ctx, mailtest.To("bob@example.test").Subject("Welcome").Where("with a link", func(*mailtest.Message) bool { return false }))
	t.Error("it waited for a message that never came")
}

func TestPatience(t *testing.T) {
	f := &failing{TB: t}
	srv := mailtest.New(f, mailtest.Options{Patience: time.Millisecond})
	defer func() {
		if recover(); !strings.Contains(f.said, "arrived: nothing") {
			t.Error(f.said)
		}
	}()
	srv.Wait(t.Context(), mailtest.Any())
	t.Error("it waited for ever")
}

// TestAssertNoneIsExact: a message of which the last byte is still to come counts,
// and so does one that is filed while AssertNone looks.
func TestAssertNoneIsExact(t *testing.T) {
	f := &failing{TB: t}
	srv := mailtest.New(f)
	srv.AssertNone(soon(t), mailtest.Any())
	nc, err := net.Dial("tcp", srv.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := textproto.NewConn(nc)
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"HELO me", 250}, {"MAIL FROM:<z@example.net>", 250}, {"RCPT TO:<ann@example.test>", 250}, {"DATA", 354}} {
		if step.say != "" {
			c.PrintfLine("%s", step.say)
		}
		if _, _, err := c.ReadResponse(step.code); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan string)
	ctx := soon(t)
	go func() {
		defer func() { recover(); done <- f.said }()
		srv.AssertNone(ctx, mailtest.Any())
	}()
	c.PrintfLine("Subject: late\r\n\r\nx\r\n.")
	if said := <-done; !strings.Contains(said, "there are 1") {
		t.Errorf("said %q", said)
	}
}

// TestSettleAfterABrokenTransaction: who hangs up in the middle is not waited for.
func TestSettleAfterABrokenTransaction(t *testing.T) {
	srv := mailtest.New(t)
	for _, until := range []string{"MAIL FROM:<z@example.net>\r\n", "MAIL FROM:<z@example.net>\r\nRCPT TO:<a@example.test>\r\nDATA\r\n", "MAIL FROM:<z@example.net>\r\nRSET\r\n", "MAIL FROM:<z@example.net>\r\nRCPT TO:<a@example.test>\r\nBDAT 10\r\nab"} {
		nc, err := net.Dial("tcp", srv.SMTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(nc, "EHLO me\r\n%s", until)
		nc.Close()
	}
	srv.AssertNone(soon(t), mailtest.Any())
}

func TestForget(t *testing.T) {
	srv := mailtest.New(t)
	for i := range 3 {
		send(t, srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{"ann@example.test"}, fmt.Sprintf("Subject: %d\r\n\r\n", i))
		if m := srv.Wait(soon(t), mailtest.Any()); m.Header("Subject") != fmt.Sprint(i) {
			t.Errorf("%d: %v", i, m)
		}
		srv.Forget()
	}
	srv.AssertNone(soon(t), mailtest.Any())
}

// TestManyWait: many wait for many at once, and each gets its own.
func TestManyWait(t *testing.T) {
	srv := mailtest.New(t)
	ctx := soon(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			subject := fmt.Sprintf("<%d>", i)
			if err := trySend(srv.SMTPAddr(), nil, nil, "zoe@example.net", []string{fmt.Sprintf("u%d@example.test", i%7)}, "Subject: "+subject+"\r\n\r\n"); err != nil {
				t.Error(err)
				return
			}
			if m := srv.Wait(ctx, mailtest.Subject(subject)); m == nil || m.Header("Subject") != subject {
				t.Errorf("%d: %v", i, m)
			}
		})
	}
	wg.Wait()
	if n := len(srv.Messages(mailtest.Any())); n != 100 {
		t.Errorf("%d messages", n)
	}
}
