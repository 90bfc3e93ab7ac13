package message

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/header"
)

// selected is what the fields of names are of a message with a prefix, from its row, and
// from its header. ok says that the row has them.
func selected(t testing.TB, prefix, content string, names ...string) (row, whole string, ok bool) {
	t.Helper()
	m := parse(t, content)
	keep := func(name []byte) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, string(name)) })
	}
	set, usual := UsualFields(names)
	if !usual {
		t.Fatalf("%q are not usual", names)
	}
	whole = string(header.AppendSelected(nil, []byte(prefix+content[:m.Root.BodyStart]), keep))
	b, ok := header.AppendFields(nil, []byte(prefix), keep)
	if ok {
		b, ok = AppendUsual(b, EncodeEnvelope(&m.Envelope, m.Usual), set)
	}
	return string(append(b, "\r\n"...)), whole, ok
}

var (
	someUsual = []string{"subject", "FROM", "Message-Id", "X-TUID", "list-id"}
	allUsual  = []string{"Date", "From", "To", "Cc", "Bcc", "Subject", "Message-ID", "In-Reply-To", "References", "Content-Type", "Return-Path", "Delivered-To", "MIME-Version", "List-Unsubscribe"}
)

func TestUsualFieldsAreThoseOfTheHeader(t *testing.T) {
	prefix := "Return-Path: <a@b>\r\nAuthentication-Results: mx;\r\n spf=pass\r\nDelivered-To: c@d\r\n"
	for _, tt := range []struct {
		content string
		kept    bool
	}{
		{"Subject: a\r\n b\r\nReceived: x\r\n y\r\nFrom: c\r\nsubject : again\r\nX-Other: z\r\n\r\nSubject: body\r\n", true},
		{"Subject: a\nFrom: b\n\tc\n \n\nbody", true},
		{"Received: x\nSubject: a", true},           // no line end
		{"Subject: a\nReceived: x", true},           // nor here
		{"Subject: a\nno field\nFrom: b\n\n", true}, // no blank line
		{"Subject:\r\nFrom: \x00\xff\r\r\n\r\n", true},
		{"Received: x\r\n\r\nSubject: x", false}, // none of them
		{"", false},
		{"\nSubject: x\n\n", false},
		{" Subject: x\n\n", false}, // belongs to the prefix
		{"From me Thu\nSubject: x\n\n", false},
		{">From me Thu\nSubject: x\n\n", false},
		{"From : me\nSubject: x\n\n", true},
		{"To: " + strings.Repeat("a@b, ", 700) + "c\nSubject: x\n\n", true},
		{"To: " + strings.Repeat("a@b, ", 1000) + "c\nSubject: x\n\n", false}, // too large
		{"Received: " + strings.Repeat("x", 100_000) + "\nSubject: x\n " + strings.Repeat("y", 2000) + "\n\n", true},
		{"Content-Type: message/rfc822\n\nSubject: inside\n\nx", true},
		{"Content-Type: multipart/mixed; boundary=a\n\n--a\nSubject: inside\n\n--a--\nTo: x\n", true},
	} {
		for _, names := range [][]string{someUsual, allUsual, {"To"}} {
			for _, p := range []string{"", prefix} {
				row, whole, ok := selected(t, p, tt.content, names...)
				if ok != tt.kept || ok && row != whole {
					t.Errorf("%.60q behind %.10q: %v, %.200q, want %v, %.200q", tt.content, p, ok, row, tt.kept, whole)
				}
			}
		}
	}
	// Behind these the header does not begin a line, or is none.
	for _, p := range []string{"Return-Path: x", "Subject: a\r\n\r\n", "no field\r\n", "\n"} {
		if row, whole, ok := selected(t, p, "Subject: x\n\n", "subject"); ok && row != whole {
			t.Errorf("%q: %q, want %q", p, row, whole)
		}
	}
}

func FuzzUsual(f *testing.F) {
	for _, tt := range shapes {
		f.Add("", tt.content)
	}
	f.Add("Return-Path: <>\r\n", "Subject: a\r\n b\r\nReceived: x\r\nTo: y")
	f.Fuzz(func(t *testing.T, prefix, content string) {
		for _, names := range [][]string{someUsual, allUsual} {
			if row, whole, ok := selected(t, prefix, content, names...); ok && row != whole {
				t.Errorf("%q behind %q: %q, want %q", content, prefix, row, whole)
			}
		}
	})
}

// FuzzAppendUsual reads rows that nobody wrote.
func FuzzAppendUsual(f *testing.F) {
	m := parse(f, "Subject: a\nTo: b\n\n")
	f.Add(EncodeEnvelope(&m.Envelope, m.Usual))
	f.Add([]byte{codecVersion, 3, 6, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := AppendUsual([]byte("x"), b, ^Usual(0))
		if !ok && string(got) != "x" || ok && len(got) > len(b) || Outdated(b) && ok {
			t.Errorf("%q, %v", got, ok)
		}
	})
}

func TestUsualFieldsAreKnownByName(t *testing.T) {
	for _, names := range [][]string{{"received"}, {"Subject", "X-Own"}, {strings.Repeat("x", 100)}, {"dkim-signature"}, {""}} {
		if set, ok := UsualFields(names); ok {
			t.Errorf("%q: %b", names, set)
		}
	}
	seen := Usual(0)
	for _, n := range allUsual {
		set, ok := UsualFields([]string{n})
		if !ok || set&seen != 0 || set&(set-1) != 0 {
			t.Errorf("%s: %b, %v", n, set, ok)
		}
		seen |= set
	}
	if set, _ := UsualFields(allUsual); set != seen {
		t.Errorf("%b, want %b", set, seen)
	}
}

// TestAnOlderEnvelopeIsOutdated: it is parsed again, and its parts are read as they are.
func TestAnOlderEnvelopeIsOutdated(t *testing.T) {
	m := parse(t, "Subject: a\n\n")
	now := EncodeEnvelope(&m.Envelope, m.Usual)
	old := append([]byte{2}, EncodeEnvelope(&m.Envelope, nil)[2:]...)
	if Outdated(now) || !Outdated(old) || !Outdated(nil) {
		t.Error("outdated is not what is")
	}
	if _, ok := AppendUsual(nil, old, ^Usual(0)); ok {
		t.Error("an older row has usual fields")
	}
	if !bytes.Equal(EncodePart(&m.Root)[:1], []byte{2}) {
		t.Error("parts have another form than before")
	}
}
