package smtp_test

import (
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/smtp"
)

func TestReceive(t *testing.T) {
	r := newRig(t, nil)
	p := dial(t, r.addr).hello()
	got := p.mail("zoe@example.net", "ann@example.org", "Subject: hi\r\n\r\n..dots\r\n...")
	if !strings.HasPrefix(got, "250 2.0.0 ok: filed as ") {
		t.Fatal(got)
	}
	id := strings.TrimPrefix(got, "250 2.0.0 ok: filed as ")
	p.do("QUIT", "221 ").ended()
	m := r.sink.all()
	if len(m) != 1 {
		t.Fatalf("%d messages", len(m))
	}
	want := "Received: from client.example.net (unknown [127.0.0.1])\r\n\tby mx.example.org (mailkeel) with ESMTP id " + id +
		"\r\n\tfor <ann@example.org>; Fri, 2 Jan 2026 03:04:05 +0000 (UTC)\r\nSubject: hi\r\n\r\n.dots\r\n..\r\n"
	if m[0].data != want {
		t.Errorf("got %q\nwant %q", m[0].data, want)
	}
	e := m[0].env
	if e.ID != id || e.From != "zoe@example.net" || len(e.Rcpts) != 1 || e.Rcpts[0].Account != "a1" || e.Rcpts[0].Addr != "ann@example.org" ||
		e.Origin.Hello != "client.example.net" || e.Origin.TLS || !e.Origin.Addr.IsValid() {
		t.Errorf("%+v", e)
	}
}

func TestSubmission(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Submission = true; s.Auth = users() })
	p := dial(t, r.addr).hello()
	p.do("MAIL FROM:<ann@example.org>", "530 5.7.0", "AUTH PLAIN AGEAYg==", "538 5.7.11", "STARTTLS", "220 ")
	p.startTLS()
	if got := p.do("MAIL FROM:<ann@example.org>", "503 5.5.1").t; got == nil {
		t.Fatal()
	}
	p.do("EHLO laptop", "250-").login("ann@example.org", "secret-a1")
	p.do("MAIL FROM:<bob@example.org>", "553 5.7.1")
	if got := p.mail("ann@example.org", "zoe@elsewhere.example", "Subject: hi\r\n"); !strings.HasPrefix(got, "250 2.0.0") {
		t.Error(got)
	}
	m := r.sink.all()[0]
	if m.env.Submitter != "a1" || m.env.Origin.Identity != "a1" || !m.env.Origin.TLS || m.env.Rcpts[0].Account != "" {
		t.Errorf("%+v", m.env)
	}
	if !strings.Contains(m.data, "(using TLSv1.3 with cipher TLS_") || !strings.Contains(m.data, " with ESMTPSA id ") {
		t.Error(m.data)
	}
}
