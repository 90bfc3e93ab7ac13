package queue

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"
	gomail "github.com/emersion/go-message/mail"

	"github.com/mailkeel/mailkeel"
)

// text is a Content.
type text string

func (t text) Size() int64 { return int64(len(t)) }
func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// build returns a report about one recipient.
func build(t testing.TB, kind reportKind, env *mailkeel.Envelope, m text, rs ...mailkeel.Result) string {
	t.Helper()
	q := &Queue{Hostname: "mx.test"}
	orig, err := q.original(t.Context(), kind, env, m)
	if err != nil {
		t.Fatal(err)
	}
	r := &report{kind: kind, id: "m." + kind.String() + ".0", host: "mx.test", now: now, env: env, orig: orig, global: env.UTF8, utf8: !isASCII(env.From)}
	for i, rcpt := range env.Rcpts {
		r.fates = append(r.fates, fate{&Item{Envelope: *env.Only(rcpt), Queued: now.Add(-time.Hour), Expires: now.Add(time.Hour)}, rs[i]})
	}
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	if err := r.write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.String()
}

// part is one part of a report, decoded.
type part struct {
	kind, body string
}

// parse takes a report apart with go-message, and checks what holds for each.
func parse(t testing.TB, s string) []part {
	t.Helper()
	if strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\r") {
		t.Errorf("a bare CR or LF in\n%q", s)
	}
	e, err := gomessage.Read(strings.NewReader(s))
	if err != nil {
		t.Fatalf("%v in\n%s", err, s)
	}
	kind, params, err := e.Header.ContentType()
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" || e.Header.Get("Auto-Submitted") != "auto-replied" {
		t.Errorf("%s %v, %v in\n%s", kind, params, err, s)
	}
	h := gomail.Header{Header: e.Header}
	for _, key := range []string{"From", "To"} {
		if as, err := h.AddressList(key); err != nil || len(as) != 1 {
			t.Errorf("%s: %v, %v in\n%s", key, as, err, s)
		}
	}
	if _, err := h.Date(); err != nil {
		t.Error(err)
	}
	if _, err := h.MessageID(); err != nil {
		t.Error(err)
	}
	var parts []part
	for mr := e.MultipartReader(); ; {
		p, err := mr.NextPart()
		if err == io.EOF {
			return parts
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, s)
		}
		kind, _, _ := p.Header.ContentType()
		body, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatalf("%v in\n%s", err, s)
		}
		parts = append(parts, part{kind, string(body)})
	}
}

func kinds(ps []part) string {
	var s []string
	for _, p := range ps {
		s = append(s, p.kind)
	}
	return strings.Join(s, " ")
}

func contains(t testing.TB, s string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(s, w) {
			t.Errorf("%q is missing in\n%s", w, s)
		}
	}
}

const hello = text("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Fri, 2 Jan 2026 03:00:00 +0000\r\nMessage-ID: <1@x.test>\r\n\r\nthe body\r\n")

func noSuchUser() mailkeel.Result {
	return mailkeel.Result{Hop: "mx.y.test", Reply: "550 5.1.1 no such user",
		Err: &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 1}, Message: "no such user", Err: fmt.Errorf("secret")}}
}

func TestBounceIsComplete(t *testing.T) {
	env := &mailkeel.Envelope{ID: "m", From: "ann@x.test", EnvelopeID: "QQ+2B 1", Origin: &mailkeel.Origin{Hello: "client.test"}, Rcpts: []mailkeel.Recipient{
		{Addr: "bob@y.test", Given: "b@y.test", Orcpt: "rfc822;b+2Btag@y.test"}, {Addr: "cat@z.test"},
	}}
	s := build(t, bounceReport, env, hello, noSuchUser(), mailkeel.Result{Hop: "mx.z.test",
		Err: expired(&mailkeel.Error{Code: 451, Enhanced: [3]int{4, 4, 1}, Message: "cannot reach mx.z.test"})})
	ps := parse(t, s)
	if kinds(ps) != "text/plain message/delivery-status text/rfc822-headers" {
		t.Fatalf("%s in\n%s", kinds(ps), s)
	}
	contains(t, s, "From: Mail Delivery System <MAILER-DAEMON@mx.test>\r\nTo: <ann@x.test>\r\n", "In-Reply-To: <1@x.test>\r\n", "Content-Transfer-Encoding: quoted-printable")
	contains(t, ps[0].body, "could not be delivered", "Subject: Gr\u00fc\u00dfe\r\n", "<b@y.test>\r\n    There is no such address.", "The server mx.y.test said:\r\n",
		"550 5.1.1 no such user", "<cat@z.test>\r\n    It was tried for a long time, without success.\r\n    The recipient's server cannot be reached.")
	want := "Original-Envelope-Id: QQ+2B 1\r\nReporting-MTA: dns; mx.test\r\nReceived-From-MTA: dns; client.test\r\nArrival-Date: Fri, 02 Jan 2026 02:04:05 +0000\r\n\r\n" +
		"Original-Recipient: rfc822; b+tag@y.test\r\nFinal-Recipient: rfc822; b@y.test\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.y.test\r\n" +
		"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\nLast-Attempt-Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n\r\n" +
		"Final-Recipient: rfc822; cat@z.test\r\nAction: failed\r\nStatus: 5.4.7\r\nRemote-MTA: dns; mx.z.test\r\n" +
		"Diagnostic-Code: smtp; 550 5.4.7 delivery time expired; at last: 451 4.4.1 cannot reach mx.z.test\r\nLast-Attempt-Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n"
	if ps[1].body != want {
		t.Errorf("got\n%s\nwant\n%s", ps[1].body, want)
	}
	if header, _, _ := strings.Cut(string(hello), "\r\n\r\n"); strings.TrimSpace(ps[2].body) != header {
		t.Errorf("returned %q", ps[2].body)
	}
	if strings.Contains(s, "secret") || strings.Contains(s, "the body") {
		t.Errorf("it says too much:\n%s", s)
	}
}

func TestDelayAndSuccess(t *testing.T) {
	env := &mailkeel.Envelope{ID: "m", From: "ann@x.test", Rcpts: []mailkeel.Recipient{{Addr: "bob@y.test"}}}
	ps := parse(t, build(t, delayReport, env, hello, mailkeel.Result{Err: fmt.Errorf("secret")}))
	contains(t, ps[0].body, "You need\r\nnot do anything", "Fri, 02 Jan 2026 04:04:05 +0000")
	contains(t, ps[1].body, "Action: delayed\r\nStatus: 4.0.0\r\nDiagnostic-Code: smtp; 451 4.3.0 temporary failure\r\n", "Will-Retry-Until: Fri, 02 Jan 2026 04:04:05 +0000\r\n")
	for action, want := range map[mailkeel.Action]string{mailkeel.Delivered: "delivered", mailkeel.Relayed: "relayed", mailkeel.Expanded: "expanded"} {
		ps := parse(t, build(t, successReport, env, hello, mailkeel.Result{Action: action, Hop: "mx.y.test", Reply: "250 ok"}))
		contains(t, ps[1].body, "Final-Recipient: rfc822; bob@y.test\r\nAction: "+want+"\r\nStatus: 2.0.0\r\nRemote-MTA: dns; mx.y.test\r\n")
		if strings.Contains(ps[1].body, "Diagnostic") {
			t.Errorf("a diagnostic of a success:\n%s", ps[1].body)
		}
	}
}

func TestReturn(t *testing.T) {
	whole := "Subject: \u00fc\r\n\r\n.\nbare\rends\r\n\x00\xff"
	canonical := "Subject: \u00fc\r\n\r\n.\r\nbare\r\nends\r\n \xff\r\n"
	for _, tt := range []struct {
		name, ret  string
		kind       reportKind
		m          text
		utf8       bool
		want, body string
	}{
		{"all of it", "FULL", bounceReport, text(whole), false, "message/rfc822", canonical},
		{"all of it, internationalized", "FULL", bounceReport, text(whole), true, "message/global", canonical},
		{"the header", "HDRS", bounceReport, hello, false, "text/rfc822-headers", ""},
		{"the header, internationalized", "HDRS", bounceReport, text(whole), true, "message/global-headers", "Subject: \u00fc\r\n"},
		{"not in a report of a delay", "FULL", delayReport, hello, false, "text/rfc822-headers", ""},
		{"not if it is large", "FULL", bounceReport, hello + text(strings.Repeat("x\r\n", 400_000)), false, "text/rfc822-headers", ""},
	} {
		env := &mailkeel.Envelope{ID: "m", From: "ann@x.test", Return: tt.ret, UTF8: tt.utf8, Rcpts: []mailkeel.Recipient{{Addr: "bob@y.test"}}}
		ps := parse(t, build(t, tt.kind, env, tt.m, noSuchUser()))
		last := ps[len(ps)-1]
		if len(ps) != 3 || last.kind != tt.want || tt.body != "" && strings.TrimRight(last.body, "\r\n") != strings.TrimRight(tt.body, "\r\n") || strings.Contains(last.body, "the body") {
			t.Errorf("%s: %s %q", tt.name, kinds(ps), last.body)
		}
	}
}

// TestInternationalized is RFC 6533.
func TestInternationalized(t *testing.T) {
	rcpt := mailkeel.Recipient{Addr: "b\u00f6+b@y.test", Orcpt: `utf-8;b\x{F6}+2Bb@z.test`}
	reply := mailkeel.Result{Hop: "mx.y.test", Reply: "550 5.1.1 kein B\u00f6b", Err: &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 1}}}
	for _, tt := range []struct {
		from         string
		utf8         bool
		kinds        string
		smtputf8     bool
		status       []string
		ascii, plain bool
	}{
		{"ann@x.test", false, "text/plain message/delivery-status text/rfc822-headers", false, []string{
			`Original-Recipient: utf-8; b\x{F6}\x{2B}b@z.test`, `Final-Recipient: utf-8; b\x{F6}\x{2B}b@y.test`, "550 5.1.1 kein B?b"}, true, true},
		{"ann@x.test", true, "text/plain message/global-delivery-status message/global-headers", false, []string{
			"Original-Recipient: utf-8; b\u00f6+b@z.test", "Final-Recipient: utf-8; b\u00f6+b@y.test", "550 5.1.1 kein B\u00f6b"}, true, false},
		{"\u00e4nn@x.test", true, "text/plain message/global-delivery-status message/global-headers", true, []string{
			"Original-Recipient: utf-8; b\u00f6+b@z.test", "Final-Recipient: utf-8; b\u00f6+b@y.test", "550 5.1.1 kein B\u00f6b"}, false, false},
	} {
		env := &mailkeel.Envelope{ID: "m", From: tt.from, UTF8: tt.utf8, Rcpts: []mailkeel.Recipient{rcpt}}
		s := build(t, bounceReport, env, "Subject: \u00fc\r\n\r\n", reply)
		ps := parse(t, s)
		if kinds(ps) != tt.kinds {
			t.Errorf("%s, want %s", kinds(ps), tt.kinds)
		}
		contains(t, ps[1].body, tt.status...)
		contains(t, ps[0].body, "<b\u00f6+b@y.test>")
		contains(t, ps[2].body, "Subject: \u00fc")
		// What goes to an ASCII address must not need anything of the way.
		if isASCII(s) != tt.ascii {
			t.Errorf("%s: ASCII is %v, want %v:\n%s", tt.from, isASCII(s), tt.ascii, s)
		}
		if tt.plain && !isASCII(ps[1].body) {
			t.Errorf("message/delivery-status is ASCII only:\n%s", ps[1].body)
		}
	}
}

// fields of the status part, and which of them belong to a recipient.
var perMessage = []string{"Original-Envelope-Id", "Reporting-Mta", "Received-From-Mta", "Arrival-Date"}
var perRecipient = []string{"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-Mta", "Diagnostic-Code", "Last-Attempt-Date", "Will-Retry-Until"}

// checkHostile checks that nothing that others said can be more than a value.
func checkHostile(t testing.TB, s string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(s))
	if err != nil {
		t.Fatalf("%v in\n%q", err, s)
	}
	for key, values := range m.Header {
		if !slices.Contains([]string{"From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "Mime-Version", "Content-Type"}, key) || len(values) != 1 {
			t.Fatalf("field %s %q in\n%q", key, values, s)
		}
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	mr := multipart.NewReader(m.Body, params["boundary"])
	for i := 0; ; i++ {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			if i < 2 || i > 3 {
				t.Fatalf("%d parts in\n%q", i, s)
			}
			return
		} else if err != nil {
			t.Fatalf("%v in\n%q", err, s)
		}
		if i != 1 {
			io.Copy(io.Discard, p)
			continue
		}
		var body io.Reader = p
		if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(p)
		}
		r := textproto.NewReader(bufio.NewReader(body))
		allowed, blocks := perMessage, 0
		for ; ; blocks++ {
			h, err := r.ReadMIMEHeader()
			if err != nil && err != io.EOF {
				t.Fatalf("%v in\n%q", err, s)
			}
			for key, values := range h {
				if !slices.Contains(allowed, key) || len(values) != 1 {
					t.Fatalf("field %s %q in\n%q", key, values, s)
				}
			}
			if allowed = perRecipient; err == io.EOF {
				break
			}
		}
		if blocks != 1 { // and the one that ends the part
			t.Fatalf("%d blocks in\n%q", blocks, s)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add("ann@x.test", "bob@y.test", "rfc822;b@z.test", "QQ1", "550 5.1.1 no", "mx.y.test", "Subject: x\r\n\r\nbody", uint8(0))
	f.Add("ann@x.test>\r\nBcc: evil@x", "b\u00f6b@y.test\nAction: delivered", "utf-8;\\x{F6}+0D+0A", "+0D+0AEvil: 1", "550 a\r\nb\u2028", "x\r\ny", "Message-ID: <a\rb>\r\n \r\n--=_\x00", uint8(7))
	f.Add("\u00e4@x", "\xff", ";", "\r\n\r\n", "", "[1.2.3.4]", "no header at all", uint8(30))
	f.Fuzz(func(t *testing.T, from, to, orcpt, envid, reply, hop, m string, flags uint8) {
		if from == "" {
			return
		}
		env := &mailkeel.Envelope{
			ID: envid, From: from, EnvelopeID: envid, UTF8: flags&1 != 0, EightBit: flags&2 != 0, Return: []string{"", "FULL"}[flags>>2&1],
			Rcpts: []mailkeel.Recipient{{Addr: to, Given: to, Orcpt: orcpt}}, Origin: &mailkeel.Origin{Hello: hop},
		}
		r := mailkeel.Result{Hop: hop, Reply: reply, Err: &mailkeel.Error{Code: 550, Enhanced: [3]int{5, int(flags >> 5), 1}, Message: reply}}
		if flags&8 != 0 {
			r.Reply = ""
		}
		s := build(t, reportKind(flags>>3%3), env, text(m), r)
		checkHostile(t, s)
		if strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\r") || strings.Contains(s, "\x00") {
			t.Fatalf("a bare CR, LF or NUL in\n%q", s)
		}
		if env.Return == "" && isASCII(from) && !isASCII(s) {
			t.Fatalf("not ASCII:\n%q", s)
		}
	})
}

// TestWordsForEveryStatus: whatever the code, there is a sentence that fits a line.
func TestWordsForEveryStatus(t *testing.T) {
	for class := 4; class <= 5; class++ {
		for subject := range 9 {
			for detail := range 40 {
				e := &mailkeel.Error{Code: class * 100, Enhanced: [3]int{class, subject, detail}, Err: &mailkeel.Error{Code: 450}}
				lines := explain(e, "y.test")
				if len(lines) == 0 {
					t.Errorf("%v: no words", e.Enhanced)
				}
				for _, s := range lines {
					if len(s) > 74 || strings.TrimSpace(s) == "" {
						t.Errorf("%v: %q", e.Enhanced, s)
					}
				}
				if last := lines[len(lines)-1]; !strings.HasSuffix(last, ".") {
					t.Errorf("%v: %q", e.Enhanced, last)
				}
			}
		}
	}
}
