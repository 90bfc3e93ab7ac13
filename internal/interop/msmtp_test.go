package interop

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

func TestMsmtp(t *testing.T) {
	peers.Need(t, "msmtp")
	o := office(t)
	dir := t.TempDir()
	rc := file(t, dir, "msmtprc", fmt.Sprintf(`defaults
auth on
user %s
password %s
from %s
tls on
tls_certcheck off
account starttls
host 127.0.0.1
port %s
tls_starttls on
account implicit
host 127.0.0.1
port %s
tls_starttls off
`, ann, password, ann, port(t, o.Submission), port(t, o.Submissions)))
	for _, account := range []string{"starttls", "implicit"} {
		peers.Command{Name: "msmtp", Args: []string{"-C", rc, "-a", account, bob},
			Stdin: "From: " + ann + "\nTo: " + bob + "\nBcc: secret@example.test\nSubject: by " + account + "\n\n.a line that begins with a dot\n"}.MustRun(t)
		m := has(t, mailbox(t, o, bob, "INBOX"), "Subject: by "+account)
		if !bytes.Contains(m, []byte("\r\n.a line that begins with a dot\r\n")) {
			t.Errorf("the dot was changed:\n%s", m)
		}
		if bytes.Contains(m, []byte("secret@")) {
			t.Errorf("Bcc is shown:\n%s", m)
		}
	}
}
