package webtest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestAttachmentsDoNotRun opens attachments of types that can hold scripts, each as it is offered and as
// one would ask for it to be looked at: those are files to keep, and what is shown is nothing but pixels or text.
func TestAttachmentsDoNotRun(t *testing.T) {
	const html = "<!doctype html><html><body onload=ran()><script>ran()</script>"
	const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="ran()"><script>ran()</script></svg>`
	const xml = `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body onload="ran()"><script>ran()</script></body></html>`
	kinds := []struct{ kind, name, body string }{
		{"text/html", "a.html", html}, {"application/xhtml+xml", "a.xhtml", xml}, {"image/svg+xml", "a.svg", svg}, {"text/xml", "a.xml", xml}, {"application/xml", "b.xml", xml},
		{"text/xsl", "a.xsl", xml}, {"application/rss+xml", "a.rss", xml}, {"application/mathml+xml", "a.mml", xml}, {"application/pdf", "a.pdf", "%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj"},
		{"text/javascript", "a.js", "ran()"}, {"application/javascript", "b.js", "ran()"}, {"text/css", "a.css", "*{background:url(http://evil.example/)}"}, {"text/calendar", "a.ics", "BEGIN:VCALENDAR\r\nX-ALT-DESC;FMTTYPE=text/html:" + html + "\r\nEND:VCALENDAR"},
		{"text/vcard", "a.vcf", "BEGIN:VCARD\r\nNOTE:" + html + "\r\nEND:VCARD"}, {"message/rfc822", "a.eml", "Content-Type: text/html\r\n\r\n" + html}, {"multipart/related", "a.mht", html}, {"application/x-shockwave-flash", "a.swf", "CWS"},
		{"application/octet-stream", "b.html", html}, {"application/json", "a.json", `{"a":"<script>ran()</script>"}`}, {"text/plain", "a.txt", html}, {"text/plain", "c.html", html}, {"image/png", "a.png", html}, {"image/gif", "d.html", "GIF89a" + html},
		{"image/jpeg", "a.jpg", svg}, {"text/html; charset=utf-7", "e.html", "+ADw-script+AD4-ran()+ADw-/script+AD4-"}, {"unknown/unknown", "f", html}, {"text/markdown", "a.md", html}, {"application/wasm", "a.wasm", "asm"},
	}
	var b bytes.Buffer
	b.WriteString("--=_b\r\nContent-Type: text/plain\r\n\r\nSee the files.\r\n")
	for _, k := range kinds {
		if strings.HasPrefix(k.kind, "multipart/") {
			k.kind = "application/x-mimearchive"
		}
		fmt.Fprintf(&b, "--=_b\r\nContent-Type: %s\r\nContent-Disposition: attachment; filename=%q\r\n\r\n%s\r\n", k.kind, k.name, k.body)
	}
	b.WriteString("--=_b--\r\n")
	o := newOffice(t)
	tb := visitor(t)
	o.send(t, ann, letter("Files", `multipart/mixed; boundary="=_b"`, b.Bytes()))
	cookie := o.cookie(t, ann)
	message := o.messages(t, cookie)[0]
	parts := map[string]bool{}
	for _, l := range o.links(t, cookie, message, message+`/part/[^"]*`) {
		base, _, _ := strings.Cut(l, "?")
		parts[base], parts[base+"?look=1"] = true, true
	}
	if len(parts) < 2*20 {
		t.Fatalf("%d addresses of attachments", len(parts))
	}
	tb.signIn(o, ann)
	tb.ran()
	shown, kept := 0, 0
	for part := range parts {
		resp := o.get(t, o.web.URL+part, cookie)
		io.Copy(io.Discard, resp.Body)
		h := resp.Header
		kind := h.Get("Content-Type")
		harmless := kind == "image/png" || kind == "image/gif" || kind == "image/jpeg" || kind == "text/plain; charset=utf-8"
		inline := strings.HasPrefix(h.Get("Content-Disposition"), "inline")
		if resp.StatusCode != 200 || inline && !harmless || !inline && (!strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || kind != "application/octet-stream") {
			t.Errorf("%s: %s, %v", part, resp.Status, h)
		}
		if csp := h.Get("Content-Security-Policy"); h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(csp, "sandbox;") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: %v", part, h)
		}
		// A file to keep is no page: the browser stays where it is.
		err := tb.try(10*time.Second, chromedp.Navigate(o.web.URL+part))
		if inline == (err != nil) {
			t.Errorf("%s, %s: the browser says %v", part, kind, err)
		}
		if inline {
			shown++
		} else {
			kept++
		}
		if ran := tb.ran(); len(ran) > 0 {
			t.Errorf("%s: ran", part)
		}
	}
	t.Logf("%d types: %d addresses are shown as pixels or text, %d are files to keep, 0 ran", len(kinds), shown, kept)
}
