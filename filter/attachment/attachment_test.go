package attachment_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/attachment"
	"github.com/mailkeel/mailkeel/filter/filtertest"
	"github.com/mailkeel/mailkeel/internal/message/messagetest"
)

// text is a message in memory. It counts what is read of it.
type text struct {
	s    string
	read atomic.Int64
}

func (c *text) Size() int64 { return int64(len(c.s)) }
func (c *text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(io.TeeReader(strings.NewReader(c.s), c)), nil
}
func (c *text) Write(p []byte) (int, error) { c.read.Add(int64(len(p))); return len(p), nil }

func judge(t testing.TB, f *attachment.Filter, m string) filter.Verdict {
	t.Helper()
	v, err := f.FilterMessage(t.Context(), &filter.Transaction{Content: &text{s: m}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// part is a message with a text and a part.
func part(header string) string { return messagetest.Name{Header: header + "\r\n"}.Message() }

func TestEveryWayToWriteANameIsRefused(t *testing.T) {
	for _, n := range messagetest.Names() {
		v := judge(t, &attachment.Filter{}, n.Message())
		if v.Refuse == nil || v.Refuse.Code != 554 {
			t.Errorf("%s passes:\n%s", n.Title, n.Header)
			continue
		}
		if n.Shown != "" && !strings.Contains(v.Why, fmt.Sprintf("%.60q", n.Shown)) {
			t.Errorf("%s: shown is %q, judged %s", n.Title, n.Shown, v.Why)
		}
	}
}

func TestWhatPasses(t *testing.T) {
	for _, header := range []string{
		"Content-Type: application/pdf; name=x.pdf", "Content-Type: text/plain", "Content-Type: text/plain; name=\"read.exe.txt\"",
		"Content-Type: application/zip\r\nContent-Disposition: attachment; filename=\"exe.zip\"", "Content-Type: image/png; name=\"exe\"",
		"Content-Type: text/x-python; name=x.py", "Content-Type: text/plain; name=\"see http://example.com/a.pdf\"", "Content-Type: a/b; name=\".\"",
		"Content-Type: application/pdf; name*=utf-8''%D7%A9%E2%80%8F.pdf", "Content-Type: a/b; title=x.exe", "Content-Type: message/rfc822\r\n\r\nSubject: x.exe\r\n",
	} {
		if v := judge(t, &attachment.Filter{}, part(header)); v.Refuse != nil || v.Score != 0 || v.Junk || v.Why != "" {
			t.Errorf("%q: %+v", header, v)
		}
	}
	for _, m := range []string{"", "\r\n", "Subject: x.exe\r\n\r\nx.exe\r\n", "no header at all"} {
		if v := judge(t, &attachment.Filter{}, m); v.Why != "" {
			t.Errorf("%q: %+v", m, v)
		}
	}
}

func TestTypesAndLists(t *testing.T) {
	program := part("Content-Type: application/x-MSDownload; name=x.bin")
	if v := judge(t, &attachment.Filter{}, program); v.Refuse == nil || !strings.Contains(v.Why, "of type") {
		t.Errorf("%+v", v)
	}
	if v := judge(t, &attachment.Filter{}, part("Content-Type: text/plain\r\nContent-Type: application/x-dosexec")); v.Refuse == nil {
		t.Errorf("a second type: %+v", v)
	}
	if v := judge(t, &attachment.Filter{Types: []string{}}, program); v.Why != "" {
		t.Errorf("%+v", v)
	}
	own := &attachment.Filter{Extensions: []string{"pdf"}, JunkExtensions: []string{"exe"}, JunkTypes: []string{"image/png"}, Score: 2}
	if v := judge(t, own, part("Content-Type: a/b; name=x.PDF")); v.Refuse == nil || v.Score != 2 {
		t.Errorf("%+v", v)
	}
	for _, h := range []string{"Content-Type: a/b; name=x.exe", "Content-Type: image/png"} {
		if v := judge(t, own, part(h)); v.Refuse != nil || !v.Junk || v.Score != 2 || v.Why == "" {
			t.Errorf("%s: %+v", h, v)
		}
	}
	for _, ext := range []string{"exe", "scr", "js", "lnk", "iso", "vbs", "jar", "ps1", "msi", "hta", "{00020d75-0000-0000-c000-000000000046}"} {
		if v := judge(t, &attachment.Filter{}, part("Content-Type: a/b; name=\"x."+ext+"\"")); v.Refuse == nil {
			t.Errorf(".%s passes", ext)
		}
	}
}

func TestModes(t *testing.T) {
	m := part("Content-Type: a/b; name=x.exe")
	if v := judge(t, &attachment.Filter{Mode: filter.Mark}, m); v.Refuse != nil || !v.Junk || v.Score != 5 {
		t.Errorf("mark: %+v", v)
	}
	if v := judge(t, &attachment.Filter{Mode: filter.Log}, m); v.Refuse != nil || v.Junk || v.Score != 0 || v.Why == "" {
		t.Errorf("log: %+v", v)
	}
}

// within puts a message into another one, as it is or encoded.
func within(m, encoding string) string {
	body := m
	if encoding == "base64" {
		body = base64.StdEncoding.EncodeToString([]byte(m))
	}
	if encoding == "quoted-printable" {
		body = strings.NewReplacer("=", "=3D", "exe", "e=78e").Replace(m)
	}
	return "Subject: fwd\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=z" + encoding + "\r\n\r\n--z" + encoding +
		"\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: " + encoding + "\r\n\r\n" + body + "\r\n--z" + encoding + "--\r\n"
}

func TestMessagesInside(t *testing.T) {
	bad := part("Content-Type: a/b; name=x.exe")
	good := part("Content-Type: a/b; name=x.txt")
	for _, enc := range []string{"7bit", "base64", "quoted-printable", "BASE64"} {
		if v := judge(t, &attachment.Filter{}, within(bad, strings.ToLower(enc))); v.Refuse == nil || !strings.Contains(v.Why, "x.exe") {
			t.Errorf("%s: %+v", enc, v)
		}
		if v := judge(t, &attachment.Filter{}, within(good, strings.ToLower(enc))); v.Why != "" {
			t.Errorf("%s: %+v", enc, v)
		}
	}
	if v := judge(t, &attachment.Filter{}, within(within(bad, "base64"), "base64")); v.Refuse == nil || !strings.Contains(v.Why, "x.exe") {
		t.Errorf("twice: %+v", v)
	}
	deep := good
	for range 8 {
		deep = within(deep, "base64")
	}
	if v := judge(t, &attachment.Filter{}, deep); v.Refuse == nil || !strings.Contains(v.Why, "too many messages") {
		t.Errorf("eight times: %+v", v)
	}
}

// TestReadsAsMuchAsThereIs counts bytes: T24.
func TestReadsAsMuchAsThereIs(t *testing.T) {
	encoded := "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0KDQp4DQo=\r\n"
	head := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	for name, m := range map[string]string{
		"many encoded messages": head + strings.Repeat(encoded, 5000),
		"a large one":           within(within("Subject: x\r\n\r\n"+strings.Repeat("x", 500_000), "base64"), "base64"),
		"many parts":            head + strings.Repeat("--b\r\nContent-Type: a/b; name=x.txt\r\n\r\nx\r\n", 50_000),
		"deep":                  strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 50_000),
	} {
		c := &text{s: m}
		if _, err := (&attachment.Filter{}).FilterMessage(t.Context(), &filter.Transaction{Content: c}); err != nil {
			t.Fatal(err)
		}
		if n := c.read.Load(); n > 22*c.Size() || n < c.Size() {
			t.Errorf("%s: %d bytes were read of %d", name, n, c.Size())
		}
	}
}

func TestConformance(t *testing.T) {
	filtertest.Run(t, func(*testing.T) filter.Filter { return &attachment.Filter{} },
		filtertest.Sample{From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: part("Content-Type: a/b; name=x.exe")},
		filtertest.Sample{From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: part("Content-Type: a/b; name=\"\x01\x00\r\n .exe\"")},
		filtertest.Sample{From: "ann@example.com", Rcpts: []string{"bob@example.org"}, Content: within(part("Content-Type: a/b; name=x.exe"), "base64")})
}

func Example() {
	mx := &filter.Chain{Groups: [][]filter.Filter{{&attachment.Filter{}}}}
	v := mx.Run(context.Background(), filter.Message, &filter.Transaction{
		Env: &mailkeel.Envelope{ID: "m1"},
		Content: &text{s: "Content-Type: application/octet-stream;\r\n name*0=\"invoice.pdf\";\r\n name*1=\".e\"; name*2=xe\r\n" +
			"Content-Disposition: attachment; filename=invoice.pdf\r\n\r\nMZ\r\n"},
	})
	fmt.Println(v.Refuse)
	// Output:
	// 554 5.7.1 message refused: attachment "invoice.pdf", also called "invoice.pdf.exe", is a program (.exe)
}
