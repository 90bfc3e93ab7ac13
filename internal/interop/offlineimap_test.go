package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// TestOfflineimap mirrors mailboxes in a Maildir, both ways.
func TestOfflineimap(t *testing.T) {
	peers.Need(t, "offlineimap")
	o := office(t)
	fill(t, o, ann, 25)
	dir := t.TempDir()
	rc := file(t, dir, "rc", fmt.Sprintf(`[general]
accounts = office
metadata = %[1]s/state
ui = basic
[Account office]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %[1]s/mail
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = %[2]s
remoteuser = %[3]s
remotepass = %[4]s
ssl = yes
cert_fingerprint = %[5]s
folderfilter = lambda name: name in ("INBOX", "Work")
`, dir, port(t, o.IMAPS), ann, password, fingerprint(t, filepath.Join(o.Dir, "tls.pem"))))
	sync := func() string {
		t.Helper()
		return peers.Command{Name: "offlineimap", Args: []string{"-c", rc, "-o", "-1"}, Dir: dir}.MustRun(t)
	}
	c := login(t, o, ann)
	if err := c.Create("Work", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	sync()
	inbox := filepath.Join(dir, "mail", "INBOX")
	here := files(t, inbox)
	if len(here) != 25 {
		t.Fatalf("%d messages came, want 25", len(here))
	}
	if out := sync(); strings.Contains(out, "Copy message") || len(files(t, inbox)) != 25 {
		t.Errorf("the second time something was copied:\n%s", out)
	}
	// What changes here goes there: one message more, one read, one deleted.
	if err := os.WriteFile(filepath.Join(inbox, "new", "1.1.here"), []byte("Subject: written here\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(filepath.Base(here[0]), ":2,")
	if err := os.Rename(here[0], filepath.Join(inbox, "cur", name+":2,FS")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(here[1]); err != nil {
		t.Fatal(err)
	}
	sync()
	messages := mailbox(t, o, ann, "INBOX")
	if len(messages) != 25 {
		t.Errorf("%d messages there, want 25", len(messages))
	}
	has(t, messages, "Subject: written here")
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagFlagged, imap.FlagSeen}}, nil).Wait()
	if err != nil || len(found.AllUIDs()) != 1 {
		t.Errorf("%v flagged and seen, error %v; want 1", found, err)
	}
}
