package smtpclient

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/smtpsink"
)

func TestReplies(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"250 ok\r\n", "250 ok"},
		{"250\r\n", "250"},
		{"250 \n", "250"},
		{"250-a\r\n250-b\r\n250 c\r\n", "250 a b c"},
		{"550-5.1.1 no such\r\n550 5.1.1 user\r\n", "550 5.1.1 no such user"},
		{"550 5.1.1\r\n", "550 5.1.1"},
		{"550 4.1.1 odd\r\n", "550 4.1.1 odd"}, // kept as text
		{"250 2.0.0.1 x\r\n", "250 2.0.0.1 x"},
		{"450 a\rb\x00c\x7f\xff\u2028d\r\n", "450 a b c ? d"},
		{"199 x\r\n", "error"}, {"600 x\r\n", "error"}, {"25 x\r\n", "error"}, {"2500 x\r\n", "error"}, {"250_x\r\n", "error"},
		{"x\r\n", "error"}, {"\r\n", "error"}, {"", "error"}, {"250 unfinished", "error"},
		{"250-a\r\n251 b\r\n", "error"},
		{"250-a\r\n", "error"},
		{strings.Repeat("250-x\r\n", 101) + "250 x\r\n", "error"},
		{"250 " + strings.Repeat("x", maxLine) + "\r\n", "error"},
		{strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 40) + "250 x\r\n", "error"},
	} {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(tt.in), readBuffer))
		got := r.String()
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%.60q is %q (%v), want %q", tt.in, got, err, tt.want)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"250-x\r\n250 2.1.0 y\r\n", "421 bye\r\n", "550-\xff\x00\r\n550 5.7.1 z\r\n", "220"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		br := bufio.NewReaderSize(strings.NewReader(s), readBuffer)
		for range 100 {
			r, err := readReply(br)
			if err != nil {
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				return
			}
			text := r.String()
			if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Lines) > maxLines || strings.ContainsAny(text, "\r\n\x00") || !utf8.ValidString(text) || len(text) > 600 {
				t.Fatalf("%q gave %+v", s, r)
			}
			if err := refusal(r, 999); err == nil {
				t.Fatal("a refusal is no error")
			}
		}
	})
}

// TestInjectedReplies is T3: replies that come in the clear before the handshake
// count for nothing.
func TestInjectedReplies(t *testing.T) {
	cert := smtpsink.Certificate(t, "sink.test")
	for _, after := range []string{
		"220 go\r\n250-sink\r\n250 AUTH PLAIN\r\n",
		"220 go\r\n2",
		"220 go\r\n\r\n",
	} {
		s := smtpsink.Start(t, &smtpsink.Server{TLS: cert.Server, Reply: func(cmd string) string {
			if cmd == "STARTTLS" {
				return smtpsink.Raw + after
			}
			return ""
		}})
		c := start(t, s)
		err := c.StartTLS(t.Context(), cert.Client)
		if err == nil || c.Broken() == nil {
			t.Errorf("%q: %v, Broken %v", after, err, c.Broken())
		}
		if r := c.Deliver(t.Context(), envelope("a@y.test"), message)[0]; r.Err == nil || len(s.Messages()) != 0 {
			t.Errorf("%q: %+v", after, r)
		}
	}
}

func TestStartTLS(t *testing.T) {
	cert := smtpsink.Certificate(t, "sink.test")
	s := smtpsink.Start(t, &smtpsink.Server{TLS: cert.Server})
	c := start(t, s)
	if err := c.StartTLS(t.Context(), cert.Client); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Ext("STARTTLS"); ok {
		t.Error("the extensions are those from before")
	}
	if st, ok := c.TLS(); !ok || !st.HandshakeComplete {
		t.Error("no TLS")
	}
	if r := c.Deliver(t.Context(), envelope("a@y.test"), message)[0]; r.Err != nil || !s.Messages()[0].TLS {
		t.Errorf("%+v", r)
	}
	c = start(t, s)
	if err := c.StartTLS(t.Context(), &tls.Config{ServerName: "sink.test"}); err == nil || c.Broken() == nil {
		t.Errorf("an unknown certificate was taken: %v", err)
	}
	plain := start(t, smtpsink.Start(t, &smtpsink.Server{}))
	if err := plain.StartTLS(t.Context(), cert.Client); !errors.Is(err, ErrNoTLS) || plain.Broken() != nil {
		t.Errorf("without STARTTLS: %v", err)
	}
	busy := start(t, smtpsink.Start(t, &smtpsink.Server{TLS: cert.Server, Reply: func(cmd string) string {
		if cmd == "STARTTLS" {
			return "454 4.7.0 not now"
		}
		return ""
	}}))
	if err := busy.StartTLS(t.Context(), cert.Client); err == nil || busy.Broken() != nil {
		t.Errorf("454: %v, Broken %v", err, busy.Broken())
	}
}

func ExampleReply() {
	r, _ := readReply(bufio.NewReader(strings.NewReader("550-5.1.1 no such\r\n550 5.1.1 user\r\n")))
	fmt.Println(r)
	// Output: 550 5.1.1 no such user
}
