package mailview

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/attachment"
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
		"a." + strings.Repeat("b", 300):                              "a_" + strings.Repeat("b", 178),
		strings.Repeat("a", 170) + ".exe." + strings.Repeat("b", 30): strings.Repeat("a", 170) + "_exe_" + strings.Repeat("b", 5),
		"x.exe\u3164": "x.exe_", "x.e\u034fxe": "x.e_xe", "x.e\u2028xe": "x.e xe", "x.\u2800exe": "x._exe", "x.e\u00adxe": "x.exe",
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

// What has the name of a program here is judged as one by the filter, whatever it is
// called in the message.
func FuzzProgramsAreJudged(f *testing.F) {
	for _, s := range []string{"a.exe", "a.e\u034fxe", "a.exe\u3164", strings.Repeat("a", 176) + ".exe.bbbbbbbbbbbbbbbbbbbbbbbbb", "a.exe. .", "a.ex\u0065\u0301", "a.e\u2800xe", "a/b.exe", "a.exe:b", ".exe", "a.\ufefeexe", "a.exe\xff", "a.\u2028exe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		var enc strings.Builder
		for i := 0; i < len(name) && i < 2000; i++ {
			fmt.Fprintf(&enc, "%%%02X", name[i])
		}
		text := "From: a@example.net\r\nContent-Type: x/y\r\nContent-Disposition: attachment; filename*=utf-8''" + enc.String() + "\r\n\r\nx"
		m, err := message.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		shown := partOf(leaf{part: &m.Root, path: "1"}).Name
		if low := strings.ToLower(shown); !strings.HasSuffix(low, ".exe") && !strings.HasSuffix(low, ".js") {
			return
		}
		v, err := (&attachment.Filter{}).FilterMessage(t.Context(), &filter.Transaction{Content: plainContent(text), Env: &mailkeel.Envelope{}})
		if err != nil || v.Refuse == nil {
			t.Fatalf("%q is shown as %q: %+v, %v", name, shown, v, err)
		}
	})
}

// plainContent is a Content.
type plainContent string

func (c plainContent) Size() int64 { return int64(len(c)) }
func (c plainContent) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(c))), nil
}
