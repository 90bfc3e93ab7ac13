package smtp_test

import (
	"encoding/base64"
	"net"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/dialog"
	"github.com/mailkeel/mailkeel/smtp"
)

func TestDialogs(t *testing.T) {
	dialog.RunFiles(t, "testdata/dialogs/*.txt", func(t *testing.T) *dialog.Runner {
		r := newRig(t, func(s *smtp.Server) {
			s.LMTP = strings.HasSuffix(t.Name(), "/lmtp")
			if strings.HasSuffix(t.Name(), "/submission") {
				s.Submission, s.Auth, s.InsecureAuth = true, users(), true
			}
		})
		return &dialog.Runner{Dial: func() (net.Conn, error) { return net.Dial("tcp", r.addr) }}
	})
}

// scramClient is the client's side of SCRAM, for go-sasl.
type scramClient struct{ conv *scram.ClientConversation }

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.conv.Step("")
	return "SCRAM-SHA-256", []byte(first), err
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	s, err := c.conv.Step(string(challenge))
	return []byte(s), err
}

func TestSCRAM(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Submission, s.Auth = true, users() })
	for _, tt := range []struct {
		password string
		ok       bool
	}{{"secret-a1", true}, {"secret-b2", false}} {
		conn, err := scram.SHA256.NewClient("ann@example.org", tt.password, "")
		if err != nil {
			t.Fatal(err)
		}
		c := gosmtp.NewClient(dialTLS(t, r.tls).conn)
		err = c.Auth(&scramClient{conn.NewConversation()})
		if (err == nil) != tt.ok {
			t.Fatalf("%q: %v", tt.password, err)
		}
		if !tt.ok {
			continue
		}
		if err := c.SendMail("ann@example.org", []string{"bob@example.org", "x@elsewhere.example"}, strings.NewReader("Subject: x\r\n\r\n.dot\r\n")); err != nil {
			t.Fatal(err)
		}
		if m := r.sink.all(); len(m) != 1 || m[0].env.Submitter != "a1" || m[0].body() != "Subject: x\r\n\r\n.dot\r\n" || len(m[0].env.Rcpts) != 2 {
			t.Errorf("%+v", m)
		}
		c.Quit()
	}
}

// The client of the engine, with all that it can do.
func TestClientOfTheEngine(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Submission, s.Auth = true, users() })
	c := gosmtp.NewClient(dialTLS(t, r.tls).conn)
	defer c.Close()
	if err := c.Auth(gosasl.NewPlainClient("", "ann@example.org", "secret-a1")); err != nil {
		t.Fatal(err)
	}
	if n, ok := c.MaxMessageSize(); !ok || n != 50<<20 {
		t.Error(n, ok)
	}
	opts := &gosmtp.MailOptions{Size: 20, RequireTLS: true, UTF8: true, Return: gosmtp.DSNReturnHeaders, EnvelopeID: "a+b=c d"}
	if err := c.Mail("ann@example.org", opts); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("žoe@example.net", &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{"NEVER"}, OriginalRecipientType: "UTF-8", OriginalRecipient: "žoe+x@example.net"}); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write([]byte("Subject: ž\r\n\r\n.\r\n"))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	e := r.sink.all()[0].env
	if !e.RequireTLS || !e.UTF8 || !e.EightBit || e.Return != "HDRS" || e.EnvelopeID != "a+b=c d" || e.Rcpts[0].Addr != "žoe@example.net" || e.Rcpts[0].Orcpt != `utf-8;\x{17E}oe\x{2B}x@example.net` {
		t.Errorf("%+v", e)
	}
}

func TestPasswordsAreNotLogged(t *testing.T) {
	logs := &logBuffer{}
	r := newRig(t, func(s *smtp.Server) { s.Auth, s.InsecureAuth, s.Logger = users(), true, logs.logger() })
	b64 := base64.StdEncoding.EncodeToString
	p := dial(t, r.addr).hello()
	p.do("AUTH PLAIN "+b64([]byte("\x00ann@example.org\x00hunter2")), "535", "AUTH LOGIN", "334", b64([]byte("hunter2@example.org")), "334", b64([]byte("hunter2")), "535")
	p.do("XHUNTER2 hunter2", "500")
	p = dial(t, r.addr).hello().login("ann@example.org", "secret-a1")
	p.mail("ann@example.org", "bob@example.org", "Subject: hunter2\r\n\r\nhunter2")
	p.do("MAIL FROM:<ann@example.org>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354").send("hunter2\nhunter2\r\n.\r\n")
	p.want("550")
	r.Close()
	text := logs.String()
	for _, secret := range []string{"hunter2", "secret-a1", b64([]byte("hunter2")), "HUNTER2"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log:\n%s", secret, text)
		}
	}
	for _, fact := range []string{"logged in", "login failed", "addr=127.0.0.1:", "message received", "id=" + r.sink.all()[0].env.ID, "message refused"} {
		if !strings.Contains(text, fact) {
			t.Errorf("%q is not in the log:\n%s", fact, text)
		}
	}
}

// TestReplyIsLogged checks that one line says what came, and what Next says became of
// it: such as that there is no way out.
func TestReplyIsLogged(t *testing.T) {
	logs := &logBuffer{}
	r := newRig(t, func(s *smtp.Server) { s.Logger = logs.logger() })
	r.sink.errs = func(env *mailkeel.Envelope) []mailkeel.Result {
		return []mailkeel.Result{{}, {Action: mailkeel.Queued, Reply: "held: no way\nout"}}
	}
	p := dial(t, r.addr).hello()
	p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "RCPT TO:<away@example.org>", "250", "DATA", "354").send("x\r\n.\r\n")
	p.want("250")
	r.Close()
	id := r.sink.all()[0].env.ID
	for line := range strings.Lines(logs.String()) {
		if strings.Contains(line, "message received") && strings.Contains(line, "id="+id) && strings.Contains(line, `reply="held: no way\nout"`) {
			return
		}
	}
	t.Error(logs)
}
