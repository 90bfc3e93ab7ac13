package header

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func Example() {
	h, body, err := Read(strings.NewReader("Subject: a\r\n b\r\nBcc: c@example.com\r\n\r\nHello\r\n"), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	h.Remove("bcc")
	h.Prepend("Received", "by mx.example.com")
	fmt.Printf("%q\n", h.Get("subject"))
	rest, _ := io.ReadAll(body)
	fmt.Printf("%q\n", append(h.Bytes(), rest...))
	// Output:
	// "a b"
	// "Received: by mx.example.com\r\nSubject: a\r\n b\r\n\r\nHello\r\n"
}

var samples = []string{
	"", "\n", "\r\n", "\r\r\n", "hello", "hello\nA: b\n", " A: b\n\n", "A: b", "A: b\n", "A: b\r\n\r\n", "A: b\n\nbody", "A: b\nbody", "A:\n\n", ":\n\n",
	"A: b\n c\n\td\n\nx", "A: b\n \n\nx", "A : b\n\nx", "A b: c\n\nx", "\xe4: b\n\nx", "A: \xe4\x00\rb\r\r\n\r\nx", "a: 1\nA: 2\nB: 3\na: 4\n\n",
	"From me\nA: b\n\nx", ">From me\nA: b\n\nx", "A: b\nFrom me\n\nx", "From : me\n\nx", "From " + strings.Repeat("x", 5000) + "\nA: b\n\nx", "A: b\n\n\n", "A: b\n c",
	"A: " + strings.Repeat("x", 10_000) + "\n " + strings.Repeat("y", 10_000) + "\nB: c\n\nx", strings.Repeat("x", 10_000) + "\n", strings.Repeat("x", 5000) + ": y\n",
}

// mboxEnd returns the length of the separator that Read drops.
func mboxEnd(s string) int {
	if line, _, _ := strings.Cut(s, "\n"); Mbox([]byte(line)) && Colon([]byte(line)) < 0 {
		return min(len(line)+1, len(s))
	}
	return 0
}

func lossless(t testing.TB, s string) {
	t.Helper()
	h, body, err := Read(iotest.HalfReader(strings.NewReader(s)), len(s)+1)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	rest, err := io.ReadAll(body)
	if got := string(h.Bytes()) + string(rest); err != nil || got != s[mboxEnd(s):] {
		t.Errorf("%.200q became %.200q, %v", s, got, err)
	}
	// Select agrees about what a field is.
	for _, name := range []string{"a", "b", "from"} {
		var want []byte
		for f := range h.All(name) {
			want = append(want, f.Raw()...)
		}
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want, '\r', '\n')
		}
		want = append(want, '\r', '\n')
		keep := func(n []byte) bool { return strings.EqualFold(string(n), name) }
		got, err := io.ReadAll(Select(iotest.OneByteReader(strings.NewReader(s)), keep))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%.200q: selected %.200q, %v; want %.200q", s, got, err, want)
		}
	}
	// A field that is added is a field to who reads next.
	n := h.Len()
	for _, err := range []error{h.Prepend("X-Top", "1"), h.Add("X-Low", "2"), h.Set("X-Set", "3")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again, body, err := Read(io.MultiReader(bytes.NewReader(h.Bytes()), bytes.NewReader(rest)), len(s)+200)
	if err != nil {
		t.Fatal(err)
	}
	rest2, _ := io.ReadAll(body)
	if again.Len() != n+3 || again.Get("x-top") != "1" || again.Get("x-low") != "2" || again.Get("x-set") != "3" || !bytes.Equal(rest, rest2) {
		t.Errorf("%.200q edited is %.200q", s, again.Bytes())
	}
}

func TestNothingIsLost(t *testing.T) {
	for _, s := range samples {
		lossless(t, s)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range samples {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { lossless(t, s) })
}

func TestFields(t *testing.T) {
	h, _, err := Read(strings.NewReader("A: 1\r\nB : 2\n\t3\na:4\x00\r5 \r\r\n\r\n"), 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for f := range h.Fields() {
		got = append(got, f.Name()+"="+f.Value())
	}
	if want := "A=1 B=2\t3 a=4  5"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if h.Count("a") != 2 || !h.Has("b") || h.Has("c") || h.Get("c") != "" {
		t.Errorf("%d of a", h.Count("a"))
	}
	if err := h.Set("a", "6"); err != nil || string(h.Bytes()) != "a: 6\r\nB : 2\n\t3\n\r\n" {
		t.Errorf("%q, %v", h.Bytes(), err)
	}
	if n := h.Remove("B"); n != 1 || h.Len() != 1 || h.Size() != int64(len(h.Bytes())) {
		t.Errorf("removed %d of B, %d are left", n, h.Len())
	}
}

func TestReadIsBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("A: "), &repeat{'x'})
	if _, _, err := Read(endless, 10_000); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, _, err := Read(&repeat{'x'}, 10_000); err != nil {
		t.Errorf("a body without end is no header: %v", err)
	}
}

type repeat struct{ b byte }

func (r *repeat) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = r.b
	}
	return len(b), nil
}

func TestReadErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, s := range []string{"", "A: b", "A: b\n"} {
		if _, _, err := Read(io.MultiReader(strings.NewReader(s), iotest.ErrReader(boom)), 0); !errors.Is(err, boom) {
			t.Errorf("Read %q: %v", s, err)
		}
		if _, err := io.ReadAll(Select(io.MultiReader(strings.NewReader(s), iotest.ErrReader(boom)), func([]byte) bool { return true })); !errors.Is(err, boom) {
			t.Errorf("Select %q: %v", s, err)
		}
	}
}

func TestFormat(t *testing.T) {
	long := strings.Repeat("word ", 40)
	for _, tt := range []struct{ name, value, want string }{
		{"A", "b", "A: b\r\n"},
		{"A", "", "A: \r\n"},
		{"A", "  b\t", "A: b\r\n"},
		{"A", "\u00e4", "A: \u00e4\r\n"},
		{"A", strings.Repeat("x", 100), "A: " + strings.Repeat("x", 100) + "\r\n"},
		{"A", strings.Repeat("x", 996), "A:\r\n " + strings.Repeat("x", 996) + "\r\n"},
		{"A", long, "A: " + strings.TrimSuffix(strings.Repeat("word ", 15), " ") + "\r\n" + strings.Repeat(" word", 15) + "\r\n" + strings.Repeat(" word", 10) + "\r\n"},
	} {
		got, err := Format(tt.name, tt.value)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s %q: %q, %v; want %q", tt.name, tt.value, got, err, tt.want)
		}
	}
}

func TestFormatRefusesWhatLeavesItsField(t *testing.T) {
	for _, value := range []string{"a\rb", "a\nb", "a\r\nX: y", "a\r\n b", "a\x00b", "a\x1bb", "a\x7f", "a\u0085b", "a\u2028b", "\xff", strings.Repeat("x", 998)} {
		if got, err := Format("A", value); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%q: %q, %v", value, got, err)
		}
		if len(value) < 900 {
			if _, err := Format("A", Clean(value)); err != nil {
				t.Errorf("%q cleaned: %v", value, err)
			}
		}
	}
	for _, name := range []string{"", "a b", "a ", "a\t", "a:", "a\r\n", "\u00e4", " a", strings.Repeat("a", 80)} {
		if got, err := Format(name, "x"); !errors.Is(err, ErrUnsafe) {
			t.Errorf("name %q: %q, %v", name, got, err)
		}
	}
}

func TestPhrase(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Ada Lovelace", "Ada Lovelace"},
		{"Lovelace, Ada", `"Lovelace, Ada"`},
		{`A "B" \`, `"A \"B\" \\"`},
		{"Gr\u00fc\u00df", "=?utf-8?q?Gr=C3=BC=C3=9F?="},
		{"=?utf-8?q?x?=", `"=?utf-8?q?x?="`},
		{"a\r\nb", "a  b"},
		{"", ""},
	} {
		if got := Phrase(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add("A", "b c")
	f.Add("A", strings.Repeat("word ", 400))
	f.Fuzz(func(t *testing.T, name, value string) {
		for _, v := range []string{value, Clean(value), Encode(value), Phrase(value)} {
			raw, err := Format(name, v)
			if err != nil {
				continue
			}
			h, _, err := Read(bytes.NewReader(append(raw, "\r\nbody"...)), 0)
			if err != nil || h.Len() != 1 || h.Get(name) != strings.Trim(v, " \t") {
				t.Errorf("%q: %q became %q, %v", name, v, raw, err)
			}
			for line := range bytes.Lines(raw) {
				if len(line) > maxLine+2 {
					t.Errorf("a line of %d bytes", len(line))
				}
			}
		}
	})
}
