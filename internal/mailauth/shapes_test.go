package mailauth_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/mailauth"
	"github.com/mailkeel/mailkeel/internal/mailauth/authors"
	"github.com/mailkeel/mailkeel/internal/message"
)

// TestAuthorIsWhoIsShown: of each message that is hard to tell, who is judged is who
// message.Parse finds, and nobody is where it does not find one address (T30).
func TestAuthorIsWhoIsShown(t *testing.T) {
	shapes := authors.Shapes(t)
	if len(shapes) < 80 {
		t.Fatalf("%d shapes", len(shapes))
	}
	for _, s := range shapes {
		if s.Judged == "refused" {
			continue
		}
		agree(t, s.Name, s.Text)
		a, err := mailauth.FindAuthor(strings.NewReader(s.Text))
		if (s.Judged == "nobody") != errors.Is(err, mailauth.ErrNoAuthor) || err == nil && a.Domain != s.Judged {
			t.Errorf("%s: %+v, %v, want %s", s.Name, a, err, s.Judged)
		}
	}
}

// agree fails if what is judged is not what is shown.
func agree(t *testing.T, name, text string) {
	t.Helper()
	m, err := message.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	shown := m.Envelope.From
	a, err := mailauth.FindAuthor(strings.NewReader(text))
	if errors.Is(err, mailauth.ErrNoAuthor) {
		return // whoever is shown, DMARC fails
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) != 1 || shown[0] != a.Address {
		t.Fatalf("%s: judged %+v, shown %+v", name, a, shown)
	}
	if d, err := addr.Domain(shown[0].Host); err != nil || d != a.Domain {
		t.Fatalf("%s: judged %s, shown %+v (%v)", name, a.Domain, shown, err)
	}
}

// FuzzAuthor has any header.
func FuzzAuthor(f *testing.F) {
	for _, s := range authors.Shapes(f) {
		if len(s.Text) < 4096 {
			f.Add(s.Text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) { agree(t, "", text) })
}

// TestHostileAuthorsTakeNoMemory: fields of addresses without end are looked at as far as
// message.Parse does, and no further (T24).
func TestHostileAuthorsTakeNoMemory(t *testing.T) {
	for name, text := range map[string]string{
		"addresses": "a@b.example,\r\n ", "groups": "g:a@b.example;\r\n ", "comments": "(\r\n ", "quotes": "\"\r\n ", "routes": "<@a,\r\n ",
		"fields": "x\r\nFrom: ", "encoded words": "=?utf-8?q?x?=\r\n ", "spaces": " \t\r\n ", "at signs": "@",
	} {
		size := func(n int) uint64 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := mailauth.FindAuthor(io.MultiReader(strings.NewReader("From: "), &endless{text, n}, strings.NewReader("\r\n\r\n")))
			if err != nil && !errors.Is(err, mailauth.ErrNoAuthor) {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		if small, large := size(256<<10), size(768<<10); large > small+2<<20 {
			t.Errorf("%s: %d bytes for 256 KB, %d for 768 KB", name, small, large)
		}
	}
}
