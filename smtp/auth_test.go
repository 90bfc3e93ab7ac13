package smtp_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/smtp"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// RFC 4954, 4: where AUTH may stand, and what ends an exchange without a login.
func TestAuthStates(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Auth, s.InsecureAuth = users(), true })
	right := "AUTH PLAIN " + b64("\x00ann@example.org\x00secret-a1")
	relay := func(p *peer, want string) {
		t.Helper()
		p.do("MAIL FROM:<ann@example.org>", "250", "RCPT TO:<x@elsewhere.example>", want, "RSET", "250")
	}

	p := dial(t, r.addr)
	p.want("220")
	p.do(right, "503 5.5.1", "EHLO x", "250", "MAIL FROM:<zoe@example.net>", "250", right, "503 5.5.1", "RCPT TO:<ann@example.org>", "250", right, "503 5.5.1", "RSET", "250")
	relay(p, "550 5.7.1")
	// Neither an end nor nonsense in the middle is a login.
	p.do("AUTH PLAIN", "334 ", "*", "501 5.7.0", "AUTH LOGIN "+b64("ann@example.org"), "334 ", "no base64!", "501 5.5.2", "AUTH PLAIN", "334 ", strings.Repeat("A", 13000), "501 ")
	relay(p, "550 5.7.1")
	p.do(right, "235", right, "503 5.5.1", "EHLO again", "250")
	relay(p, "250")
	// STARTTLS forgets who it was (RFC 3207, 4.2).
	p.do("STARTTLS", "220")
	p.startTLS()
	p.do("EHLO x", "250")
	relay(p, "550 5.7.1")
	p.do(right, "235")
	relay(p, "250")
}

// The proof was right, but the client, who may have found that ours is wrong, ends the
// exchange (RFC 5802, 5).
func TestSCRAMEndedByTheClientIsNoLogin(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Submission, s.Auth, s.InsecureAuth = true, users(), true })
	for end, want := range map[string]string{"*": "530 5.7.0", b64("more"): "530 5.7.0", "": "250"} {
		p := dial(t, r.addr).hello()
		client, err := scram.SHA256.NewClient("ann@example.org", "secret-a1", "")
		if err != nil {
			t.Fatal(err)
		}
		conv := client.NewConversation()
		line, challenge := "AUTH SCRAM-SHA-256 ", ""
		for range 2 {
			msg, err := conv.Step(challenge)
			if err != nil {
				t.Fatal(err)
			}
			p.send(line + b64(msg) + "\r\n")
			got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.want("334 "), "334 "))
			if err != nil {
				t.Fatal(err)
			}
			line, challenge = "", string(got)
		}
		if _, err := conv.Step(challenge); err != nil || !conv.Valid() {
			t.Fatalf("the server's proof: %v", err)
		}
		p.send(end + "\r\n")
		if got := p.reply(); strings.HasPrefix(got, "235") != (end == "") {
			t.Errorf("%q: %s", end, got)
		}
		p.do("MAIL FROM:<ann@example.org>", want)
	}
}
