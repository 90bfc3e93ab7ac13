package peers_test

import (
	"bufio"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/peers"
)

// Postfix takes a message in, Dovecot files it, and shows it.
func TestPostfixHandsToDovecot(t *testing.T) {
	peers.NeedRoot(t)
	peers.Need(t, "postfix", "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		peers.Missing(t, "dovecot-lmtpd is not installed")
	}
	// The path of a socket is at most some 100 bytes long.
	dir, err := os.MkdirTemp("", "dv")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := peers.StartDovecot(t.Context(), dir, "mdbox")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	}()
	p, err := peers.StartPostfix(t.Context(), t.TempDir(), "virtual_mailbox_domains = example.test", "virtual_transport = lmtp:unix:"+d.LMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := smtp.SendMail(p.Addr, nil, "a@example.org", []string{"u1@example.test"}, []byte("Subject: x\r\n\r\ny\r\n")); err != nil {
		t.Fatal(err, p.Log())
	}
	for n := 1; n > 0; n = p.Waiting() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(p.Log(), d.Log())
		}
		if strings.Contains(p.Log(), "status=deferred") || strings.Contains(p.Log(), "status=bounced") {
			t.Fatal(p.Log(), d.Log())
		}
	}
	conn, err := net.Dial("tcp", d.IMAP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "a LOGIN u1@example.test pass\r\nb SELECT INBOX\r\nc LOGOUT\r\n")
	var out strings.Builder
	if _, err := bufio.NewReader(conn).WriteTo(&out); err != nil || !strings.Contains(out.String(), "* 1 EXISTS") {
		t.Errorf("%v\n%s\n%s%s", err, &out, p.Log(), d.Log())
	}
}
