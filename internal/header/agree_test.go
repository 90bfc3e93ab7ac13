package header_test

import (
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
)

// What edits headers and what parses messages must agree where a body begins, and
// what a field says: mail is filtered by one and shown by the other.
func FuzzAgree(f *testing.F) {
	for _, s := range []string{
		"", "Subject: a\n b\r\n\r\nx", "From me\nSubject: a\n\nx", "Subject: a\nno field\n", "\nSubject: a\n", " Subject: a\n", "Subject: a\r\r\n\r\r\nx",
		"Subject : a\nSubject: b\n\n", "Subject: \x00a\r b\n\n", "Subject: a", "From : a\n\nx",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 10_000 || strings.HasPrefix(s, "From ") || strings.HasPrefix(s, ">From ") {
			return // beyond a limit, or dropped by one of the two
		}
		h, _, err := header.Read(strings.NewReader(s), len(s)+1)
		if err != nil {
			t.Fatal(err)
		}
		m, err := message.Parse(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		if m.Root.BodyStart != h.Size() {
			t.Errorf("%q: the body begins at %d and at %d", s, h.Size(), m.Root.BodyStart)
		}
		if m.Envelope.Subject != h.Get("Subject") || m.Envelope.Date != h.Get("date") {
			t.Errorf("%q: the subject is %q and %q", s, h.Get("Subject"), m.Envelope.Subject)
		}
	})
}
