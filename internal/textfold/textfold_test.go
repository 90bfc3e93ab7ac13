package textfold

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestString(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"Hello  World\r\n\tagain\x00\x7f!", "hello world again !"},
		{"GR\u00dcSSE Stra\u00dfe \u1e9e", "grusse strasse ss"},
		{"\u00fcber u\u0308ber \u00dcBER", "uber uber uber"},
		{"\u0130stanbul \u0131", "istanbul i"},
		{"\u0141\u00f3d\u017a \u00d8re \u00c6on \u0152uvre \u0110\u00e0 N\u1eb5ng", "lodz ore aeon oeuvre da nang"},
		{"\u03a3\u03ac\u03c2", "\u03c3\u03b1\u03c3"},
		{"\u0419\u043e\u0451", "\u0438\u043e\u0435"},
		{"\uff26\uff55\uff4c\uff4c \u00ad wi\u200bde\u3000x", "full wide x"},
		{"\u304c \u304b\u3099", "\u304c \u304c"},     // another letter, not an accent
		{"\u0e01\u0e49", "\u0e01\u0e49"},             // Thai tone marks stay
		{"\u05e9\u05c1\u05b8\u05dc", "\u05e9\u05dc"}, // Hebrew points go
		{"\ud55c\uae00", "\ud55c\uae00"},
		{"\ufb01ne \u2460", "fine 1"},
		{"a\xffb", "a\ufffdb"},
		{"x\u0302y", "xy"},
	} {
		if got := String(tt.text); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
		if again := String(tt.want); again != tt.want {
			t.Errorf("%q becomes %q", tt.want, again)
		}
	}
}

func TestASCII(t *testing.T) {
	for n := range 100 {
		b := bytes.Repeat([]byte{'x'}, n)
		if !ASCII(b) {
			t.Fatal(n)
		}
		for i := range b {
			b[i] = 0x80
			if ASCII(b) {
				t.Fatal(n, i)
			}
			b[i] = 'x'
		}
	}
}

// What is found in raw ASCII is what is found in the folded text.
func FuzzNeedle(f *testing.F) {
	f.Add("The  Needle\r\n in the HAY", "needle in")
	f.Add("  a", " a")
	f.Add("aXbXxA", "xa")
	f.Add("\x7f", " ")
	f.Add("k K kK", "k k")
	f.Add("Kn\t \tK", "n k")
	f.Fuzz(func(t *testing.T, text, what string) {
		n := NewNeedle(String(what))
		want := strings.Contains(String(text), String(what))
		if n.In([]byte(String(text))) != want {
			t.Errorf("%q in folded %q", what, text)
		}
		if ASCII([]byte(text)) && n.InASCII([]byte(text)) != want {
			t.Errorf("%q in %q: %v, want %v", what, text, !want, want)
		}
	})
}

// However a text comes in pieces, its fold is the same.
func FuzzPieces(f *testing.F) {
	f.Add("Stra\u00dfe\r\n  nach  U\u0308bersee \u304b\u3099", 3)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 || !utf8.ValidString(text) || strings.ContainsRune(text, 0x34f) {
			return
		}
		var fold Folder
		var out, held []byte
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			held = append(held, rest[:n]...)
			rest = rest[n:]
			whole := len(held)
			if rest != "" {
				whole = Closed(held)
			}
			out = fold.Append(out, held[:whole])
			held = append(held[:0], held[whole:]...)
		}
		if want := String(text); string(out) != want && len(text) < 200 {
			t.Errorf("%q in pieces of %d: %q, want %q", text, size, out, want)
		}
	})
}

func BenchmarkInASCII(b *testing.B) {
	text := bytes.Repeat([]byte("Lorem ipsum dolor sit amet, consectetur adipiscing elit\r\n"), 50)
	n := NewNeedle("needlek")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if n.InASCII(text) {
			b.Fatal("found")
		}
	}
}

func BenchmarkFold(b *testing.B) {
	text := bytes.Repeat([]byte("Lorem ipsum dolor sit \u00e4met, consectetur adipiscing elit\r\n"), 50)
	var f Folder
	var out []byte
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		out = f.Append(out[:0], text)
	}
}
