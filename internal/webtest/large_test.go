package webtest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestLargeMail opens mail made to be too much: the server bounds what it sends, whatever came, and the browser
// shows it.
func TestLargeMail(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	var links bytes.Buffer
	for i := range 100_000 {
		fmt.Fprintf(&links, "<a href=http://a.example/%d>link %d</a>\r\n", i, i)
	}
	line := strings.Repeat("All work and no play. ", 3) + "\r\n"
	kinds := []struct {
		name, kind string
		body       []byte
	}{
		{"10 MB of HTML", "text/html", bytes.Repeat([]byte("<p style='color:red'>Hello <b>you</b></p>\r\n"), 10<<20/43)},
		{"100,000 links", "text/html", links.Bytes()},
		{"deep HTML", "text/html", bytes.Repeat([]byte("<div>\r\n"), 300_000)},
		{"deep tables", "text/html", bytes.Repeat([]byte("<table><tr><td>\r\n"), 100_000)},
		{"one long word", "text/html", []byte("<p>" + strings.Repeat(strings.Repeat("x", 900)+"\r\n", 3000))},
		{"many styles", "text/html", append(bytes.Repeat([]byte("<style>div p{color:red}</style>\r\n"), 50_000), bytes.Repeat([]byte("<div><p>x\r\n"), 20_000)...)},
		{"misnested", "text/html", bytes.Repeat([]byte("<b a=1><i><p><font color=red>x\r\n"), 100_000)},
		{"45 MB of text", "text/plain", bytes.Repeat([]byte(line), 45<<20/len(line))},
		{"100,000 addresses in text", "text/plain", bytes.Repeat([]byte("https://a.example/x mailto:a@b.example\r\n"), 100_000)},
		{"100,000 levels of quotes", "text/plain", bytes.Repeat([]byte(strings.Repeat(">", 900)+" x\r\n"), 3000)},
		{"right to left", "text/plain; charset=utf-8", []byte("\u202egnp.exe\u202c \u2066\u2067 x\r\n")},
	}
	o := newOffice(t)
	tb := visitor(t)
	cookie := o.cookie(t, ann)
	for _, k := range kinds {
		o.send(t, ann, letter(strings.ReplaceAll(k.name, ",", ""), k.kind, k.body))
	}
	tb.signIn(o, ann)
	messages := o.messages(t, cookie)
	if len(messages) != len(kinds) {
		t.Fatalf("%d messages", len(messages))
	}
	size := func(path string) int64 {
		n, err := io.Copy(io.Discard, o.get(t, o.web.URL+path, cookie).Body)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i, m := range messages {
		k := kinds[len(kinds)-1-i] // the newest is first
		pages, frames := o.views(t, cookie, m)
		for j, p := range append(pages, frames...) {
			n := size(p)
			if n > 4<<20 {
				t.Errorf("%s: %s is %d bytes", k.name, p, n)
			}
			if j == 0 || j >= len(pages) {
				t.Logf("%-26s %9d bytes came, %8d are sent of %s", k.name, len(k.body), n, strings.TrimPrefix(p, m))
			}
		}
		tb.open(o.web.URL + m)
		if n := eval[int](tb, `document.querySelectorAll('*').length`); n > 60_000 {
			t.Errorf("%s: %d elements", k.name, n)
		}
		for _, f := range frames {
			tb.open(o.web.URL + f)
			if n := eval[int](tb, `document.querySelectorAll('*').length`); n > 31_000 {
				t.Errorf("%s: %d elements in the frame", k.name, n)
			}
		}
	}
}
