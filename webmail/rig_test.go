package webmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// users are a directory whose passwords can be changed.
type users struct {
	*static.Directory
	mu   sync.Mutex
	pass map[string]string
}

func (u *users) Authenticate(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p, ok := u.pass[a.Login]; !ok || p != a.Password {
		return accounts.Login{}, accounts.ErrBadCredentials
	}
	who, err := u.ByAddress(ctx, a.Login)
	return accounts.Login{Account: who.ID}, err
}

func (u *users) SetPassword(ctx context.Context, a accounts.Attempt, fresh string) error {
	if _, err := u.Authenticate(ctx, a); err != nil {
		return err
	}
	if len(fresh) < 8 {
		return accounts.ErrWeakPassword
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pass[a.Login] = fresh
	return nil
}

// A rig is a Handler with two accounts, ann and bob, in memory.
type rig struct {
	t     testing.TB
	h     *Handler
	clock *testclock.Clock
	store *store.Store
	users *users
	next  mailkeel.Transport
}

// A mail is a mailkeel.Content.
type mail string

func (m mail) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(m))), nil
}
func (m mail) Size() int64 { return int64(len(m)) }

func newRig(t testing.TB, change ...func(*Handler)) *rig {
	t.Helper()
	clock := &testclock.Clock{}
	u := &users{Directory: &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a-ann", Address: "ann@example.test"}},
		{Account: accounts.Account{ID: "b-bob", Address: "bob@example.test"}},
	}}, pass: map[string]string{"ann@example.test": "correct horse", "bob@example.test": "battery staple"}}
	boxes := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{Clock: clock}, Clock: clock, Initial: []store.InitialMailbox{
		{Name: "Drafts", Role: "drafts"}, {Name: "Sent", Role: "sent"}, {Name: "Junk", Role: "junk"}, {Name: "Trash", Role: "trash"}, {Name: "Archive", Role: "archive"},
	}}
	rg := &rig{t: t, clock: clock, store: boxes, users: u, next: &mailbox.Transport{Store: boxes}}
	rg.h = &Handler{
		Store: boxes, Directory: u, Hostname: "mail.example.test", Clock: clock, Location: time.UTC,
		Auth:   (&accounts.Limiter{KV: &memstore.KV{Clock: clock}, Clock: clock}).Wrap(u),
		Submit: &submit.Transport{Next: rg.next, Directory: u, Hostname: "mail.example.test", Sent: boxes, Clock: clock},
	}
	for _, c := range change {
		c(rg.h)
	}
	if err := rg.h.Check(); err != nil {
		t.Fatal(err)
	}
	return rg
}

// deliver files a message that came from elsewhere.
func (rg *rig) deliver(account mailkeel.AccountID, raw string) {
	rg.t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	env := &mailkeel.Envelope{ID: token(), From: "x@example.org", Rcpts: []mailkeel.Recipient{{Addr: "ann@example.test", Account: account}}}
	for _, r := range mailkeel.Deliver(context.Background(), rg.next, env, mail(raw)) {
		if r.Err != nil {
			rg.t.Fatal(r.Err)
		}
	}
}

// A tab is a browser without scripts: it keeps cookies, follows redirects and fills in
// forms.
type tab struct {
	rg     *rig
	client *http.Client
	at     *url.URL
	res    *http.Response
	body   string
	doc    *html.Node
}

// direct calls a handler in place of a network.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := httptest.NewRequest(r.Method, r.URL.String(), r.Body).WithContext(r.Context())
	in.Header = r.Header
	in.RemoteAddr = "192.0.2.7:1234"
	w := httptest.NewRecorder()
	aborted := false
	func() {
		defer func() {
			if p := recover(); p != nil {
				if p != http.ErrAbortHandler {
					panic(p)
				}
				aborted = true
			}
		}()
		d.h.ServeHTTP(w, in)
	}()
	if aborted {
		return nil, errors.New("broken off")
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

func (rg *rig) tab() *tab {
	jar, _ := cookiejar.New(nil)
	at, _ := url.Parse("https://mail.example.test" + rg.h.Prefix + "/")
	return &tab{rg: rg, at: at, client: &http.Client{
		Transport: direct{rg.h}, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// as is a tab that is signed in.
func (rg *rig) as(name string) *tab {
	rg.t.Helper()
	b := rg.tab()
	b.get("/signin")
	b.submit("signin", "login", name+"@example.test", "password", rg.users.pass[name+"@example.test"])
	b.wants(200, "Inbox", "Sign out")
	return b
}

// do sends a request, and follows where it is sent.
func (b *tab) do(r *http.Request) {
	b.rg.t.Helper()
	for hops := 0; ; hops++ {
		res, err := b.client.Do(r)
		if err != nil {
			b.rg.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			b.rg.t.Fatal(err)
		}
		b.res, b.body, b.at = res, string(body), r.URL
		to := res.Header.Get("Location")
		if to == "" || hops > 5 {
			break
		}
		next, err := b.at.Parse(to)
		if err != nil {
			b.rg.t.Fatal(err)
		}
		r, _ = http.NewRequest(http.MethodGet, next.String(), nil)
	}
	b.doc = nil
	if strings.HasPrefix(b.res.Header.Get("Content-Type"), "text/html") {
		b.doc, _ = html.Parse(strings.NewReader(b.body))
	}
}

// get opens a path below the prefix, or a link as it stands in a page.
func (b *tab) get(to string) *tab {
	b.rg.t.Helper()
	if strings.HasPrefix(to, "/") && !strings.HasPrefix(to, b.rg.h.Prefix+"/") {
		to = b.rg.h.Prefix + to
	}
	u, err := b.at.Parse(to)
	if err != nil {
		b.rg.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		b.rg.t.Fatal(err)
	}
	b.do(r)
	return b
}

// wants fails the test unless the page has a status and says all of some texts.
func (b *tab) wants(code int, texts ...string) *tab {
	b.rg.t.Helper()
	if b.res.StatusCode != code {
		b.rg.t.Fatalf("%s: status %d, want %d\n%s", b.at, b.res.StatusCode, code, b.text())
	}
	for _, s := range texts {
		if !strings.Contains(b.text(), s) {
			b.rg.t.Fatalf("%s does not say %q:\n%s", b.at, s, b.text())
		}
	}
	return b
}

// lacks fails the test if the page says one of some texts.
func (b *tab) lacks(texts ...string) *tab {
	b.rg.t.Helper()
	for _, s := range texts {
		if strings.Contains(b.text(), s) {
			b.rg.t.Fatalf("%s says %q:\n%s", b.at, s, b.text())
		}
	}
	return b
}

// text is what a person reads, in one line.
func (b *tab) text() string {
	if b.doc == nil {
		return b.body
	}
	var s strings.Builder
	for n := range b.doc.Descendants() {
		if n.Type == html.TextNode {
			s.WriteString(n.Data + " ")
		}
		if n.Type == html.ElementNode {
			if p := attr(n, "placeholder"); p != "" {
				s.WriteString(p + " ")
			}
		}
	}
	return strings.Join(strings.Fields(s.String()), " ")
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

// follow opens the link that says text.
func (b *tab) follow(text string) *tab {
	b.rg.t.Helper()
	for n := range b.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && strings.Contains(inner(n), text) {
			return b.get(attr(n, "href"))
		}
	}
	b.rg.t.Fatalf("%s has no link %q:\n%s", b.at, text, b.text())
	return nil
}

func inner(n *html.Node) string {
	var s strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			s.WriteString(c.Data)
		}
	}
	return s.String()
}

// A file is one that is chosen in a form: as a value of submit.
type file struct{ name, kind, data string }

// submit presses the button with a value, in the form that has all of the fields that
// are given, as name and value; a value of several lines is typed as it is.
func (b *tab) submit(button string, fields ...any) *tab {
	b.rg.t.Helper()
	for form := range b.doc.Descendants() {
		if form.Type != html.ElementNode || form.Data != "form" {
			continue
		}
		values, names, pressed := formOf(form, button)
		fits := pressed
		for i := 0; i+1 < len(fields); i += 2 {
			fits = fits && names[fields[i].(string)]
		}
		if !fits {
			continue
		}
		var files []file
		var fileNames []string
		for i := 0; i+1 < len(fields); i += 2 {
			name := fields[i].(string)
			switch v := fields[i+1].(type) {
			case file:
				files, fileNames = append(files, v), append(fileNames, name)
			case []string:
				values[name] = v
			default:
				values[name] = []string{strings.ReplaceAll(fmt.Sprint(v), "\n", "\r\n")}
			}
		}
		b.post(attr(form, "action"), attr(form, "enctype") == "multipart/form-data", values, fileNames, files)
		return b
	}
	b.rg.t.Fatalf("%s has no form with the button %q and %v:\n%s", b.at, button, fields, b.text())
	return nil
}

// formOf is what a browser would send, the names of all fields, and whether there is
// such a button.
func formOf(form *html.Node, button string) (values url.Values, names map[string]bool, pressed bool) {
	values, names = url.Values{}, map[string]bool{}
	for n := range form.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		name := attr(n, "name")
		switch n.Data {
		case "button":
			if !pressed && attr(n, "value") == button {
				values.Add(name, button)
				pressed = true
			}
		case "input":
			names[name] = true
			switch t := attr(n, "type"); {
			case t == "file":
			case t == "checkbox" && !has(n, "checked"):
			default:
				values.Add(name, attr(n, "value"))
			}
		case "textarea":
			names[name] = true
			values.Add(name, strings.ReplaceAll(inner(n), "\n", "\r\n"))
		case "select":
			names[name] = true
			value, first := "", true
			for o := range n.Descendants() {
				if o.Type == html.ElementNode && o.Data == "option" && (first || has(o, "selected")) {
					if value, first = attr(o, "value"), false; !has(o, "value") {
						value = inner(o)
					}
				}
			}
			values.Add(name, value)
		}
	}
	return values, names, pressed
}

// post sends a form as a browser does.
func (b *tab) post(action string, parts bool, values url.Values, fileNames []string, files []file) {
	b.rg.t.Helper()
	u, err := b.at.Parse(action)
	if err != nil {
		b.rg.t.Fatal(err)
	}
	kind, body := "application/x-www-form-urlencoded", values.Encode()
	if parts {
		var buf bytes.Buffer
		w := multipart.NewWriter(&buf)
		for name, vs := range values {
			for _, v := range vs {
				w.WriteField(name, v)
			}
		}
		for i, f := range files {
			pw, _ := w.CreatePart(map[string][]string{
				"Content-Disposition": {fmt.Sprintf(`form-data; name=%q; filename=%q`, fileNames[i], f.name)},
				"Content-Type":        {f.kind},
			})
			io.WriteString(pw, f.data)
		}
		if len(files) == 0 { // what browsers send for no file
			w.CreatePart(map[string][]string{"Content-Disposition": {`form-data; name="files"; filename=""`}, "Content-Type": {"application/octet-stream"}})
		}
		w.Close()
		kind, body = w.FormDataContentType(), buf.String()
	}
	r, _ := http.NewRequest(http.MethodPost, u.String(), strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Origin", "https://mail.example.test")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	b.do(r)
}

// uids are the values of the boxes to tick of messages whose subject says one of some texts.
func (b *tab) uids(subjects ...string) (uids []string) {
	b.rg.t.Helper()
	for n := range b.doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" || attr(n, "name") != "uid" || attr(n, "type") != "checkbox" {
			continue
		}
		for _, s := range subjects {
			if strings.Contains(attr(n, "aria-label"), s) {
				uids = append(uids, attr(n, "value"))
			}
		}
	}
	if len(uids) == 0 {
		b.rg.t.Fatalf("%s has no messages %q:\n%s", b.at, subjects, b.text())
	}
	return uids
}

// option is the value of what is chosen by a text.
func (b *tab) option(text string) string {
	b.rg.t.Helper()
	for n := range b.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "option" && strings.Contains(inner(n), text) {
			return attr(n, "value")
		}
	}
	b.rg.t.Fatalf("%s has no option %q", b.at, text)
	return ""
}

// searches types into the field for searches.
func (b *tab) searches(text string) *tab {
	b.rg.t.Helper()
	for n := range b.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" && attr(n, "role") == "search" {
			return b.get(attr(n, "action") + "?q=" + url.QueryEscape(text))
		}
	}
	b.rg.t.Fatalf("%s has no search", b.at)
	return nil
}
