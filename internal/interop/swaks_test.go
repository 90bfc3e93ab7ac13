package interop

import (
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/peers"
)

func TestSwaks(t *testing.T) {
	peers.Need(t, "swaks")
	o := office(t)
	swaks := func(args ...string) (string, error) {
		return peers.Command{Name: "swaks", Args: append([]string{"--helo", "client.example"}, args...)}.Run(t)
	}
	login := []string{"--auth-user", ann, "--auth-password", password, "--from", ann}
	for _, tt := range []struct {
		name string
		args []string
		want string // in the transcript
		fail bool
	}{
		{"mail comes in", []string{"--server", o.SMTP, "--from", "zoe@example.org", "--to", ann, "--header", "Subject: from swaks"}, "<-  250 2.0.0", false},
		{"from another address", []string{"--server", o.SMTP, "--local-interface", "127.0.0.7", "--from", "zoe@example.org", "--to", bob}, "<-  250 2.0.0", false},
		{"with STARTTLS", []string{"--server", o.SMTP, "--tls", "--from", "", "--to", ann}, "<~  250 2.0.0", false},
		{"unknown user", []string{"--server", o.SMTP, "--from", "zoe@example.org", "--to", "nobody@example.test"}, "550 5.1.1", true},
		{"no relay", []string{"--server", o.SMTP, "--from", "zoe@example.org", "--to", "x@example.net"}, "550 5.7.1", true},
		{"submission needs a login", []string{"--server", o.Submission, "--tls", "--from", ann, "--to", bob}, "530 5.7.0", true},
		{"no password in clear", append(login, "--server", o.Submission, "--auth", "PLAIN", "--to", bob), "", true},
		{"AUTH PLAIN", append(login, "--server", o.Submission, "--tls", "--auth", "PLAIN", "--to", bob, "--header", "Subject: plain"), "235 2.7.0", false},
		{"AUTH LOGIN on implicit TLS", append(login, "--server", o.Submissions, "--tls-on-connect", "--auth", "LOGIN", "--to", bob, "--header", "Subject: login"), "235 2.7.0", false},
		{"someone else's address", []string{"--server", o.Submission, "--tls", "--auth", "PLAIN", "--auth-user", ann, "--auth-password", password, "--from", bob, "--to", bob}, "5.7.1", true},
		{"wrong password", []string{"--server", o.Submission, "--tls", "--auth", "PLAIN", "--auth-user", ann, "--auth-password", "no", "--from", ann, "--to", bob}, "535 5.7.8", true},
		{"pipelined", []string{"--server", o.SMTP, "--pipeline", "--from", "zoe@example.org", "--to", ann + "," + bob, "--header", "Subject: to both"}, "<-  250 2.0.0", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := swaks(tt.args...)
			if (err != nil) != tt.fail || !strings.Contains(out, tt.want) {
				t.Errorf("error %v, want %v; no %q in:\n%s", err, tt.fail, tt.want, out)
			}
		})
	}
	inbox := mailbox(t, o, bob, "INBOX")
	for _, subject := range []string{"Subject: plain", "Subject: login", "Subject: to both"} {
		has(t, inbox, subject)
	}
	if m := has(t, mailbox(t, o, ann, "INBOX"), "Subject: from swaks"); !strings.Contains(string(m), "Received: from client.example (localhost [127.0.0.1])\r\n\tby mx.example.test (mailkeel) with ESMTP id ") {
		t.Errorf("no Received field in Postfix's shape:\n%s", m)
	}
}
