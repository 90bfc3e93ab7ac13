package mailtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/mailtest"
)

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const newsletter = `From: =?utf-8?q?J=C3=B6rg?= <j@example.test>
To: ann@example.test
Subject: =?utf-8?b?R3LDvMOfZQ==?= and more
Date: Fri, 02 Jan 2026 03:04:05 +0000
Message-ID: <1@example.test>
Content-Type: multipart/mixed; boundary=A

--A
Content-Type: multipart/alternative; boundary=B

--B
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Your code is 123456, gr=FC=DFe. See https://example.test/a?b=3Dc. (Or
http://example.test/x_(y).) Order 12345678.
--B
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PGEgaHJlZj0iaHR0cHM6Ly9leGFtcGxlLnRlc3QvZ28iPmdvPC9hPiA8YSBocmVmPSJodHRwczovL2V4YW1wbGUudGVzdC9hP2I9YyI+eDwvYT4=
--B--
--A
Content-Type: application/pdf; name*=utf-8''R%C3%A9sum%C3%A9.pdf
Content-Transfer-Encoding: base64

JVBERg==
--A
Content-Type: image/png
Content-ID: <logo>
Content-Disposition: inline

png
--A
Content-Type: message/rfc822

Subject: inner

secret 999999
--A--
`

func TestReading(t *testing.T) {
	m := &mailtest.Message{Raw: crlf(newsletter)}
	if s := m.Header("subject"); s != "Grüße and more" {
		t.Error(s)
	}
	if s := m.Header("From"); s != "Jörg <j@example.test>" {
		t.Error(s)
	}
	if s := m.Text(); !strings.HasPrefix(s, "Your code is 123456, grüße. See") || strings.Contains(s, "\r") {
		t.Errorf("%q", s)
	}
	if s := m.HTML(); !strings.HasPrefix(s, `<a href="https://example.test/go">`) {
		t.Errorf("%q", s)
	}
	if got := m.Links(); !slices.Equal(got, []string{"https://example.test/go", "https://example.test/a?b=c", "http://example.test/x_(y)"}) {
		t.Errorf("%q", got)
	}
	if m.Link("a?b") != "https://example.test/a?b=c" || m.Link("nothing") != "" {
		t.Error(m.Link("a?b"))
	}
	if m.Code(6) != "123456" || m.Code(8) != "12345678" || m.Code(4) != "" {
		t.Error(m.Codes(6), m.Codes(8), m.Codes(4))
	}
	var got []string
	for _, a := range m.Attachments() {
		got = append(got, fmt.Sprintf("%s %s %s %v %.8q", a.Name, a.Type, a.ContentID, a.Inline, a.Data))
	}
	want := []string{`Résumé.pdf application/pdf  false "%PDF"`, ` image/png logo true "png"`, ` message/rfc822  false "Subject:"`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if a := m.Attachment("Résumé.pdf"); a == nil || string(a.Data) != "%PDF" {
		t.Error(a)
	}
	if m.Attachment("none") != nil {
		t.Error("there is one")
	}
	if (&mailtest.Message{Raw: crlf("\n123-456 or 12 34\n")}).Code(6) != "123456" {
		t.Error("a code with a hyphen")
	}
	if s := (&mailtest.Message{Raw: crlf("Content-Type: text/html\n\n<p>Hi &amp; bye</p>")}).Text(); s != "Hi & bye" {
		t.Errorf("%q", s)
	}
	if m := (&mailtest.Message{}); m.Text() != "" || m.HTML() != "" || m.Links() != nil || m.Header("x") != "" || m.Attachments() != nil || m.Body() != "" {
		t.Error("an empty message has something")
	}
}

func TestGolden(t *testing.T) {
	m := &mailtest.Message{Raw: crlf("Received: by x\n (y)\nReturn-Path: <z@x>\n" + newsletter)}
	m.Golden(t, "testdata/newsletter.golden")
	if os.Getenv(mailtest.GoldenEnv) != "" {
		return
	}
	other := strings.NewReplacer("boundary=A", "boundary=CC", "--A", "--CC", "boundary=B", "boundary=\"E E\"", "--B", "--E E", "Fri, 02", "Sat, 03", "<1@", "<2@", "logo", "image1").Replace(newsletter)
	(&mailtest.Message{Raw: crlf(other)}).Golden(t, "testdata/newsletter.golden")
	f := &said{TB: t}
	(&mailtest.Message{Raw: crlf(strings.Replace(newsletter, "Your code", "Your key", 1))}).Golden(f, "testdata/newsletter.golden")
	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "\n- Your code is 123456") || !strings.Contains(f.errors[0], "\n+ Your key is 123456") {
		t.Errorf("%q", f.errors)
	}
	t.Setenv(mailtest.GoldenEnv, "1")
	file := filepath.Join(t.TempDir(), "new", "x.golden")
	m.Golden(t, file)
	t.Setenv(mailtest.GoldenEnv, "")
	m.Golden(t, file)
	if b, err := os.ReadFile(file); err != nil || string(b) != m.Normal() {
		t.Error(err)
	}
}

// said notes what a test would have said.
type said struct {
	testing.TB
	errors []string
}

func (s *said) Helper() {}
func (s *said) Errorf(format string, args ...any) {
	s.errors = append(s.errors, fmt.Sprintf(format, args...))
}

const clean = "From: a@example.test\nTo: b@example.test\nSubject: hello\nDate: Fri, 02 Jan 2026 03:04:05 +0000\nMessage-ID: <1@x>\n"

func both(text, html string) string {
	return clean + "Content-Type: multipart/alternative; boundary=B\n\n--B\n\n" + text + "\n--B\nContent-Type: text/html; charset=utf-8\n\n" + html + "\n--B--\n"
}

func TestLint(t *testing.T) {
	for name, tt := range map[string]struct {
		raw  string
		lint mailtest.Lint
		want []string // rule and a part of the text
	}{
		"nothing":         {raw: both("Hello Ann, here it is.", "<p>Hello Ann, here <a href='https://x.test/'>it is</a>.</p>")},
		"fields":          {raw: "From: a@x\nFrom: b@x\nSubject: \nDate: soon\n\nhello\n", want: []string{"header From stands 2", "header no Message-ID", "header Subject is empty", `header Date "soon"`}},
		"raw bytes":       {raw: strings.Replace(clean, "hello", "h\xc3\xb6", 1) + "\nx\n", want: []string{"header not ASCII"}},
		"address":         {raw: strings.Replace(clean, "b@example.test", "b@", 1) + "\nx\n", want: []string{`address To "b@"`}},
		"no text":         {raw: clean + "Content-Type: text/html\n\n<p>Hello Ann, here it is.</p>\n", want: []string{"no-text text/plain"}},
		"image only":      {raw: both("x", "<img src='cid:a' alt=''>"), want: []string{"image-only images", "cid cid:a"}},
		"no alt":          {raw: both("x", "<p>Hello Ann, here it is.</p><img src='https://x.test/a.png'>"), want: []string{"alt a.png"}},
		"data image":      {raw: both("x", "<p>Hello Ann, here it is.</p><img alt='' src='data:image/png;base64,AA'>"), want: []string{"data-image data:"}},
		"empty":           {raw: clean + "\n", want: []string{"empty nothing"}},
		"links":           {raw: both("x", "<p>Hello Ann, here it is.</p><a href='/a'>1</a><a href='https://{{.Host}}/'>2</a><a href='#'>3</a><a href='mailto:'>4</a><a href='http://x.test'>5</a><a href='http://localhost:3000/'>6</a><a href='https://[x/'>7</a><a href='javascript:x'>8</a>"), want: []string{"link relative", "link template", "link nowhere", "link no address", "insecure-link http://x.test", "local-link localhost", "insecure-link localhost", "link [x", "link javascript"}},
		"template":        {raw: clean + "\nHello {{.Name}}\n", want: []string{"template {{", "template }}"}},
		"too large":       {raw: clean + "\n" + strings.Repeat("x\n", 100), lint: mailtest.Lint{MaxSize: 100}, want: []string{"size bytes"}},
		"long line":       {raw: clean + "\n" + strings.Repeat("x", 1000) + "\n", want: []string{"line-length 998"}},
		"bulk":            {raw: clean + "\nx\n", lint: mailtest.Lint{Bulk: true}, want: []string{"unsubscribe List-Unsubscribe"}},
		"bulk, one click": {raw: "List-Unsubscribe: <https://x.test/u>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n" + clean + "\nx\n", lint: mailtest.Lint{Bulk: true}},
		"bulk, no post":   {raw: "List-Unsubscribe: <https://x.test/u>\n" + clean + "\nx\n", lint: mailtest.Lint{Bulk: true}, want: []string{"unsubscribe Post"}},
		"clients": {raw: both("x", "<style>@media print { p { position: absolute } } b { display : flex !important }</style><p style='border-radius:1px' onclick='x'>Hello Ann, here it is.</p><video></video><img alt='' src='https://x.test/a.svg'>"),
			want: []string{"client-support position", "client-support @media", "client-support flex", "client-support border-radius", "client-support onclick", "client-support video", "client-support SVG"}},
		"one client": {raw: both("x", "<style>@media print { p { position: absolute } }</style><p>Hello Ann, here it is.</p>"), lint: mailtest.Lint{Clients: []string{"apple-mail"}}},
		"except":     {raw: both("x", "<p>Hello Ann, here it is.</p><a href='/a'>1</a>"), lint: mailtest.Lint{Except: []string{"link"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.lint.Check(&mailtest.Message{Raw: crlf(tt.raw)})
			left := slices.Clone(got)
			for _, w := range tt.want {
				rule, part, _ := strings.Cut(w, " ")
				i := slices.IndexFunc(left, func(p mailtest.Problem) bool { return p.Rule == rule && strings.Contains(p.Text, part) })
				if i < 0 {
					t.Errorf("no %q in %v", w, got)
					continue
				}
				left = slices.Delete(left, i, i+1)
			}
			if len(left) > 0 {
				t.Errorf("also %v", left)
			}
		})
	}
	f := &said{TB: t}
	(&mailtest.Message{Raw: crlf(both("x", "<p style='border-radius:1px'>Hello Ann, here it is.</p><a href='/a'>1</a>"))}).AssertClean(f)
	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "relative") {
		t.Errorf("%q", f.errors)
	}
}
