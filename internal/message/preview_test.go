package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestPreview(t *testing.T) {
	html := "Content-Type: text/html\n\n"
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"text", "\nhello\n  world\r\n\t!\n", "hello world !"},
		{"cut", "\n" + strings.Repeat("\u00e4", 300), strings.Repeat("\u00e4", 256)},
		{"cut at a space", "\n" + strings.Repeat("a", 255) + " b", strings.Repeat("a", 255)},
		{"long line", "\n" + strings.Repeat("a", 100_000), strings.Repeat("a", 256)},
		{"controls", "\na\x00\x1bb\u200b\ufeffc", "a bc"},
		{"base64", "Content-Transfer-Encoding: base64\n\naGVsbG8=", "hello"},
		{"quoted-printable", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n=E4=\nb", "\u00e4b"},
		{"UTF-8 that says nothing", "\n\xc3\xa4", "\u00e4"},
		{"Latin-1 that says nothing", "\n\xe4", "\u00e4"},
		{"html", html + "<html><head><title>T</title><style>p{}</style></head><body><p>a&amp;b<br>c<b>d</b></p><!-- x --><script>if (a<b) {}</script>e</body>", "a&b cd e"},
		{"html not closed", html + "<p>a<p", "a"},
		{"html with a loose angle", html + "a < b<3", "a < b<3"},
		{"html with a quoted angle", html + `<a href="x>y" title='>'>a</a>`, "a"},
		{"html without end of head", html + "<head><title>T</title><body>a", "a"},
		{"html in upper case", html + "<STYLE>x</STYLE>a", "a"},
		{"html comment not closed", html + "a<!-- b", "a"},
		{"html entities", html + "&lt;b&gt; &#228;&nbsp;x", "<b> \u00e4 x"},
		{"alternative", mixed + "--A\nContent-Type: text/html\n\n<p>html\n--A\n\ntext\n--A--\n", "text"},
		{"empty text", mixed + "--A\n\n \n--A\nContent-Type: text/html\n\n<p>html\n--A--\n", "html"},
		{"attachment does not count", mixed + "--A\nContent-Disposition: attachment\n\nfile\n--A\n\ntext\n--A--\n", "text"},
		{"first text counts", mixed + "--A\n\none\n--A\n\ntwo\n--A--\n", "one"},
		{"no text", "Content-Type: image/png\n\nx", ""},
		{"multipart without parts", mixed + "hello", "hello"},
	} {
		if got := parse(t, tt.in).Preview; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzPlainText(f *testing.F) {
	f.Add("<head><title>a</title></head>b<!-- c -->&amp;<p title='>'>")
	f.Add("<script>if (a<b) '</x>'</script>&#x41&euro;&nope;<")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := io.ReadAll(PlainText(strings.NewReader(s)))
		if err != nil || utf8.ValidString(s) && !utf8.Valid(got) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
		again, err := io.ReadAll(PlainText(iotest.OneByteReader(strings.NewReader(s))))
		if err != nil || !bytes.Equal(got, again) {
			t.Errorf("%q: %q and, byte by byte, %q", s, got, again)
		}
	})
}

// FuzzOneLine checks that a preview does not depend on how its text arrives.
func FuzzOneLine(f *testing.F) {
	f.Add(" a\u00e4\r\n\u20ac \U0001f600\xe2\x82b\xff")
	f.Add(strings.Repeat("\u20ac", 300))
	f.Fuzz(func(t *testing.T, s string) {
		want := oneLine(strings.NewReader(s), make([]byte, len(s)+1))
		if got := oneLine(iotest.OneByteReader(strings.NewReader(s)), make([]byte, 8)); got != want {
			t.Errorf("%q: %q and, byte by byte, %q", s, want, got)
		}
		if !utf8.ValidString(want) || utf8.RuneCountInString(want) > maxPreview {
			t.Errorf("%q: %q", s, want)
		}
	})
}
