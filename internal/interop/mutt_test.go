package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

func TestMutt(t *testing.T) { mutt(t, "mutt") }

func TestNeomutt(t *testing.T) { mutt(t, "neomutt", "set imap_qresync=yes imap_condstore=yes") }

// mutt writes a mail, and then, in a terminal, opens the INBOX, saves the mail to
// another mailbox that it makes, and leaves.
func mutt(t *testing.T, program string, more ...string) {
	peers.Need(t, program, "script")
	o := office(t)
	dir := t.TempDir()
	rc := file(t, dir, "muttrc", fmt.Sprintf(`set from=%[1]s realname="Ann" use_from=yes
set imap_user=%[1]s imap_pass="%[2]s"
set folder=imaps://%[3]s/ spoolfile=imaps://%[3]s/INBOX
set smtp_url=smtps://ann%%40example.test@%[4]s/ smtp_pass="%[2]s"
set certificate_file=%[5]s ssl_verify_host=no ssl_verify_dates=no
set record= copy=no confirmappend=no confirmcreate=no
set delete=yes quit=yes move=no wait_key=no timeout=5 mail_check=1
%[6]s
`, ann, password, o.IMAPS, o.Submissions, filepath.Join(o.Dir, "tls.pem"), strings.Join(more, "\n")))
	peers.Command{Name: program, Dir: dir, Args: []string{"-n", "-F", rc, "-s", "Grüße from " + program, "-a", rc, "--", ann}, Stdin: "hello\n"}.MustRun(t)
	has(t, mailbox(t, o, ann, "INBOX"), "from "+program)

	script := file(t, dir, "run", fmt.Sprintf(`exec %s -n -F %s -e 'push "<first-entry><save-message><kill-line>=kept<enter><sync-mailbox><quit>"'`, program, rc))
	if out, err := (peers.Command{Name: "script", Dir: dir, Args: []string{"-qec", "sh " + script, os.DevNull}}).Run(t); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left := mailbox(t, o, ann, "INBOX"); len(left) != 0 {
		t.Errorf("%d messages are left in INBOX", len(left))
	}
	has(t, mailbox(t, o, ann, "kept"), "from "+program)
}
