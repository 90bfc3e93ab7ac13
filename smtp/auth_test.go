package smtp_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel/accounts"
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

// RFC 7628, 4.4: tokens, and what is said of one that is not good. A client that is
// told so and then ends the exchange has failed all the same.
func TestTokens(t *testing.T) {
	d := users()
	d.Tokens = func(_ context.Context, a accounts.Attempt) (string, []string, error) {
		if a.Password == "dG9rZW4=" {
			return "ann@example.org", []string{"submission"}, nil
		}
		return "", nil, accounts.ErrBadCredentials
	}
	r := newRig(t, func(s *smtp.Server) { s.Submission, s.Auth, s.InsecureAuth = true, d, true })
	bearer := func(token string) string { return b64("n,a=ann@example.org,\x01auth=Bearer " + token + "\x01\x01") }
	told := "334 " + b64(`{"status":"invalid_token","schemes":"bearer"}`)
	for _, line := range []string{"AUTH OAUTHBEARER " + bearer("dG9rZW4="), "AUTH XOAUTH2 " + b64("user=ann@example.org\x01auth=Bearer dG9rZW4=\x01\x01")} {
		p := dial(t, r.addr).hello()
		p.do(line, "235", "MAIL FROM:<ann@example.org>", "250")
	}
	p := dial(t, r.addr).hello()
	p.do("AUTH OAUTHBEARER "+bearer("stale"), told, b64("\x01"), "535 5.7.8")
	p.do("AUTH OAUTHBEARER", "334 ", bearer("stale"), told, "*", "501 5.7.0")
	p.do("MAIL FROM:<ann@example.org>", "530")
	p.do("AUTH OAUTHBEARER "+bearer("stale"), told, "*", "535 5.7.8")
	p.want("421 4.7.0")
}

// SCRAM-SHA-256-PLUS after STARTTLS (RFC 5802, 6).
func TestSCRAMPlus(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Submission, s.Auth, s.ChannelBinding = true, users(), true })
	for _, kind := range []string{"tls-exporter", "tls-server-end-point", "other connection"} {
		p := dial(t, r.addr).hello()
		p.do("STARTTLS", "220")
		p.startTLS()
		p.do("EHLO x", "250")
		st := p.conn.(*tls.Conn).ConnectionState()
		b, err := scram.NewTLSExporterBinding(&st)
		if kind == "tls-server-end-point" {
			b, err = scram.NewTLSServerEndpointBinding(&st)
		}
		if err != nil {
			t.Fatal(err)
		}
		if kind == "other connection" {
			b.Data[0] ^= 1
		}
		client, err := scram.SHA256.NewClient("ann@example.org", "secret-a1", "")
		if err != nil {
			t.Fatal(err)
		}
		conv := client.NewConversationWithChannelBinding(b)
		msg, err := conv.Step("")
		if err != nil {
			t.Fatal(err)
		}
		p.send("AUTH SCRAM-SHA-256-PLUS " + b64(msg) + "\r\n")
		got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.want("334 "), "334 "))
		if err != nil {
			t.Fatal(err)
		}
		if msg, err = conv.Step(string(got)); err != nil {
			t.Fatal(err)
		}
		p.send(b64(msg) + "\r\n")
		if kind == "other connection" {
			p.want("535 5.7.8")
			continue
		}
		p.want("334 ")
		p.do("", "235", "MAIL FROM:<ann@example.org>", "250")
	}
}

// T23: the engine's base64 is lax, ours is strict.
func TestStrictBase64(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Submission, s.Auth, s.InsecureAuth = true, users(), true })
	right := b64("\x00ann@example.org\x00secret-a1") // ends in "="
	last := len(right) - 2
	hidden := right[:last] + string(right[last]+1) + right[last+1:] // other bits after the end
	p := dial(t, r.addr).hello()
	for _, bad := range []string{hidden, strings.TrimRight(right, "="), right + "=", right + "AAAA", right[:8] + "." + right[8:], "!"} {
		p.do("AUTH PLAIN "+bad, "501 5.5.2", "AUTH PLAIN", "334 ", bad, "501 5.5.2")
	}
	p.do("AUTH PLAIN", "334 ", right[:8]+"\t"+right[8:], "501 5.5.2", "AUTH PLAIN "+right[:8]+" "+right[8:], "501 5.5.2", "AUTH PLAIN", "334 ", "=", "501 5.5.2")
	p.do("AUTH PLAIN =", "501 5.5.2", "AUTH PLAIN "+right, "235")
}
