package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

func TestFetchmail(t *testing.T) {
	peers.Need(t, "fetchmail")
	o := office(t)
	fill(t, o, ann, 5)
	dir := t.TempDir()
	box := filepath.Join(dir, "box")
	rc := file(t, dir, "rc", fmt.Sprintf(`set no bouncemail
poll 127.0.0.1 protocol IMAP port %s
  user "%s" password "%s" ssl sslproto "TLS1.2+" no sslcertck no keep fetchall
  mda "cat >> %s"
`, port(t, o.IMAPS), ann, password, box))
	fetch := func() (string, error) {
		return peers.Command{Name: "fetchmail", Args: []string{"-f", rc, "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids")}, Dir: dir}.Run(t)
	}
	if out, err := fetch(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(got), "\nSubject: number "); n != 5 {
		t.Errorf("%d messages came, want 5:\n%s", n, got)
	}
	if left := mailbox(t, o, ann, "INBOX"); len(left) != 0 {
		t.Errorf("%d messages are left", len(left))
	}
	// Exit status 1 says that there was no mail.
	if out, err := fetch(); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("a second time: %v\n%s", err, out)
	}
}
