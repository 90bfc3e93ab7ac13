package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/peers"
	"github.com/mailkeel/mailkeel/internal/testoffice"
)

// fill appends n messages to the INBOX of a user.
func fill(t *testing.T, o *testoffice.Office, user string, n int) {
	t.Helper()
	c := login(t, o, user)
	for i := range n {
		m := letter("zoe@example.org", user, fmt.Sprintf("number %d", i), strings.Repeat("text\n", i+1))
		a := c.Append("INBOX", int64(len(m)), &imap.AppendOptions{})
		if _, err := a.Write([]byte(m)); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// files are the messages of a Maildir.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	for _, d := range []string{"cur", "new"} {
		m, err := filepath.Glob(filepath.Join(dir, d, "*"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m...)
	}
	return out
}

func TestMbsync(t *testing.T) {
	peers.Need(t, "mbsync")
	o := office(t)
	fill(t, o, ann, 25)
	dir := t.TempDir()
	rc := file(t, dir, "rc", fmt.Sprintf(`IMAPAccount office
Host 127.0.0.1
Port %s
User %s
Pass "%s"
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account office

MaildirStore near
Path %s/mail/
Inbox %s/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, port(t, o.IMAPS), ann, password, filepath.Join(o.Dir, "tls.pem"), dir, dir))
	if err := os.MkdirAll(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	sync := func() string {
		t.Helper()
		return peers.Command{Name: "mbsync", Args: []string{"-c", rc, "-V", "all"}, Dir: dir}.MustRun(t)
	}
	sync()
	inbox := filepath.Join(dir, "mail", "INBOX")
	if n := len(files(t, inbox)); n != 25 {
		t.Fatalf("%d messages came, want 25", n)
	}
	state := func() string { b, _ := os.ReadFile(filepath.Join(inbox, ".mbsyncstate")); return string(b) }
	before := state()
	sync()
	if state() != before || len(files(t, inbox)) != 25 {
		t.Errorf("the second sync changed something:\n%s\n%s", before, state())
	}
	// What changes here goes there: one more message, one read, one deleted.
	here := files(t, inbox)
	if err := os.WriteFile(filepath.Join(inbox, "new", "1.1.here"), []byte("Subject: written here\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rename := func(old, flags string) {
		t.Helper()
		name, _, _ := strings.Cut(filepath.Base(old), ":2,")
		if err := os.Rename(old, filepath.Join(inbox, "cur", name+":2,"+flags)); err != nil {
			t.Fatal(err)
		}
	}
	rename(here[0], "FS")
	rename(here[1], "T")
	sync()
	messages := mailbox(t, o, ann, "INBOX")
	if len(messages) != 25 {
		t.Errorf("%d messages there, want 25", len(messages))
	}
	has(t, messages, "Subject: written here")
	c := login(t, o, ann)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagFlagged, imap.FlagSeen}}, nil).Wait()
	if err != nil || len(found.AllUIDs()) != 1 {
		t.Errorf("%v flagged and seen, error %v; want 1", found, err)
	}
}
