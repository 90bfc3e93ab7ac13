package webmail

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// secret stands in all that ann has, and nowhere else.
const secret = "xyzzy-of-ann"

const rich = `From: ` + secret + ` <carol@example.org>
To: ann@example.test
Subject: ` + secret + `
Date: Fri, 02 Jan 2026 03:00:00 +0000
Message-ID: <rich@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html; charset=utf-8

<p>` + secret + ` <img src="cid:pic@example.org"> <img src="https://tracker.example/x.png"></p>
--r
Content-Type: image/png
Content-ID: <pic@example.org>
Content-Disposition: inline
Content-Transfer-Encoding: base64

eHl6enktb2YtYW5u
--r--
--b
Content-Type: text/plain
Content-Disposition: attachment; filename="` + secret + `.txt"

` + secret + `
--b--
`

// stocked is a rig in which ann has one of everything, and the place of each.
type stocked struct {
	*rig
	inbox, own store.MailboxID
	uid, draft store.UID
	html, part string // paths
}

func newStocked(t testing.TB, change ...func(*Handler)) *stocked {
	t.Helper()
	s := &stocked{rig: newRig(t, change...)}
	ctx := context.Background()
	s.deliver("a-ann", rich)
	box := s.h.mail.Of("a-ann", "ann@example.test")
	inbox, err := box.RoleFolder(ctx, "inbox")
	if err != nil {
		t.Fatal(err)
	}
	own, err := box.CreateFolder(ctx, 0, secret)
	if err != nil {
		t.Fatal(err)
	}
	p, err := box.List(ctx, mailview.Query{Folder: inbox.ID})
	if err != nil || len(p.Rows) != 1 {
		t.Fatal(p, err)
	}
	s.inbox, s.own, s.uid = inbox.ID, own.ID, p.Rows[0].UID
	d, err := box.SaveDraft(ctx, mailview.Draft{To: "bob@example.test", Subject: secret, Text: secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.draft = d.UID
	m, err := box.Message(ctx, s.inbox, s.uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range m.Body {
		if g.HTML {
			s.html = g.Part.Path
		}
	}
	for _, a := range m.Attachments {
		if !a.Inline {
			s.part = a.Path
		}
	}
	if s.html == "" || s.part == "" {
		t.Fatalf("%+v", m)
	}
	return s
}

// path is that of a route, with what ann has.
func (s *stocked) path(rt route) string {
	values := map[string]string{
		"folder": fmt.Sprint(s.own), "uid": fmt.Sprint(s.uid), "path": s.part, "cid": "pic@example.org", "file...": "style.css", "$": "",
	}
	if !strings.HasPrefix(rt.path, "/folders/") {
		values["folder"] = fmt.Sprint(s.inbox)
	}
	if strings.Contains(rt.path, "/frame/") {
		values["path"] = s.html
	}
	if strings.HasPrefix(rt.path, "/compose/") {
		values["uid"] = fmt.Sprint(s.draft)
	}
	return s.h.Prefix + regexp.MustCompile(`\{([^}]+)\}`).ReplaceAllStringFunc(rt.path, func(p string) string {
		v, ok := values[strings.Trim(p, "{}")]
		if !ok {
			s.t.Fatalf("no value for %s of %s", p, rt.path)
		}
		return v
	})
}

// form is what changes something at a route. A route that changes something and has none
// fails the tests.
func (s *stocked) form(rt route) url.Values {
	forms := map[string]url.Values{
		"/signin":                  {"login": {"ann@example.test"}, "password": {s.users.pass["ann@example.test"]}, "do": {"signin"}},
		"/signout":                 {"do": {"signout"}},
		"/mail/{folder}":           {"do": {"flag"}, "uid": {fmt.Sprint(s.uid)}},
		"/compose":                 {"do": {"save"}, "kind": {"new"}, "to": {"bob@example.test"}, "subject": {"x"}, "text": {"x"}},
		"/folders":                 {"do": {"create"}, "name": {"Another"}, "parent": {"0"}},
		"/folders/{folder}/rename": {"do": {"rename"}, "name": {"Renamed"}},
		"/folders/{folder}/delete": {"do": {"delete"}},
		"/folders/{folder}/empty":  {"do": {"empty"}},
		"/settings":                {"do": {"save"}, "name": {"Ann"}},
		"/settings/password":       {"do": {"password"}, "old": {s.users.pass["ann@example.test"]}, "new": {"a new password"}, "again": {"a new password"}},
	}
	f, ok := forms[rt.path]
	if !ok {
		s.t.Fatalf("%s %s changes something and has no form here", rt.method, rt.path)
	}
	return f
}

// state is all that a form could change.
func (s *stocked) state(cookies []*http.Cookie) string {
	ctx := context.Background()
	var b strings.Builder
	err := s.store.Backend.View(ctx, func(tx store.Tx) error {
		b.Reset()
		as, err := tx.Accounts("a-ann", "b-bob")
		for _, a := range as {
			fmt.Fprint(&b, a.ID, " ", a.ModSeq, " ")
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprint(&b, s.users.pass, " ")
	r := httptest.NewRequest("GET", "https://mail.example.test/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	is, err := s.h.session(r)
	fmt.Fprint(&b, is != nil, err)
	return b.String()
}

// cookies are those of a tab.
func (b *tab) cookies() []*http.Cookie { return b.client.Jar.Cookies(b.at) }

// ask sends one request as it is.
func (s *stocked) ask(method, target string, cookies []*http.Cookie, header http.Header, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://mail.example.test"+target, strings.NewReader(body))
	for k, vs := range header {
		r.Header[k] = vs
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w
}

func head(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

const formType = "application/x-www-form-urlencoded"

// TestRoutes: what the table says of each route holds together.
func TestRoutes(t *testing.T) {
	for _, rt := range routes() {
		name := rt.method + " " + rt.path
		switch {
		case rt.changes != (rt.method == "POST"):
			t.Errorf("%s: what changes something is a POST, and nothing else is", name)
		case rt.changes != (rt.body != noBody):
			t.Errorf("%s: a POST has a body", name)
		case !rt.private && !rt.own && !rt.static() && rt.path != "/mail/{folder}/{uid}/cid/{cid}":
			t.Errorf("%s is open to everybody", name)
		case rt.changes && rt.policy != pagePolicy:
			t.Errorf("%s: a form leads to a page", name)
		}
	}
}

// TestCrossSite: no route that changes something does so for a page of another origin,
// by any way that a browser sends forms; and each does for one of ours.
func TestCrossSite(t *testing.T) {
	attacks := map[string]struct {
		header http.Header
		code   []int
	}{
		"nothing said":      {head("Content-Type", formType), []int{403}},
		"foreign origin":    {head("Content-Type", formType, "Origin", "https://evil.test"), []int{403}},
		"null origin":       {head("Content-Type", formType, "Origin", "null"), []int{403}},
		"other port":        {head("Content-Type", formType, "Origin", "https://mail.example.test:8443"), []int{403}},
		"cross-site":        {head("Content-Type", formType, "Sec-Fetch-Site", "cross-site"), []int{403}},
		"cross-site, ours?": {head("Content-Type", formType, "Sec-Fetch-Site", "cross-site", "Origin", "https://mail.example.test"), []int{403}},
		"same site":         {head("Content-Type", formType, "Sec-Fetch-Site", "same-site", "Origin", "https://www.example.test"), []int{403}},
		"text/plain":        {head("Content-Type", "text/plain", "Origin", "https://mail.example.test"), []int{415}},
		"json":              {head("Content-Type", "application/json", "Origin", "https://mail.example.test"), []int{415}},
		"no type":           {head("Origin", "https://mail.example.test"), []int{415}},
		"a part of nothing": {head("Content-Type", "multipart/form-data", "Origin", "https://mail.example.test"), []int{400}},
	}
	ours := head("Content-Type", formType, "Origin", "https://mail.example.test", "Sec-Fetch-Site", "same-origin")
	n := 0
	for _, rt := range routes() {
		if !rt.changes {
			continue
		}
		s := newStocked(t)
		cookies := s.as("ann").cookies()
		body := s.form(rt).Encode()
		check := func(what string, w *httptest.ResponseRecorder, before string, codes ...int) {
			t.Helper()
			n++
			if after := s.state(cookies); after != before || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s %s, %s: %d, and something changed: %s -> %s %v", rt.method, rt.path, what, w.Code, before, after, w.Header())
			}
			for _, c := range codes {
				if w.Code == c {
					return
				}
			}
			t.Errorf("%s %s, %s: %d, want %v", rt.method, rt.path, what, w.Code, codes)
		}
		for what, a := range attacks {
			before := s.state(cookies)
			check(what, s.ask("POST", s.path(rt), cookies, a.header, body), before, a.code...)
			// A file alone, and a form of no fields.
			for _, empty := range []bool{true, false} {
				var b bytes.Buffer
				w := multipart.NewWriter(&b)
				if !empty {
					p, _ := w.CreateFormFile("files", "x.txt")
					io.WriteString(p, "x")
				}
				w.Close()
				h := a.header.Clone()
				h.Set("Content-Type", w.FormDataContentType())
				check(what+", multipart", s.ask("POST", s.path(rt), cookies, h, b.String()), before, 403, 400)
			}
		}
		before := s.state(cookies)
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			w := s.ask(method, s.path(rt)+"?"+body, cookies, head("Origin", "https://mail.example.test"), body)
			codes := []int{405}
			if method == "GET" || method == "HEAD" { // some have a page there
				codes = []int{405, 200, 303}
			}
			check(method, w, before, codes...)
		}
		// The rule would be met by refusing everything.
		if strings.HasSuffix(rt.path, "/empty") { // of Trash
			continue
		}
		w := s.ask("POST", s.path(rt), cookies, ours, body)
		if w.Code != 303 {
			t.Errorf("%s %s does not work: %d %s", rt.method, rt.path, w.Code, w.Body)
		}
		if after := s.state(cookies); after == before && w.Header().Get("Set-Cookie") == "" {
			t.Errorf("%s %s changes nothing", rt.method, rt.path)
		}
	}
	t.Logf("%d requests", n)
}

// TestOthers: with the names of all that ann has, bob gets what he would get for names of
// nothing, on all routes.
func TestOthers(t *testing.T) {
	s := newStocked(t)
	ann, bob := s.as("ann"), s.as("bob")
	ours := head("Content-Type", formType, "Origin", "https://mail.example.test", "Sec-Fetch-Site", "same-origin")
	image := ann.get(s.path(route{path: "/mail/{folder}/{uid}/frame/{path}"})).frameImage()
	n := 0
	for _, rt := range routes() {
		if !strings.Contains(rt.path, "{") || rt.static() || rt.path == "/{$}" {
			continue
		}
		body, header := "", http.Header{}
		if rt.changes {
			body, header = s.form(rt).Encode(), ours
		}
		before := s.state(ann.cookies())
		w := s.ask(rt.method, s.path(rt), bob.cookies(), header, body)
		n++
		if w.Code != 404 || strings.Contains(w.Body.String(), secret) {
			t.Errorf("bob, %s %s: %d\n%s", rt.method, s.path(rt), w.Code, w.Body)
		}
		if after := s.state(ann.cookies()); after != before {
			t.Errorf("bob, %s %s: something changed: %s -> %s", rt.method, s.path(rt), before, after)
		}
		if w := s.ask(rt.method, s.path(rt), nil, header, body); w.Code < 300 || strings.Contains(w.Body.String(), secret) {
			t.Errorf("nobody, %s %s: %d", rt.method, s.path(rt), w.Code)
		}
		// Ann herself gets it.
		if !rt.changes && rt.private {
			if w := s.ask(rt.method, s.path(rt), ann.cookies(), nil, ""); w.Code != 200 {
				t.Errorf("ann, %s %s: %d", rt.method, s.path(rt), w.Code)
			}
		}
	}
	// IDs in what is not the path.
	before := s.state(ann.cookies())
	for _, kind := range []string{"reply", "replyall", "forward"} {
		w := s.ask("GET", fmt.Sprintf("/compose?kind=%s&folder=%d&uid=%d", kind, s.inbox, s.uid), bob.cookies(), nil, "")
		if n++; w.Code != 404 || strings.Contains(w.Body.String(), secret) {
			t.Errorf("bob, %s: %d", kind, w.Code)
		}
	}
	s.deliver("b-bob", hello)
	inbox, err := s.h.mail.Of("b-bob", "bob@example.test").RoleFolder(context.Background(), "inbox")
	if err != nil {
		t.Fatal(err)
	}
	for path, form := range map[string]url.Values{
		folderPath(inbox.ID): {"do": {"move"}, "uid": {"1"}, "to": {fmt.Sprint(s.own)}},
		"/folders":           {"do": {"create"}, "name": {"Mine"}, "parent": {fmt.Sprint(s.own)}},
	} {
		if w := s.ask("POST", path, bob.cookies(), ours, form.Encode()); w.Code != 404 {
			t.Errorf("bob, %s %v: %d", path, form, w.Code)
		}
		n++
	}
	w := s.ask("POST", "/compose", bob.cookies(), ours, url.Values{"do": {"save"}, "kind": {"forward"}, "re-folder": {fmt.Sprint(s.inbox)}, "re-uid": {fmt.Sprint(s.uid)}, "to": {"x@example.org"}, "text": {"x"}}.Encode())
	if n++; strings.Contains(w.Body.String(), secret) {
		t.Error("bob forwards what ann has")
	}
	for do, codes := range map[string]int{"save": 409, "send": 409, "discard": 303} { // there is no such draft of his
		w := s.ask("POST", "/compose", bob.cookies(), ours, url.Values{"do": {do}, "kind": {"new"}, "uid": {fmt.Sprint(s.draft + 5)}, "to": {"bob@example.test"}, "text": {"x"}}.Encode())
		if n++; w.Code != codes || strings.Contains(w.Body.String(), secret) {
			t.Errorf("bob, %s of a draft: %d", do, w.Code)
		}
	}
	a, b := s.state(ann.cookies()), before
	if a[:strings.Index(a, "b-bob")] != b[:strings.Index(b, "b-bob")] {
		t.Errorf("something of ann's changed: %s -> %s", b, a)
	}
	// The key of an image is for that image, and for as long as the session.
	if w := s.ask("GET", image, nil, nil, ""); w.Code != 200 || w.Body.String() != secret {
		t.Errorf("image: %d %s", w.Code, w.Body)
	}
	for _, wrong := range []string{
		strings.Replace(image, "pic", "pig", 1), strings.Replace(image, fmt.Sprintf("/%d/cid", s.uid), "/99/cid", 1),
		image[:len(image)-1] + "~", strings.Split(image, "?")[0], strings.Split(image, "?")[0] + "?key=a.b.c", strings.Replace(image, "key=", "key=z", 1),
	} {
		if w := s.ask("GET", wrong, bob.cookies(), nil, ""); w.Code != 404 {
			t.Errorf("image %s: %d", wrong, w.Code)
		}
		n++
	}
	s.clock.Advance(grantFor + 1e9)
	if w := s.ask("GET", image, nil, nil, ""); w.Code != 404 {
		t.Errorf("an old image: %d", w.Code)
	}
	ann = s.as("ann")
	image = ann.get(s.path(route{path: "/mail/{folder}/{uid}/frame/{path}"})).frameImage()
	ann.get("/").submit("signout")
	if w := s.ask("GET", image, nil, nil, ""); w.Code != 404 {
		t.Errorf("an image after signing out: %d", w.Code)
	}
	t.Logf("%d requests", n)
}

// frameImage is the URL of the image in a frame.
func (b *tab) frameImage() string {
	b.rg.t.Helper()
	b.wants(200)
	for n := range b.doc.Descendants() {
		if n.Data == "img" {
			return attr(n, "src")
		}
	}
	b.rg.t.Fatalf("no image:\n%s", b.body)
	return ""
}

// TestHeaders: every response of every route, for everybody, has what keeps browsers from
// being used against their owners.
func TestHeaders(t *testing.T) {
	s := newStocked(t)
	ann := s.as("ann").cookies()
	want := map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		"X-Robots-Tag": "noindex, nofollow",
	}
	asked := append(routes(), route{method: "GET", path: "/nothing"}, route{method: "GET", path: "//mail//1"}, route{method: "PUT", path: "/signin"}, route{method: "GET", path: "/static/nothing"}, route{method: "GET", path: "/" + strings.Repeat("x", maxURL)})
	n := 0
	for _, rt := range asked {
		for who, cookies := range map[string][]*http.Cookie{"nobody": nil, "ann": ann} {
			for _, host := range []string{"mail.example.test", "evil.test"} {
				r := httptest.NewRequest(rt.method, "https://mail.example.test"+s.path(rt), nil)
				r.Host = host
				r.Header.Set("X-Forwarded-Host", "evil.test")
				for _, c := range cookies {
					r.AddCookie(c)
				}
				w := httptest.NewRecorder()
				s.h.ServeHTTP(w, r)
				n++
				h, name := w.Header(), fmt.Sprintf("%s, %s %.40s: %d", who, rt.method, rt.path, w.Code)
				for k, v := range want {
					if h.Get(k) != v {
						t.Errorf("%s: %s is %q", name, k, h.Get(k))
					}
				}
				csp := h.Get("Content-Security-Policy")
				for _, part := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors '", "form-action '"} {
					if !strings.Contains(csp, part) {
						t.Errorf("%s: no %s in %q", name, part, csp)
					}
				}
				page := strings.HasPrefix(h.Get("Content-Type"), "text/html")
				switch frame := rt.policy == framePolicy && w.Code == 200; {
				case strings.Contains(csp, "script") || strings.Contains(csp, "unsafe-eval") || strings.Contains(csp, "*"):
					t.Errorf("%s: %q", name, csp)
				case frame && (!strings.HasPrefix(csp, "sandbox allow-popups allow-popups-to-escape-sandbox;") || !strings.Contains(csp, "frame-ancestors 'self'") || strings.Contains(csp, "http")):
					t.Errorf("%s: the frame has %q", name, csp)
				case !frame && !strings.Contains(csp, "frame-ancestors 'none'"):
					t.Errorf("%s: can be framed: %q", name, csp)
				case page && !frame && csp != policies[pagePolicy]:
					t.Errorf("%s: a page has %q", name, csp)
				case !page && w.Code == 200 && !strings.HasPrefix(csp, "sandbox;"):
					t.Errorf("%s: a file has %q", name, csp)
				}
				if static := rt.static() && w.Code == 200; !static && h.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: Cache-Control is %q", name, h.Get("Cache-Control"))
				}
				if to := h.Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, "evil")) {
					t.Errorf("%s: leads to %s", name, to)
				}
				if strings.Contains(w.Body.String(), "evil.test") {
					t.Errorf("%s: the page knows the Host field", name)
				}
				if strings.Contains(strings.ToLower(fmt.Sprint(h)+w.Body.String()), "mailkeel") {
					t.Errorf("%s: tells what it is made of", name)
				}
			}
		}
	}
	t.Logf("%d requests", n)
}

// TestLineBreaks: a parameter with line breaks adds no field to a response and none to a
// message, and is no command.
func TestLineBreaks(t *testing.T) {
	const inject = "x\r\nX-Injected: yes\r\n\r\nBcc: bob@example.test\u2028\x00\x85"
	ours := head("Content-Type", formType, "Origin", "https://mail.example.test", "Sec-Fetch-Site", "same-origin")
	n := 0
	for _, rt := range routes() {
		var names []string
		if rt.changes {
			names = append(names, "do", "login", "password", "uid", "to", "cc", "bcc", "subject", "text", "id", "re-folder", "re-uid", "kind", "name", "parent", "drop", "q", "before", "after", "back", "signature", "language", "theme", "page-size", "remote", "old", "new", "again")
		} else {
			names = append(names, "q", "before", "after", "done", "n", "kind", "folder", "uid", "to", "subject", "remote", "as", "look", "key")
		}
		all := slices.Clone(names)
		if os.Getenv("MAILKEEL_LONG") == "" { // the others are tried with each other
			names = slices.DeleteFunc(names, func(s string) bool {
				return !slices.Contains([]string{"do", "uid", "to", "name", "id", "q", "done"}, s)
			})
			names = append(names, "")
		}
		s := newStocked(t)
		cookies := s.as("ann").cookies()
		for _, name := range names {
			if !s.in(cookies) {
				cookies = s.as("ann").cookies()
			}
			var w *httptest.ResponseRecorder
			if rt.changes {
				form := s.form(rt)
				if name == "" {
					for _, other := range all {
						if other != "do" {
							form.Set(other, inject)
						}
					}
				} else {
					form.Set(name, inject)
				}
				w = s.ask("POST", s.path(rt), cookies, ours, form.Encode())
			} else {
				w = s.ask("GET", s.path(rt)+"?"+url.Values{name: {inject}}.Encode(), cookies, nil, "")
			}
			n++
			for k, vs := range w.Header() {
				if strings.ContainsAny(k+strings.Join(vs, ""), "\r\n") || k == "X-Injected" {
					t.Errorf("%s %s, %s: header %s: %q", rt.method, rt.path, name, k, vs)
				}
			}
			if w.Code >= 500 {
				t.Errorf("%s %s, %s: %d", rt.method, rt.path, name, w.Code)
			}
		}
	}
	// What is sent has no field that was not meant.
	for _, name := range []string{"to", "cc", "bcc", "subject", "id", "kind", "uid"} {
		s := newStocked(t)
		cookies := s.as("ann").cookies()
		form := url.Values{"do": {"send"}, "kind": {"new"}, "to": {"bob@example.test"}, "subject": {"s"}, "text": {"t"}}
		form.Set(name, "bob@example.test\r\nX-Injected: yes\r\n\r\nbody")
		w := s.ask("POST", "/compose", cookies, ours, form.Encode())
		n++
		s.eachRaw("b-bob", func(raw string) {
			header, _, _ := strings.Cut(raw, "\r\n\r\n")
			if strings.Contains(header, "\r\nX-Injected") || strings.Contains(header, "\nX-Injected") {
				t.Errorf("%s: %d\n%s", name, w.Code, raw)
			}
		})
	}
	t.Logf("%d requests", n)
}

// eachRaw calls fn with all messages in the INBOX of an account.
func (rg *rig) eachRaw(id mailkeel.AccountID, fn func(string)) {
	rg.t.Helper()
	ctx := context.Background()
	box := rg.h.mail.Of(id, "")
	inbox, err := box.RoleFolder(ctx, "inbox")
	if err != nil {
		rg.t.Fatal(err)
	}
	p, err := box.List(ctx, mailview.Query{Folder: inbox.ID})
	if err != nil {
		rg.t.Fatal(err)
	}
	for _, row := range p.Rows {
		_, rc, err := box.OpenRaw(ctx, inbox.ID, row.UID)
		if err != nil {
			rg.t.Fatal(err)
		}
		b, err := io.ReadAll(rc)
		rc.Close()
		if err != nil {
			rg.t.Fatal(err)
		}
		fn(string(b))
	}
}
