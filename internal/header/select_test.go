package header

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

var selected = []string{
	"", "\r\n", "a: 1", "a: 1\r\n", "a: 1\r\nb: 2\r\n c\r\n\td\r\na: 3\r\n\r\nbody: x\r\n", "From me\r\na: 1\r\nb: 2\r\n\r\n", "From me\r\nFrom me\r\na: 1\r\n\r\n",
	" folded\r\na: 1\r\n\r\n", "b: 1\n b\na: 2\n\n", "a: 1\r\nno field\r\na: 2\r\n", "a : 1\r\nA:2\r\n\r\r\na: 3\r\n", "b: 1\r\na: 2", "a: 1\r\nb: 2",
	"a: " + strings.Repeat("x", 5000) + "\r\nb: " + strings.Repeat("y", 5000) + "\r\n z\r\na: 2\r\n\r\n", ">From me\r\na: 1\r\n\r\n", "\r\r\r\n", "a: 1\r\n\x00\r\n",
}

// FuzzSelected compares the two ways to select fields.
func FuzzSelected(f *testing.F) {
	for _, s := range selected {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		keep := func(name []byte) bool { return len(name) == 1 && (name[0]|0x20 == 'a' || name[0] == 'c') }
		want, err := io.ReadAll(Select(strings.NewReader(s), keep))
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendSelected([]byte("x"), []byte(s), keep); string(got) != "x"+string(want) {
			t.Fatalf("of %q: %q, not %q", s, got[1:], want)
		}
		b := []byte(s)
		if got := AppendSelected(b[:0], b, keep); !bytes.Equal(got, want) {
			t.Fatalf("of %q in place: %q, not %q", s, got, want)
		}
	})
}
