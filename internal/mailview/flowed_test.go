package mailview

import (
	"strings"
	"testing"
)

func TestFlowedTextIsPutTogether(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		delSp    bool
	}{
		{"a \nb\nc\n", "a b\nc\n", false},
		{"a \nb\n", "ab\n", true},
		{"> a \n> b\n>> c\nd\n", "> a b\n>> c\nd\n", false},
		{"> a \nb\n", "> a \nb\n", false}, // depths differ: two paragraphs
		{" > no quote\n  two\n", "> no quote\n two\n", false},
		{"a \n-- \nsig\n", "a \n-- \nsig\n", false},
		{">\n> a\n", ">\n> a\n", false},
		{"no end ", "no end \n", false},
		{"", "", false},
		{">>>deep \n>>>er\n", ">>> deep er\n", false},
	} {
		if got := unflow(tt.in, tt.delSp); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTextIsWrittenFlowed(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"a\n", "a\r\n"},
		{"a  \n", "a\r\n"},
		{"-- \nsig", "-- \r\nsig\r\n"},
		{"From here\n>q\n > x\n  y\n", " From here\r\n> q\r\n  > x\r\n   y\r\n"},
		{"> > a\n", ">> a\r\n"},
		{strings.Repeat("word ", 20) + "end\n", strings.Repeat("word ", 14) + "\r\n" + strings.Repeat("word ", 6) + "end\r\n"},
		{"> " + strings.Repeat("word ", 20) + "end\n", "> " + strings.Repeat("word ", 14) + "\r\n> " + strings.Repeat("word ", 6) + "end\r\n"},
		{strings.Repeat("a", 200), strings.Repeat("a", 200) + "\r\n"},
		{"", ""},
		{"\n\n", "\r\n\r\n"},
	} {
		if got := flow(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// What a person typed is there when the draft is opened again, and stays the same from
// save to save.
func FuzzFlow(f *testing.F) {
	for _, s := range []string{"a\n", "> > x\n>y\n", "-- \nsig", "-- " + strings.Repeat("a", 100), " \n >\n", strings.Repeat("ab ", 300), "From x", ">  a " + strings.Repeat("b ", 50), "\t\n> \t", "a \u00a0b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = typed(strings.ToValidUTF8(s, ""))
		once := settled(s)
		if twice := settled(once); twice != once {
			t.Fatalf("%q becomes %q, and then %q", s, once, twice)
		}
		bare := func(s string) string { return strings.NewReplacer(" ", "", "\n", "").Replace(s) }
		if bare(once) != bare(s) {
			t.Fatalf("%q becomes %q", s, once)
		}
		for ln := range strings.SplitSeq(flow(s), "\r\n") {
			if strings.ContainsAny(ln, "\r\n") || strings.HasPrefix(ln, "From ") {
				t.Fatalf("%q has the line %q", s, ln)
			}
		}
	})
}
