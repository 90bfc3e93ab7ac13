package webmail

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"
)

func TestTextHTML(t *testing.T) {
	link := func(href, text string) string {
		return `<a href="` + href + `" target="_blank" rel="noopener noreferrer nofollow">` + text + `</a>`
	}
	for _, tt := range []struct{ in, out string }{
		{"", ""},
		{"a <b> & \"c\"", "a &lt;b&gt; &amp; &#34;c&#34;"},
		{"one\ntwo\n", "one\ntwo"},
		{"> q\n>> qq\n> q\nown", "<blockquote>q<blockquote>qq</blockquote>q</blockquote>own"},
		{">>>>>>>>>>deep", strings.Repeat("<blockquote>", 8) + "&gt;&gt;deep" + strings.Repeat("</blockquote>", 8)},
		{"see https://a.test/x?a=1&b=2.", "see " + link("https://a.test/x?a=1&amp;b=2", "https://a.test/x?a=1&amp;b=2") + "."},
		{"(http://a.test/b_(c))", "(" + link("http://a.test/b_(c)", "http://a.test/b_(c)") + ")"},
		{"www.a.test, yes", link("https://www.a.test", "www.a.test") + ", yes"},
		{"<https://a.test>", "&lt;" + link("https://a.test", "https://a.test") + "&gt;"},
		{"HTTPS://A.test/", link("HTTPS://A.test/", "HTTPS://A.test/")},
		{"javascript://a.test/%0aevil()", "javascript://a.test/%0aevil()"},
		{"xhttps://a.test", "xhttps://a.test"},
		{"https://user@bank.test", "https://user@bank.test"}, // who is meant?
		{"https://", "https://"},
		{"https://a.test/\u202Etxt.exe", link("https://a.test/", "https://a.test/") + "\u202Etxt.exe"},
		{`https://a.test/"onclick="evil()`, link("https://a.test/", "https://a.test/") + `&#34;onclick=&#34;evil()`},
		{"https://a.test https://b.test", link("https://a.test", "https://a.test") + " " + link("https://b.test", "https://b.test")},
	} {
		if got := string(textHTML(tt.in)); got != tt.out {
			t.Errorf("%q:\n got %s\nwant %s", tt.in, got, tt.out)
		}
	}
}

// TestTextHTMLGrows: twice the text costs twice the memory, whatever is in it.
func TestTextHTMLGrows(t *testing.T) {
	for _, unit := range []string{"www.", "http://", "://", "https://a", "https://a.test/( ", ">\n", ">>>>>>>>x\ny\n", "<", "www.a))))))"} {
		size := func(n int) int { return len(textHTML(strings.Repeat(unit, n))) }
		if a, b := size(10_000), size(20_000); b > 2*a+1000 {
			t.Errorf("%q: %d, then %d bytes", unit, a, b)
		}
	}
	// Many links on one line: 10,000, then text.
	if n := strings.Count(string(textHTML(strings.Repeat("https://a.test ", 100_000))), "<a "); n != maxLinks {
		t.Errorf("%d links", n)
	}
}

// FuzzTextHTML: what a reader sees is the text, and the only elements are links and quotes.
func FuzzTextHTML(f *testing.F) {
	for _, s := range []string{evil, "> a\n>> b https://a.test/?q=<x>&y\n", "www.a.test)www.b.test", "https://\x00\xff", "HTTP://[::1]:80/x www.", "http://a\u2028b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\x00") || !utf8.ValidString(s) { // mailview lets none through, and parsers change them
			t.Skip()
		}
		out := string(textHTML(s))
		doc, err := html.Parse(strings.NewReader("<div>" + out + "</div>"))
		if err != nil {
			t.Skip() // deeper than it reads
		}
		var text strings.Builder
		for n := range doc.Descendants() {
			switch {
			case n.Type == html.TextNode:
				text.WriteString(n.Data)
			case n.Type == html.ElementNode && n.Data == "a":
				if h := attr(n, "href"); !strings.HasPrefix(strings.ToLower(h), "http") || len(n.Attr) != 3 {
					t.Errorf("%q: link %v", s, n.Attr)
				}
			case n.Type == html.ElementNode && !strings.Contains(" html head body div blockquote ", " "+n.Data+" ") || n.Type == html.CommentNode:
				t.Errorf("%q: <%s>", s, n.Data)
			}
		}
		squeeze := func(s string) string { return strings.NewReplacer("\n", "", ">", "", " ", "").Replace(s) }
		if got, want := squeeze(text.String()), squeeze(s); got != want {
			t.Errorf("text %q, want %q", got, want)
		}
	})
}

func TestNegotiate(t *testing.T) {
	langs := []string{"en", "de", "pt-BR"}
	for accept, want := range map[string]string{
		"": "", "de": "de", "de-AT,de;q=0.9,en;q=0.8": "de", "fr,en;q=0.5": "en", "en;q=0.5,de;q=0.6": "de",
		"pt": "pt-BR", "PT-br": "pt-BR", "*": "", "de;q=0": "", "de;q=x,en;q=0.1": "en", "de;q=NaN": "", strings.Repeat("x,", 5000) + "de": "",
	} {
		if got := negotiate(accept, langs); got != want {
			t.Errorf("%.40q: %q, want %q", accept, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	w, err := parseWords("en", "# comment\n\na = plain\nb={1} of {2}, {1}\nn.one = {1} thing\nn.other = {1} things\ndate.months = 1 2 3 4 5 6 7 8 9 10 11 12\ndate.day = {2}/{1}\ndate.year = {3}-{2}-{1}\ndate.time = {1} {2}\n")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		w.t("a"): "plain", w.t("b", "{2}", 5): "{2} of 5, {2}", w.tn("n", 1): "1 thing", w.tn("n", 2): "2 things", w.t("missing"): "missing",
		w.date(time.Date(2026, 3, 1, 10, 5, 0, 0, time.UTC), time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC), time.UTC): "10:05",
		w.date(time.Date(2026, 3, 1, 10, 5, 0, 0, time.UTC), time.Date(2026, 4, 1, 23, 0, 0, 0, time.UTC), time.UTC): "3/1",
		w.date(time.Date(2025, 3, 1, 10, 5, 0, 0, time.UTC), time.Date(2026, 4, 1, 23, 0, 0, 0, time.UTC), time.UTC): "2025-3-1",
		w.datetime(time.Date(2025, 3, 1, 10, 5, 0, 0, time.UTC), time.UTC):                                           "2025-3-1 10:05",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, err := parseWords("xx", "a = b\nnothing\n"); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
}

func TestDisposition(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt": "attachment; filename=a.txt", "a b.txt": `attachment; filename="a b.txt"`, "ä.txt": "attachment; filename*=utf-8''%C3%A4.txt",
		"../../x": "attachment; filename=.._.._x", "a\r\nX: y": `attachment; filename="a__X_ y"`, `"; x="`: `attachment; filename="_; x=_"`, "": "attachment; filename=\"\"", "\xff": "attachment; filename=_",
	} {
		if got := disposition(name, false); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// FuzzRequests sends anything to a Handler, as somebody who is signed in: it never fails,
// never leads elsewhere, and its pages are whole.
func FuzzRequests(f *testing.F) {
	s := newStocked(f)
	cookie := s.as("ann").cookies()[0]
	for _, rt := range routes() {
		body := ""
		if rt.changes && rt.path != "/settings/password" && rt.path != "/signout" {
			body = s.form(rt).Encode()
		}
		f.Add(rt.changes, s.path(rt), "q=a&before=1", body)
	}
	f.Add(true, "/compose", "", "do=send&to=%22a%22+%3Cbob@example.test%3E&kind=reply&re-folder=1&re-uid=1&drop=1&drop=1.1")
	f.Add(false, "/mail/9223372036854775808/4294967296", "remote=x&as=text", "")
	f.Add(false, "/mail/1/1/part/1.2.3.4.99999999999999999999", "look=1", "")
	f.Fuzz(func(t *testing.T, post bool, path, query, body string) {
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/signout") || strings.HasPrefix(path, "/settings/password") {
			t.Skip()
		}
		r := httptest.NewRequest(http.MethodGet, "https://mail.example.test/", nil)
		r.URL.Path, r.URL.RawQuery = path, query
		r.AddCookie(cookie)
		if post {
			r.Method, r.Body = http.MethodPost, io.NopCloser(strings.NewReader(body))
			r.Header.Set("Content-Type", formType)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != 507 {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		for k, vs := range w.Header() {
			if strings.ContainsAny(strings.Join(vs, ""), "\r\n\x00") {
				t.Errorf("%s: %q", k, vs)
			}
		}
		if to := w.Header().Get("Location"); to != "" && (to[0] != '/' || strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`)) {
			t.Errorf("leads to %q", to)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && !strings.Contains(r.Pattern, "/frame/") && w.Body.Len() > 0 && !strings.HasPrefix(w.Body.String(), "<a href=") {
			checkPage(t, path, w.Body.String())
		}
	})
}
