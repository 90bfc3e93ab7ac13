package mailview

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/message"
)

func TestNamesOfFilesAreSafe(t *testing.T) {
	long := strings.Repeat("ä", 300)
	for in, want := range map[string]string{
		"a.txt": "a.txt", "Böse Datei.pdf": "Böse Datei.pdf", "../../etc/passwd": "_.._etc_passwd", `C:\x\y.doc`: "C__x_y.doc",
		"a\u202efdp.exe": "afdp.exe", "a\x00b.txt": "ab.txt", "a\r\nb.txt": "ab.txt", "a\tb.txt": "a b.txt", "CON": "_CON", "con.txt": "_con.txt", "com1.a.b": "_com1.a.b",
		"COM¹.txt": "_COM¹.txt", "common.txt": "common.txt", "LPT10.txt": "LPT10.txt", "": "", ".": "", "..": "", "...": "", " ": "", "///": "", ".htaccess": "htaccess", "x.exe. . ": "x.exe",
		"a:b": "a_b", `a"b<c>d|e*f?`: "a_b_c_d_e_f_", "a∕b／c": "a_b_c", "x.exe\u200b": "x.exe", "e\u0301.txt": "é.txt", "nul.": "_nul", "aux .txt": "_aux .txt",
		long + ".pdf": strings.Repeat("ä", 88) + ".pdf", strings.Repeat("a", 300): strings.Repeat("a", 180),
		"a." + strings.Repeat("b", 300): "a." + strings.Repeat("b", 178),
	} {
		got := safeName(in)
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if safeName(got) != got {
			t.Errorf("%q: twice is %q", in, safeName(got))
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"a.txt", "CON", "../x", "\xff\xfe", strings.Repeat("é.", 200), " .a. ", "_.", "a\u2028b", "COM1 .x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := safeName(s)
		if len(got) > maxName || !utf8.ValidString(got) || strings.ContainsAny(got, "/\\:*?\"<>|\x00\r\n\u202e\u2066") || strings.HasPrefix(got, ".") || strings.HasSuffix(got, ".") || strings.HasSuffix(got, " ") || device(got) {
			t.Fatalf("%q: got %q", s, got)
		}
		if safeName(got) != got {
			t.Fatalf("%q: got %q, and of that %q", s, got, safeName(got))
		}
	})
}

func TestEveryPartHasAName(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"Content-Type: application/pdf", "part-1.pdf"},
		{"Content-Type: application/x-unknown", "part-1.bin"},
		{"Content-Type: text/x-unknown", "part-1.txt"},
		{"Content-Type: image/png; name=\"..\"", "part-1.png"},
		{"Content-Type: image/png; name=\"=?utf-8?q?a=2Fb=2Epng?=\"", "a_b.png"},
		{"Content-Type: x/y; name=a.txt\nContent-Disposition: attachment; filename*0*=utf-8''b%C3%A4; filename*1=\"c.exe\"", "bäc.exe"},
		{"Content-Type: message/rfc822\n\nSubject: =?utf-8?q?a/b?=\n", "a_b.eml"},
		{"Content-Type: message/rfc822\n\n\n", "part-1.eml"},
		{"Content-Type: <b>/<script>", "part-1.txt"},
	} {
		m, err := message.Parse(strings.NewReader(tt.header + "\n\nx"))
		if err != nil {
			t.Fatal(err)
		}
		if p := partOf(leaf{part: &m.Root, path: "1"}); p.Name != tt.want {
			t.Errorf("%q: %+v", tt.header, p)
		}
	}
}
