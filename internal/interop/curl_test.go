package interop

import (
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

func TestCurl(t *testing.T) {
	peers.Need(t, "curl")
	o := office(t)
	dir := t.TempDir()
	mail := file(t, dir, "mail", letter("zoe@example.org", ann, "from curl", "hello"))
	curl := func(args ...string) string {
		t.Helper()
		return peers.Command{Name: "curl", Args: append([]string{"-sSk", "--max-time", "60"}, args...)}.MustRun(t)
	}
	user := ann + ":" + password
	curl("--url", "smtp://"+o.SMTP, "--mail-from", "zoe@example.org", "--mail-rcpt", ann, "-T", mail)
	curl("--url", "smtp://"+o.Submission, "--ssl-reqd", "-u", user, "--mail-from", ann, "--mail-rcpt", bob, "-T", file(t, dir, "mail2", letter(ann, bob, "submitted", "hello")))
	curl("--url", "smtps://"+o.Submissions, "-u", user, "--mail-from", ann, "--mail-rcpt", bob, "-T", file(t, dir, "mail3", letter(ann, bob, "submitted with tls", "hello")))
	has(t, mailbox(t, o, bob, "INBOX"), "Subject: submitted\r")
	has(t, mailbox(t, o, bob, "INBOX"), "Subject: submitted with tls")

	for _, base := range []string{"imap://" + o.IMAP, "imaps://" + o.IMAPS} {
		imap := func(args ...string) string {
			t.Helper()
			return curl(append([]string{"--ssl-reqd", "-u", user}, args...)...)
		}
		if out := imap(base + "/"); !strings.Contains(out, `INBOX`) {
			t.Errorf("LIST: %s", out)
		}
		if out := imap(base + "/INBOX;UID=1"); !strings.HasSuffix(out, letter("zoe@example.org", ann, "from curl", "hello")) {
			t.Errorf("the message: %q", out)
		}
		if out := imap(base + "/INBOX;UID=1;SECTION=TEXT"); out != "hello\r\n" {
			t.Errorf("its text: %q", out)
		}
		if out := imap(base+"/INBOX", "-X", `SEARCH SUBJECT "from curl"`); strings.TrimSpace(out) != "* SEARCH 1" {
			t.Errorf("SEARCH: %q", out)
		}
		if out := imap(base, "-X", "EXAMINE INBOX"); !strings.Contains(out, "1 EXISTS") {
			t.Errorf("EXAMINE: %q", out)
		}
	}
	curl("--ssl-reqd", "-u", user, "imap://"+o.IMAP, "-X", `CREATE "my mail"`)
	curl("--ssl-reqd", "-u", user, "imap://"+o.IMAP+"/my%20mail", "-T", mail)
	has(t, mailbox(t, o, ann, "my mail"), "Subject: from curl")
	if out, err := (peers.Command{Name: "curl", Args: []string{"-sSk", "--ssl-reqd", "-u", ann + ":wrong", "imap://" + o.IMAP + "/"}}).Run(t); err == nil {
		t.Errorf("a wrong password was taken: %s", out)
	}
}
