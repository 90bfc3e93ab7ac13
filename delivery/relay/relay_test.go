package relay_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/delivery/deliverytest"
	"github.com/mailkeel/mailkeel/delivery/relay"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

const message = text("Subject: hello\r\n\r\nhi\r\n")

func send(t *testing.T, tr *relay.Transport) mailkeel.Result {
	t.Helper()
	t.Cleanup(func() { tr.Close() })
	return mailkeel.Deliver(t.Context(), tr, &mailkeel.Envelope{ID: "m", From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: "bob@y.test"}}}, message)[0]
}

func secret(user, password string) bool { return user == "ann" && password == "s3cret" }

// far makes a loopback server look as if it were elsewhere.
func far(s *smtpsink.Server) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, s.Addr)
		if err != nil {
			return nil, err
		}
		return elsewhere{c}, nil
	}
}

type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 587} }

// TestPasswordIsSafe: it goes out over a session that is encrypted to the right
// host, or stays in this machine, or not at all.
func TestPasswordIsSafe(t *testing.T) {
	good, other := smtpsink.Certificate(t, "smart.test"), smtpsink.Certificate(t, "evil.test")
	for name, tt := range map[string]struct {
		s    *smtpsink.Server
		tr   *relay.Transport
		near bool
		ok   bool
	}{
		"STARTTLS":           {s: &smtpsink.Server{TLS: good.Server}, ok: true},
		"implicit":           {s: &smtpsink.Server{TLS: good.Server, Implicit: true}, tr: &relay.Transport{Implicit: true}, ok: true},
		"stripped":           {s: &smtpsink.Server{}},
		"evil":               {s: &smtpsink.Server{TLS: other.Server}},
		"evil implicit":      {s: &smtpsink.Server{TLS: other.Server, Implicit: true}, tr: &relay.Transport{Implicit: true}},
		"loopback":           {s: &smtpsink.Server{}, near: true, ok: true},
		"loopback, but must": {s: &smtpsink.Server{}, tr: &relay.Transport{RequireTLS: true}, near: true},
		"as asked":           {s: &smtpsink.Server{}, tr: &relay.Transport{InsecureAuth: true}, ok: true},
		"LOGIN":              {s: &smtpsink.Server{TLS: good.Server, Ext: []string{"AUTH=LOGIN"}}, ok: true},
		"no mechanism":       {s: &smtpsink.Server{TLS: good.Server, Ext: []string{"AUTH GSSAPI"}}},
	} {
		tt.s.Auth = secret
		smtpsink.Start(t, tt.s)
		tr := tt.tr
		if tr == nil {
			tr = &relay.Transport{}
		}
		tr.Addr, tr.Username, tr.Password, tr.TLS = "smart.test:587", "ann", "s3cret", &tls.Config{RootCAs: good.Roots}
		if tr.Dial = far(tt.s); tt.near {
			tr.Addr, tr.Dial = tt.s.Addr, nil
		}
		r := send(t, tr)
		if (r.Err == nil) != tt.ok || mailkeel.Permanent(r.Err) {
			t.Errorf("%s: %+v", name, r)
		}
		if tt.ok != (len(tt.s.Messages()) == 1) || tt.ok && tt.s.Messages()[0].User != "ann" {
			t.Errorf("%s: the host has %+v", name, tt.s.Messages())
		}
		for _, cmd := range tt.s.Commands() {
			if !tt.ok && strings.HasPrefix(cmd, "AUTH") && name != "no mechanism" {
				t.Errorf("%s: %q", name, cmd)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	for _, tt := range []struct {
		mech, password string
		server         *smtpsink.Server
		ok             bool
	}{
		{"SCRAM-SHA-256", "s3cret", &smtpsink.Server{SCRAM: map[string]string{"ann": "s3cret"}}, true},
		{"SCRAM-SHA-256", "wrong", &smtpsink.Server{SCRAM: map[string]string{"ann": "s3cret"}}, false},
		{"SCRAM-SHA-256", "s3cret", &smtpsink.Server{SCRAM: map[string]string{"bob": "s3cret"}}, false},
		{"PLAIN", "s3cret", &smtpsink.Server{Auth: secret}, true},
		{"LOGIN", "s3cret", &smtpsink.Server{Ext: []string{"AUTH LOGIN"}, Auth: secret}, true},
		{"LOGIN", "wrong", &smtpsink.Server{Ext: []string{"AUTH LOGIN"}, Auth: secret}, false},
		// A peer that takes any password did not prove that it knows ours.
		{"SCRAM-SHA-256", "s3cret", &smtpsink.Server{Ext: []string{"AUTH SCRAM-SHA-256"}, Reply: func(cmd string) string {
			if strings.HasPrefix(cmd, "AUTH") {
				return "235 2.7.0 welcome"
			}
			return ""
		}}, false},
		{"LOGIN", "s3cret", &smtpsink.Server{Ext: []string{"AUTH LOGIN"}, Reply: func(cmd string) string {
			if strings.HasPrefix(cmd, "AUTH") {
				return smtpsink.Raw + strings.Repeat("334 VXNlcm5hbWU6\r\n", 20) // and so on
			}
			return ""
		}}, false},
	} {
		s := smtpsink.Start(t, tt.server)
		r := send(t, &relay.Transport{Addr: s.Addr, Username: "ann", Password: tt.password})
		if (r.Err == nil) != tt.ok || len(s.Messages()) > 0 != tt.ok || mailkeel.Permanent(r.Err) {
			t.Errorf("%s with %s: %+v", tt.mech, tt.password, r)
		}
		for _, cmd := range s.Commands() {
			if strings.HasPrefix(cmd, "AUTH ") && !strings.HasPrefix(cmd, "AUTH "+tt.mech) {
				t.Errorf("%s: the peer got %q", tt.mech, cmd)
			}
			if tt.mech == "SCRAM-SHA-256" && strings.Contains(cmd, base64.StdEncoding.EncodeToString([]byte("s3cret"))) {
				t.Errorf("the password went out: %q", cmd)
			}
		}
	}
}

func TestWrongPasswordReturnsNoMail(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{Auth: secret})
	r := send(t, &relay.Transport{Addr: s.Addr, Username: "ann", Password: "wrong"})
	if r.Err == nil || mailkeel.Permanent(r.Err) || !errors.Is(r.Err, delivery.ErrUnreachable) {
		t.Errorf("%+v", r)
	}
}

func TestFallback(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody is there
	busy := smtpsink.Start(t, &smtpsink.Server{Reply: func(string) string { return "421 4.3.2 busy" }})
	good := smtpsink.Start(t, &smtpsink.Server{})
	if r := send(t, &relay.Transport{Addr: ln.Addr().String(), Fallback: []string{busy.Addr, good.Addr}}); r.Err != nil || len(good.Messages()) != 1 {
		t.Errorf("%+v", r)
	}
	// What a host says about the message is its answer.
	no := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
		if strings.HasPrefix(cmd, "RCPT") {
			return "550 5.1.1 no"
		}
		return ""
	}})
	if r := send(t, &relay.Transport{Addr: no.Addr, Fallback: []string{good.Addr}}); !mailkeel.Permanent(r.Err) || len(good.Messages()) != 1 {
		t.Errorf("%+v", r)
	}
	if r := send(t, &relay.Transport{Addr: ln.Addr().String(), Fallback: []string{busy.Addr}}); !errors.Is(r.Err, delivery.ErrUnreachable) || mailkeel.Permanent(r.Err) {
		t.Errorf("%+v", r)
	}
}

func TestOpportunistic(t *testing.T) {
	cert := smtpsink.Certificate(t, "whoever.test")
	s := smtpsink.Start(t, &smtpsink.Server{TLS: cert.Server})
	if r := send(t, &relay.Transport{Addr: s.Addr}); r.Err != nil || !s.Messages()[0].TLS {
		t.Errorf("%+v", r)
	}
	bad := smtpsink.Start(t, &smtpsink.Server{TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no") }}})
	if r := send(t, &relay.Transport{Addr: bad.Addr}); r.Err != nil || bad.Messages()[0].TLS {
		t.Errorf("%+v", r)
	}
}

func TestConformance(t *testing.T) {
	deliverytest.Run(t, deliverytest.Options{New: func(t *testing.T) deliverytest.Subject {
		s := smtpsink.Start(t, &smtpsink.Server{Reply: func(cmd string) string {
			if strings.HasPrefix(cmd, "RCPT") && strings.Contains(cmd, "no@") {
				return "550 5.1.1 no such user"
			}
			return ""
		}})
		tr := &relay.Transport{Addr: s.Addr}
		t.Cleanup(func() { tr.Close() })
		return deliverytest.Subject{Transport: tr, Bad: "no@y.test", Got: func() (all []deliverytest.Message) {
			for _, m := range s.Messages() {
				for _, r := range m.Rcpts {
					all = append(all, deliverytest.Message{Rcpt: strings.Trim(r, "<>"), Content: m.Data})
				}
			}
			return all
		}}
	}})
}

// A smart host takes all mail.
func Example() {
	out := &relay.Transport{Addr: "smtp.example.net:587", Username: "ann", Password: "secret", Hostname: "mail.example.org",
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("this is only an example")
		}}
	defer out.Close()
	env := &mailkeel.Envelope{ID: "m1", From: "ann@example.org", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.com"}}}
	r := mailkeel.Deliver(context.Background(), out, env, text("Subject: hello\r\n\r\n"))[0]
	fmt.Println(errors.Is(r.Err, delivery.ErrUnreachable), mailkeel.Permanent(r.Err))
	// Output: true false
}

// BenchmarkDeliver is one message of 10 KB over a session that is kept.
func BenchmarkDeliver(b *testing.B) {
	s := smtpsink.Start(b, &smtpsink.Server{})
	tr := &relay.Transport{Addr: s.Addr}
	defer tr.Close()
	m := text("Subject: hello\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 140))
	env := &mailkeel.Envelope{ID: "m", From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: "bob@y.test"}}}
	b.SetBytes(m.Size())
	b.ReportAllocs()
	for b.Loop() {
		if r := mailkeel.Deliver(b.Context(), tr, env, m)[0]; r.Err != nil {
			b.Fatal(r.Err)
		}
	}
}
