package interop

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/peers"
	"github.com/mailkeel/mailkeel/internal/testoffice"
)

// exchanged is how many messages go each way.
const exchanged = 50

// body is what message n must arrive with: lines with dots, long lines, bytes
// above 127, and blank lines at its end.
func body(n int) string {
	r := rand.New(rand.NewSource(int64(n)))
	var b strings.Builder
	fmt.Fprintf(&b, "body of message %03d\r\n.\r\n..\r\n.dot\r\n\r\n", n)
	for range r.Intn(200) {
		line := make([]byte, r.Intn(300))
		for i := range line {
			const chars = "abcdefghijklmnopqrstuvwxyz .=\t\xc3\xa9"
			line[i] = chars[r.Intn(len(chars)-2)]
		}
		b.Write(bytes.TrimRight(line, " \t"))
		b.WriteString("\r\n")
	}
	b.WriteString("é ☃\r\n\r\n\r\n")
	return b.String()
}

func message(n int) string {
	return fmt.Sprintf("From: <ann@example.test>\r\nTo: <%s>\r\nSubject: number %03d\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <%d@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s", ann, n, n, body(n))
}

// await calls done until it says yes.
func await(t *testing.T, p *peers.Postfix, what string, done func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !done() {
		select {
		case <-time.After(50 * time.Millisecond): // the other side is a real program: there is nothing to wait on
		case <-deadline:
			t.Fatalf("%s: not after two minutes\n%s", what, p.Log())
		}
	}
}

// same reports what message n has before its own bytes, and fails if those differ.
func same(t *testing.T, n int, got []byte) {
	t.Helper()
	if !bytes.HasSuffix(got, []byte(message(n))) {
		t.Errorf("message %d was changed on its way:\n%.2000q\nwant at its end\n%.2000q", n, got, message(n))
	}
}

func TestPostfixSendsToUs(t *testing.T) {
	peers.NeedRoot(t)
	peers.Need(t, "postfix")
	o := office(t)
	p, err := peers.StartPostfix(t.Context(), t.TempDir(),
		"default_transport = smtp:[127.0.0.1]:"+port(t, o.SMTP), "smtp_tls_security_level = may", "always_add_missing_headers = no")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	for n := range exchanged {
		if err := smtp.SendMail(p.Addr, nil, "zoe@example.org", []string{ann}, []byte(message(n))); err != nil {
			t.Fatal(err)
		}
	}
	await(t, p, "the queue of Postfix is empty", func() bool { return p.Waiting() == 0 })
	checkAll(t, mailbox(t, o, ann, "INBOX"))
	if strings.Contains(p.Log(), "status=deferred") || strings.Contains(p.Log(), "status=bounced") {
		t.Errorf("Postfix was not pleased:\n%s", p.Log())
	}
}

// checkAll finds each of the messages once.
func checkAll(t *testing.T, messages [][]byte) {
	t.Helper()
	if len(messages) != exchanged {
		t.Errorf("%d messages came, want %d", len(messages), exchanged)
	}
	for n := range exchanged {
		same(t, n, has(t, messages, fmt.Sprintf("Subject: number %03d\r\n", n)))
	}
}

// TestPostfixReceivesFromUs submits to postoffice, whose smart host is a Postfix
// that files mail in a Maildir.
func TestPostfixReceivesFromUs(t *testing.T) {
	peers.NeedRoot(t)
	peers.Need(t, "postfix")
	dir := t.TempDir()
	boxes := filepath.Join(dir, "boxes")
	if err := os.Mkdir(boxes, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(boxes, 0o777); err != nil {
		t.Fatal(err)
	}
	p, err := peers.StartPostfix(t.Context(), filepath.Join(dir, "postfix"), "virtual_mailbox_domains = example.net", "virtual_mailbox_base = "+boxes,
		"virtual_mailbox_maps = static:cat/", "virtual_minimum_uid = 1", "virtual_uid_maps = static:65534", "virtual_gid_maps = static:65534")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	o := office(t, "-relay", p.Addr)
	send(t, o, "cat@example.net")
	maildir := filepath.Join(boxes, "cat")
	await(t, p, "all have come", func() bool { return len(files(t, maildir)) >= exchanged && p.Waiting() == 0 })
	var messages [][]byte
	for _, f := range files(t, maildir) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))) // Maildir has bare LF
	}
	checkAll(t, messages)
}

// send submits all messages as ann: the From field names her too.
func send(t *testing.T, o *testoffice.Office, to string) {
	t.Helper()
	c, err := smtp.Dial(o.Submission)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", ann, password, "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	for n := range exchanged {
		if err := c.Mail(ann); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt(to); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(message(n))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
