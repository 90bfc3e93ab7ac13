package mailtest

import (
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/internal/message"
)

// A Problem is something in a message that its readers would stumble over.
type Problem struct {
	// Rule is what it breaks, in one word: "no-text", "link".
	Rule string
	// Text says what is wrong, and what to do.
	Text string
	// Minor says that some see it less well, and all can read it.
	Minor bool
}

func (p Problem) String() string { return p.Rule + ": " + p.Text }

// A Lint says what a message must be like. The zero value has the usual rules.
type Lint struct {
	// Bulk says that it goes to many: it must let people unsubscribe with one
	// click (RFC 8058), as large receivers demand.
	Bulk bool
	// MaxSize is the largest message in bytes; zero means 10 MB, what most take.
	MaxSize int
	// MaxHTML is the largest HTML part; zero means 102,000 bytes: Gmail cuts off
	// what comes after.
	MaxHTML int
	// Clients are those whose readers matter, out of Clients(); empty means all.
	Clients []string
	// Except are rules that do not matter.
	Except []string
}

// Lint returns what is wrong with a message by the usual rules.
func (m *Message) Lint() []Problem { return Lint{}.Check(m) }

// AssertClean fails the test with what is wrong with a message, but for what is
// minor and the rules in except.
func (m *Message) AssertClean(tb TB, except ...string) {
	tb.Helper()
	for _, p := range (Lint{Except: except}).Check(m) {
		if !p.Minor {
			tb.Errorf("mailtest: %s: %v", m.Header("Subject"), p)
		}
	}
}

// Check returns what is wrong with a message.
func (l Lint) Check(m *Message) (all []Problem) {
	found := func(rule, format string, args ...any) {
		if !slices.Contains(l.Except, rule) {
			all = append(all, Problem{rule, fmt.Sprintf(format, args...), rule == "insecure-link"})
		}
	}
	l.fields(m, found)
	l.parts(m, found)
	l.links(m, found)
	if l.Bulk {
		unsubscribe(m, found)
	}
	if !slices.Contains(l.Except, "client-support") {
		all = append(all, unsupported(m.HTML(), l.Clients)...)
	}
	return all
}

type finder func(rule, format string, args ...any)

// fields looks at the header.
func (l Lint) fields(m *Message, found finder) {
	for _, name := range []string{"From", "Date", "Message-ID", "Subject"} {
		switch n := len(m.Headers(name)); {
		case n == 0:
			found("header", "there is no %s", name)
		case n > 1:
			found("header", "%s stands %d times (RFC 5322, 3.6)", name, n)
		}
	}
	if s := m.Header("Subject"); len(m.Headers("Subject")) == 1 && strings.TrimSpace(s) == "" {
		found("header", "Subject is empty")
	}
	if d := m.Header("Date"); d != "" {
		if _, err := mail.ParseDate(d); err != nil {
			found("header", "Date %q is none", d)
		}
	}
	for _, name := range []string{"From", "To", "Cc", "Reply-To"} {
		for _, v := range m.Headers(name) {
			if _, err := mail.ParseAddressList(v); err != nil && v != "" && !strings.Contains(v, ":;") {
				found("address", "%s %q: %v", name, v, err)
			}
		}
	}
	if h := m.parse().header; h != nil {
		for f := range h.Fields() {
			for _, c := range f.Raw() {
				if c >= 0x80 {
					found("header", "%s has bytes that are not ASCII: encode them (RFC 2047)", f.Name())
					break
				}
			}
			for line := range strings.SplitSeq(string(f.Raw()), "\n") {
				if len(line) > 999 {
					found("line-length", "%s has a line of %d bytes, and 998 is the most (RFC 5322, 2.1.1)", f.Name(), len(line))
				}
			}
		}
	}
	for _, what := range []string{"{{", "}}", "<no value>", "[object Object]", "%!s(", "%!d(", "%!v("} {
		if strings.Contains(m.Header("Subject"), what) || strings.Contains(m.Text(), what) {
			found("template", "%q is in what people read: a template was not filled in", what)
		}
	}
}

// parts looks at the structure.
func (l Lint) parts(m *Message, found finder) {
	root := &m.parse().root
	if most := l.MaxSize; len(m.Raw) > either(most, 10_000_000) {
		found("size", "%d bytes, and many take %d at most", len(m.Raw), either(most, 10_000_000))
	}
	html := m.HTML()
	if len(html) > either(l.MaxHTML, 102_000) {
		found("size", "%d bytes of HTML: Gmail cuts off what comes after %d", len(html), either(l.MaxHTML, 102_000))
	}
	if html != "" && find(root, "plain") == nil {
		found("no-text", "there is no text/plain part beside the HTML: watches, screen readers and filters look at it")
	}
	if html != "" && len(strings.TrimSpace(m.htmlText())) < 20 {
		for e := range elements(html) {
			if e.Data == "img" {
				found("image-only", "all that can be read is in images, which many do not load")
				break
			}
		}
	}
	if html == "" && m.Text() == "" {
		found("empty", "there is nothing to read")
	}
	for e := range elements(html) {
		if e.Data == "img" {
			if !slices.ContainsFunc(e.Attr, func(a htmlAttr) bool { return a.Key == "alt" }) {
				found("alt", "the image %q has no alt text", attr(e, "src"))
			}
			if strings.HasPrefix(attr(e, "src"), "data:") {
				found("data-image", "an image is within the HTML (data:), which Gmail and Outlook do not show: attach it and use cid:")
			}
			if id, ok := strings.CutPrefix(attr(e, "src"), "cid:"); ok && !m.hasPart(id) {
				found("cid", "an image refers to cid:%s, and no part has that Content-ID", id)
			}
		}
	}
	for line := range strings.SplitSeq(string(m.Raw[root.BodyStart:]), "\n") {
		if len(line) > 999 {
			found("line-length", "a line of the body has %d bytes, and 998 is the most: use quoted-printable or base64 (RFC 5322, 2.1.1)", len(line))
			break
		}
	}
}

func (m *Message) hasPart(id string) bool {
	if s, err := url.PathUnescape(id); err == nil {
		id = s
	}
	var has func(p *message.Part) bool
	has = func(p *message.Part) bool {
		if strings.Trim(p.ID, "<>") == id {
			return true
		}
		for i := range p.Parts {
			if has(&p.Parts[i]) {
				return true
			}
		}
		return false
	}
	return has(&m.parse().root)
}

// links looks at where one is led to. It follows nothing.
func (l Lint) links(m *Message, found finder) {
	for _, s := range m.Links() {
		u, err := url.Parse(s)
		switch {
		case strings.ContainsAny(s, "{}") || strings.Contains(s, "%7B%7B"):
			found("link", "%q is a template that was not filled in", s)
		case err != nil:
			found("link", "%q is no address: %v", s, err)
		case s == "#":
			found("link", "a link leads nowhere: %q", s)
		case strings.HasPrefix(s, "#"):
		case u.Scheme == "":
			found("link", "%q is relative, and mail has no page that it is relative to", s)
		case u.Scheme == "http" || u.Scheme == "https":
			host := u.Hostname()
			if host == "" || strings.ContainsAny(s, " \t\r\n") {
				found("link", "%q is no address", s)
			} else if host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1" || strings.HasPrefix(host, "192.168.") || strings.HasPrefix(host, "10.") {
				found("local-link", "%q leads to the machine of the developer", s)
			}
			if u.Scheme == "http" {
				found("insecure-link", "%q is without TLS", s)
			}
		case u.Scheme == "mailto":
			if a, _, _ := strings.Cut(u.Opaque, "?"); a == "" || !strings.Contains(a, "@") && !strings.Contains(a, "%40") {
				found("link", "%q has no address", s)
			}
		case u.Scheme == "javascript" || u.Scheme == "data" || u.Scheme == "file":
			found("link", "mail programs do not follow %s:", u.Scheme)
		}
	}
}

// unsubscribe looks for what RFC 2369 and RFC 8058 ask.
func unsubscribe(m *Message, found finder) {
	list := m.Header("List-Unsubscribe")
	switch {
	case list == "":
		found("unsubscribe", "mail to many needs List-Unsubscribe (RFC 2369)")
	case !strings.Contains(list, "<https://"):
		found("unsubscribe", "List-Unsubscribe %q has no <https://...> for one click (RFC 8058, 3.1)", list)
	case !strings.EqualFold(strings.TrimSpace(m.Header("List-Unsubscribe-Post")), "List-Unsubscribe=One-Click"):
		found("unsubscribe", "there is no \"List-Unsubscribe-Post: List-Unsubscribe=One-Click\" (RFC 8058, 3.1)")
	}
}

func either(v, def int) int {
	if v > 0 {
		return v
	}
	return def
}
