package pgdb

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEveryStringCanBeStored(t *testing.T) {
	seen := map[string]string{}
	check := func(s string) {
		t.Helper()
		in := storable(s)
		if !utf8.ValidString(in) || strings.Contains(in, "\x00") {
			t.Errorf("%q is stored as %q, which PostgreSQL refuses", s, in)
		}
		if out := stored(in); out != s {
			t.Errorf("%q came back as %q", s, out)
		}
		if was, ok := seen[in]; ok && was != s {
			t.Errorf("%q and %q are one", was, s)
		}
		seen[in] = s
	}
	// All strings of up to four of these: among them the halves, also broken.
	pieces := []string{"", "a", "ä", "\x00", "\xff", "\xef", "\xb7", "\x90", "\xa0", "\ufdd0", "\ufddf", "\ufde0", "\ufdef", "\ufdf0", "\ufdcf", "\ufffd", "\U0010ffff", "\xed\xa0\x80"}
	for _, a := range pieces {
		for _, b := range pieces {
			for _, c := range pieces {
				for _, d := range pieces {
					check(a + b + c + d)
				}
			}
		}
	}
	for _, s := range []string{"", "ann@example.org", "ﷺ", "日本"} {
		if storable(s) != s {
			t.Errorf("%q is stored as %q", s, storable(s))
		}
	}
}
