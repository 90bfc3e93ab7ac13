package interop

import (
	"bytes"
	"crypto/sha512"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/internal/testoffice"
)

const (
	ann      = "ann@example.test"
	bob      = "bob@example.test"
	password = "correct horse battery"
)

// office starts postoffice with two accounts.
func office(t *testing.T, args ...string) *testoffice.Office {
	t.Helper()
	return testoffice.Start(t, append([]string{
		"-hostname", "mx.example.test", "-domain", "example.test",
		"-account", ann + ":" + password, "-account", bob + ":" + password,
	}, args...)...)
}

// anyCertificate trusts the server, whose certificate signs itself.
func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// port is that of a host:port.
func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// file writes text into the test's folder dir, readable by its owner alone: some
// programs refuse passwords that others can read.
func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// login opens a session as a user, by the library's own client, to see what is
// really there.
func login(t *testing.T, o *testoffice.Office, user string) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialTLS(o.IMAPS, &imapclient.Options{TLSConfig: anyCertificate()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(user, password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// mailbox returns the whole messages of a mailbox in order of UID.
func mailbox(t *testing.T, o *testoffice.Office, user, name string) (out [][]byte) {
	t.Helper()
	c := login(t, o, user)
	sel, err := c.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if sel.NumMessages == 0 {
		return nil
	}
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		out = append(out, m.BodySection[0].Bytes)
	}
	return out
}

// has ends the test unless exactly one of messages contains text, and returns it.
func has(t *testing.T, messages [][]byte, text string) []byte {
	t.Helper()
	var found []byte
	n := 0
	for _, m := range messages {
		if bytes.Contains(m, []byte(text)) {
			found = m
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d of %d messages contain %q, want 1:\n%s", n, len(messages), text, bytes.Join(messages, []byte("\n----\n")))
	}
	return found
}

// letter is a small message with CRLF.
func letter(from, to, subject, text string) string {
	return strings.ReplaceAll(fmt.Sprintf("From: <%s>\nTo: <%s>\nSubject: %s\nDate: Fri, 02 Jan 2026 03:04:05 +0000\nMessage-ID: <%x@example.test>\n\n%s\n",
		from, to, subject, subject, text), "\n", "\r\n")
}

// fingerprint is how some programs know a certificate.
func fingerprint(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return fmt.Sprintf("%x", sha512.Sum512(block.Bytes))
		}
	}
	t.Fatalf("no certificate in %s", path)
	return ""
}
