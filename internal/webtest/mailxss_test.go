package webtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/smtp"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/server"
)

// perMail is how many payloads one message carries, each in a part of its own.
const perMail = 16

// carrier is a message whose parts are payloads.
func carrier(n int, all []*payload) []byte {
	var b bytes.Buffer
	for i, p := range all {
		fmt.Fprintf(&b, "--=_b\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <p%d@example.net>\r\n\r\n", p.kind(), i)
		text := base64.StdEncoding.EncodeToString(p.body)
		for len(text) > 76 {
			b.WriteString(text[:76] + "\r\n")
			text = text[76:]
		}
		b.WriteString(text + "\r\n")
	}
	b.WriteString("--=_b--\r\n")
	return letter(fmt.Sprintf("Payloads %d", n), `multipart/mixed; boundary="=_b"`, b.Bytes())
}

// encoded is text as it may stand in a header (RFC 2047, all of it encoded).
func encoded(s string) string {
	var words []string
	for len(s) > 0 {
		n := min(40, len(s))
		for n < len(s) && s[n]&0xC0 == 0x80 {
			n++
		}
		words = append(words, "=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(words, "\r\n ")
}

// marked is a message with a payload in each of several fields.
func marked(n int, all []*payload) []byte {
	f := map[string]string{
		"From": "Zoe <zoe@example.net>", "To": "Ann <" + ann + ">", "Subject": fmt.Sprintf("Fields %d", n), "Date": "Mon, 02 Mar 2026 10:00:00 +0000",
		"Message-ID": fmt.Sprintf("<fields-%d@example.net>", n),
	}
	part := map[string]string{"Content-Type": "text/html; name=x", "Content-Disposition": "attachment; filename=x.html"}
	extra := ""
	for _, p := range all {
		v := string(p.body)
		switch field := p.opts["field"]; field {
		case "subject":
			f["Subject"] = encoded(v)
			if n%2 == 0 && !strings.ContainsAny(v, "\r\n\x00") {
				f["Subject"] = v // as it is
			}
		case "from-name":
			f["From"] = encoded(v) + " <zoe@example.net>"
		case "from-address":
			extra += "--=_m\r\nContent-Type: message/rfc822\r\n\r\nFrom: Zoe <" + v + ">\r\nTo: " + v + "\r\nSubject: " + encoded(v) + "\r\n\r\nx\r\n"
		case "to-name":
			f["To"] = encoded(v) + " <" + ann + ">"
		case "cc-name":
			f["Cc"] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `" <cc@example.net>`
		case "filename":
			part["Content-Disposition"] = "attachment; filename*=utf-8''" + url.PathEscape(v)
			extra += "--=_m\r\nContent-Type: text/html; name=\"" + encoded(v) + "\"\r\nContent-Disposition: attachment; filename=\"" + encoded(v) + "\"\r\n\r\n<script>ran()</script>\r\n"
		case "description":
			part["Content-Description"] = encoded(v)
		case "type":
			extra += "--=_m\r\nContent-Type: " + v + "\r\n\r\n<script>ran()</script>\r\n"
		case "content-id":
			extra += "--=_m\r\nContent-Type: image/png\r\nContent-Disposition: inline\r\nContent-ID: <" + v + ">\r\n\r\n<script>ran()</script>\r\n"
		case "helo", "envelope":
		default:
			f[field] = v
		}
	}
	var b bytes.Buffer
	for k, v := range f {
		b.WriteString(k + ": " + v + "\r\n")
	}
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_m\"\r\n\r\n--=_m\r\nContent-Type: text/html\r\n\r\n<p>See the fields.\r\n--=_m\r\n")
	for k, v := range part {
		b.WriteString(k + ": " + v + "\r\n")
	}
	b.WriteString("\r\n<script>ran()</script>\r\n" + extra + "--=_m--\r\n")
	return b.Bytes()
}

// sendMarked delivers it, with the payload in the dialog if that is where it belongs. It reports
// whether it was taken: who refuses it has done well.
func (o *office) sendMarked(t *testing.T, n int, all []*payload) bool {
	t.Helper()
	c, err := smtp.Dial(o.Addr(server.SMTP).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	helo, from := "client.example.net", "zoe@example.net"
	for _, p := range all {
		switch p.opts["field"] {
		case "helo":
			helo = string(p.body)
		case "envelope":
			from = string(p.body)
		}
	}
	for _, step := range []func() error{
		func() error { return c.Hello(helo) },
		func() error { return c.Mail(from) },
		func() error { return c.Rcpt(ann) },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			w.Write(marked(n, all))
			return w.Close()
		},
	} {
		if err := step(); err != nil {
			t.Logf("%v is refused: %v", all, err)
			return false
		}
	}
	return true
}

// links are the addresses in a page of the webmail that match.
func (o *office) links(t *testing.T, cookie, path, pattern string) []string {
	t.Helper()
	resp := o.get(t, o.web.URL+path, cookie)
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(path, resp.Status, err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?:href|src)="(`+pattern+`)"`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, strings.ReplaceAll(m[1], "&amp;", "&"))
	}
	return all
}

// messages are the paths of all messages in INBOX.
func (o *office) messages(t *testing.T, cookie string) []string {
	t.Helper()
	inbox := o.links(t, cookie, prefix+"/settings", prefix+`/mail/\d+`)[0]
	var all []string
	for page := inbox; page != ""; {
		all = append(all, o.links(t, cookie, page, inbox+`/\d+`)...)
		next := o.links(t, cookie, page, inbox+`\?before=\d+`)
		page = ""
		if len(next) > 0 {
			page = next[0]
		}
	}
	return all
}

// views are the pages that show a message.
func (o *office) views(t *testing.T, cookie, message string) (pages, frames []string) {
	t.Helper()
	frames = o.links(t, cookie, message, message+`/frame/[^"]*`)
	for i := 0; i < len(frames); i++ { // each is there as a frame and as a link
		if i > 0 && frames[i] == frames[i-1] {
			frames = append(frames[:i], frames[i+1:]...)
			i--
		}
	}
	parts := strings.Split(message, "/")
	of := "&folder=" + parts[len(parts)-2] + "&uid=" + parts[len(parts)-1]
	c := prefix + "/compose?kind="
	return []string{message, message + "?as=text", message + "/source", c + "reply" + of, c + "replyall" + of, c + "forward" + of}, frames
}

// TestPayloadsInMail delivers all payloads by SMTP and opens them in every view: none runs, and no
// frame holds anything that could.
func TestPayloadsInMail(t *testing.T) {
	if raceEnabled {
		t.Skip(tooSlow)
	}
	tb := visitor(t)
	o := newOffice(t)
	var bodies, fields []*payload
	for i, p := range payloads(t, "xss") {
		if p.class == "metadata" {
			fields = append(fields, p)
		} else if i%2 == 0 || os.Getenv("MAILKEEL_LONG") != "" { // half of them are minutes less
			bodies = append(bodies, p)
		}
	}
	html := 0
	for i := 0; i < len(bodies); i += perMail {
		o.send(t, ann, carrier(i/perMail, bodies[i:min(i+perMail, len(bodies))]))
	}
	for _, p := range bodies {
		if p.opts["type"] == "" {
			html++
		}
	}
	// The first message has the first payload of each field, and so on; those of the dialog go alone, as
	// they may be refused.
	var sets [][]*payload
	next := map[string]int{}
	for _, p := range fields {
		field := p.opts["field"]
		if field == "helo" || field == "envelope" {
			sets = append(sets, []*payload{p})
			continue
		}
		n := next[field]
		next[field]++
		for len(sets) <= n {
			sets = append(sets, nil)
		}
		sets[n] = append(sets[n], p)
	}
	taken := 0
	for i, set := range sets {
		if o.sendMarked(t, i, set) {
			taken++
		}
	}
	for i, p := range fields { // folders have names, too
		if p.opts["field"] == "subject" && !strings.ContainsAny(string(p.body), "\r\n\x00/") {
			o.createFolder(t, ann, fmt.Sprintf("%d %s", i, p.body))
		}
	}
	cookie := o.cookie(t, ann)
	messages := o.messages(t, cookie)
	if want := (len(bodies)+perMail-1)/perMail + taken; len(messages) != want {
		t.Fatalf("%d messages in INBOX, want %d", len(messages), want)
	}
	var pages []string
	frames := 0
	for _, m := range messages {
		p, f := o.views(t, cookie, m)
		if len(f) > 1 { // its header says nothing, and who it goes to changes nothing
			p = slices.DeleteFunc(p, func(s string) bool { return strings.HasSuffix(s, "/source") || strings.Contains(s, "replyall") })
		}
		pages = append(append(pages, p...), f...)
		frames += len(f)
	}
	pages = append(append(pages, o.links(t, cookie, prefix+"/settings", prefix+`/mail/\d+`)...), prefix+"/folders", prefix+"/search?q=ran")
	if frames < html+taken {
		t.Errorf("%d frames for %d payloads and %d messages", frames, html, taken)
	}

	tb.signIn(o, ann)
	tb.ran()
	inTabs(t, tb, 2, len(pages), func(tb *tab, i int) {
		tb.open(o.web.URL + pages[i])
		found, _ := tb.poke(false)
		if ran := tb.ran(); len(ran) > 0 || found > 0 {
			t.Errorf("%s: %d ran (%v), %d found that might", pages[i], len(ran), ran, found)
		}
	})
	t.Logf("%d payloads in %d messages: %d pages with %d frames in their own tab, 0 ran", len(bodies)+len(fields), len(messages), len(pages), frames)
}
