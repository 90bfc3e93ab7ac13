package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// TestGetmail fetches over IMAP, remembers what it has, and deletes.
func TestGetmail(t *testing.T) {
	peers.Need(t, "getmail")
	o := office(t)
	fill(t, o, ann, 5)
	dir := t.TempDir()
	box := file(t, dir, "box", "")
	run := func(remove bool) {
		t.Helper()
		file(t, dir, "rc", fmt.Sprintf(`[retriever]
type = SimpleIMAPSSLRetriever
server = 127.0.0.1
port = %s
username = %s
password = %s
mailboxes = ("INBOX",)
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >> %s")
allow_root_commands = true
[options]
read_all = false
delete = %v
`, port(t, o.IMAPS), ann, password, box, remove))
		peers.Command{Name: "getmail", Args: []string{"--getmaildir", dir, "--rcfile", filepath.Join(dir, "rc")}, Dir: dir}.MustRun(t)
	}
	run(false)
	run(false) // nothing is new
	got, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	if n := subjects(got); n != 5 {
		t.Errorf("%d messages came, want 5:\n%s", n, got)
	}
	run(true)
	if left := mailbox(t, o, ann, "INBOX"); len(left) != 0 {
		t.Errorf("%d messages are left", len(left))
	}
}
