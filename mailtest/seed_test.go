package mailtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailkeel/mailkeel/mailtest"
)

func TestSeedAndSave(t *testing.T) {
	srv := mailtest.New(t)
	n := srv.Seed("ann@example.test", "Old", fstest.MapFS{
		"1.eml":               {Data: []byte("Subject: one\n\nx\n")},
		"Work/2025.mbox":      {Data: []byte("From z@y Thu Jan  1 00:00:00 2026\nSubject: two\n\nx\n\nFrom z@y x\nSubject: three\n\n")},
		"bob@x.test/cur/1:2,": {Data: []byte("Subject: four\n\n")}, "bob@x.test/new/2": {Data: []byte("Subject: five\n\n")},
	})
	srv.Put("ann@example.test", "INBOX", "Subject: six\n\nx\n", `\Seen`, "work")
	if n != 5 {
		t.Errorf("%d messages", n)
	}
	srv.Settle(soon(t))
	where := func(srv *mailtest.Server) (out []string) {
		for _, m := range srv.Messages(mailtest.Any()) {
			out = append(out, m.Account+" "+m.Mailbox+" "+m.Header("Subject")+" "+strings.Join(m.Flags, ","))
		}
		slices.Sort(out)
		return out
	}
	want := []string{
		"ann@example.test INBOX six \\Seen,work", "ann@example.test Old one ", "ann@example.test Work/2025 three ", "ann@example.test Work/2025 two ",
		"bob@x.test INBOX five ", "bob@x.test INBOX four ",
	}
	if got := where(srv); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	dir := t.TempDir()
	if err := srv.Save(dir); err != nil {
		t.Fatal(err)
	}
	again := mailtest.New(t)
	again.Seed("", "", os.DirFS(dir))
	again.Settle(soon(t))
	if got := where(again); !slices.Equal(got, want) {
		t.Errorf("what was saved: %q", got)
	}
	// And people see it.
	c, err := imapclient.DialInsecure(again.IMAPAddr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann@example.test", "x").Wait(); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Status("Work/2025", &imap.StatusOptions{NumMessages: true}).Wait(); err != nil || *d.NumMessages != 2 {
		t.Error(d, err)
	}
}

// TestFailureIsSaved: who asks for it finds what the server held.
func TestFailureIsSaved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(mailtest.SaveEnv, dir)
	f := &ends{TB: t}
	srv := mailtest.New(f)
	if err := try(srv, "ann@example.test"); err != nil {
		t.Fatal(err)
	}
	srv.Wait(soon(t), mailtest.Any())
	f.end()
	got, err := filepath.Glob(filepath.Join(dir, "*", "ann@example.test", "INBOX", "*"))
	if err != nil || len(got) != 2 {
		t.Error(got, err)
	}
	sessions, err := filepath.Glob(filepath.Join(dir, "*", "session-001-smtp.txt"))
	if err != nil || len(sessions) != 1 {
		t.Fatal(sessions, err)
	}
	b, err := os.ReadFile(sessions[0])
	if err != nil || !strings.Contains(string(b), "C: MAIL FROM:<zoe@example.net>") || !strings.Contains(string(b), "S: 354 ") || !strings.Contains(string(b), "C: Subject: hello\n") {
		t.Errorf("%s %v", b, err)
	}
}

// ends is a test that has failed, and whose end can be seen.
type ends struct {
	testing.TB
	cleanup []func()
	logged  string
}

func (e *ends) Logf(format string, args ...any) { e.logged += fmt.Sprintf(format, args...) + "\n" }
func (e *ends) Failed() bool                    { return true }
func (e *ends) Cleanup(fn func())               { e.cleanup = append(e.cleanup, fn) }
func (e *ends) end() {
	for _, fn := range slices.Backward(e.cleanup) {
		fn()
	}
}

// TestTranscripts are of every door, also within TLS.
func TestTranscripts(t *testing.T) {
	srv := mailtest.New(t, mailtest.Options{STARTTLS: true})
	send(t, srv.SMTPAddr(), srv.ClientTLS(), nil, "zoe@example.net", []string{"ann@example.test"}, text)
	c, err := imapclient.DialTLS(srv.IMAPSAddr(), &imapclient.Options{TLSConfig: srv.ClientTLS()})
	if err != nil {
		t.Fatal(err)
	}
	c.Login("ann@example.test", "x").Wait()
	c.Logout().Wait()
	c.Close()
	talk(t, srv.POP3Addr(), "", "CAPA", "QUIT")
	var doors []string
	all := ""
	for _, s := range srv.Sessions() {
		doors = append(doors, s.Door)
		all += s.String()
	}
	if !slices.Equal(doors, []string{"smtp", "imaps", "pop3"}) {
		t.Error(doors)
	}
	for _, want := range []string{"C: STARTTLS\nS: 220 ", "C: RCPT TO:<ann@example.test>", "S: * OK", "LOGOUT", "C: CAPA", "S: +OK"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}
