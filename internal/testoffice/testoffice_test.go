package testoffice_test

import (
	"crypto/tls"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testoffice"
)

func TestAProcessThatServes(t *testing.T) {
	office := testoffice.Start(t, "-domain", "x.test", "-account", "ann@x.test:secret-1", "-imap", "")
	if office.IMAP != "" || office.IMAPS == "" || office.LMTP != "" {
		t.Errorf("doors %+v", office)
	}
	send := func() {
		t.Helper()
		c, err := smtp.Dial(office.SMTP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
			t.Fatal(err)
		}
		if err := c.Mail("zoe@example.net"); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt("ann@x.test"); err != nil {
			t.Fatal(err)
		}
	}
	send()
	out, _, code := office.Run("account", "list")
	if code != 0 || !strings.Contains(out, "ann@x.test") {
		t.Errorf("%d %s", code, out)
	}
	was := office.SMTP
	office.Stop()
	office.Restart()
	if office.SMTP != was {
		t.Errorf("listens at %s, was at %s", office.SMTP, was)
	}
	send()
	office.Kill()
	office.Restart("-imap", "127.0.0.1:0")
	if office.IMAP == "" {
		t.Error("IMAP is off")
	}
	if _, err := os.Stat(filepath.Join(office.Dir, "mail.db")); err != nil {
		t.Error(err)
	}
	office.Stop()
	if _, err := os.Stat(filepath.Join(office.Dir, "control")); err == nil {
		t.Error("the socket is left behind")
	}
}
