package peers_test

import (
	"net/smtp"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

func TestPostfixAcceptsAndHolds(t *testing.T) {
	peers.NeedRoot(t)
	peers.Need(t, "postfix")
	p, err := peers.StartPostfix(t.Context(), t.TempDir(), "smtpd_client_restrictions = static:HOLD", "default_transport = smtp")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := smtp.SendMail(p.Addr, nil, "a@example.org", []string{"b@example.net"}, []byte("Subject: x\r\n\r\ny\r\n")); err != nil {
		t.Fatal(err, p.Log())
	}
	if n := p.Waiting(); n != 1 {
		t.Errorf("%d messages in the queue, want 1", n)
	}
}
