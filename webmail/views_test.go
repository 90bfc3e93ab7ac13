package webmail

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// plain is a Handler over nothing.
func plain(t testing.TB) *Handler {
	t.Helper()
	users := &static.Directory{Accounts: []static.Account{{Account: accounts.Account{ID: "a-ann", Address: "ann@example.test"}, Password: "correct horse"}}}
	return &Handler{
		Store: &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}, Directory: users, Auth: users,
		Submit: mailkeel.HandlerFunc(func(context.Context, *mailkeel.Envelope, mailkeel.Content) error { return nil }),
	}
}

// marker is what no page may let through as it is.
const marker = `"'><script>evil()</script><img src=x onerror=evil()>`

// samples are what each view shows, with all its branches.
func samples() map[string][]any {
	from := []mailview.Address{{Name: "Ann " + marker, Addr: "ann@example.test"}, {Name: "bank@example.com", Addr: "x@evil.test", Suspicious: true}}
	row := mailview.Row{UID: 7, ID: 3, From: from, To: from, Subject: "Hello " + marker, Preview: "It works " + marker, Date: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), Flagged: true, Answered: true, Forwarded: true, Attachments: true, Size: 1234}
	bare := mailview.Row{UID: 6, Seen: true, Date: time.Now(), Damaged: true}
	inbox := mailview.Folder{ID: 1, Name: "INBOX", Label: "INBOX", Role: "inbox", Messages: 2, Unseen: 1, Rights: "lrswipkxtea"}
	junk := mailview.Folder{ID: 2, Name: "Junk", Label: "Junk", Role: "junk", Messages: 1, Rights: "lrswipkxtea"}
	own := mailview.Folder{ID: 3, Name: "x", Label: "Plans " + marker, Owner: "bob@example.test " + marker, Depth: 1, Rights: "lrswipkxtea"}
	targets := []mailview.Folder{inbox, junk, own}
	file := mailview.Part{Path: "2", Type: "image/png", Name: "cat" + marker + ".png", Size: 1_500_000}
	draft := mailview.Draft{UID: 4, ID: "x@example.test", Re: mailview.Ref{Folder: 1, UID: 7}, Kind: mailview.Reply, To: "Ann " + marker, Cc: marker, Bcc: marker, Subject: "Re: " + marker, Text: "> Hi " + marker, Attachments: []mailview.Part{file}}
	return map[string][]any{
		"signin": {signInView{}, signInView{Login: marker, Problem: "Wrong."}},
		"list": {
			listView{Page: mailview.Page{Folder: inbox, Rows: []mailview.Row{row, bare}, Total: 2, More: true}, Query: marker, Newer: "/mail/1?after=7", Older: "/mail/1?before=6", Before: 9, Targets: targets},
			listView{Page: mailview.Page{Folder: junk, Rows: []mailview.Row{row}, Total: 1}, Outgoing: true, Drafts: true, After: 3},
			listView{Page: mailview.Page{Folder: own}},
		},
		"read": {
			readView{Message: &mailview.Message{Row: row, Cc: from, Bcc: from, ReplyTo: from, Sender: from, Folder: inbox, Verdict: marker, Authentic: marker},
				Segments: []segmentView{
					{Segment: mailview.Segment{Text: "Hi https://example.test/?q=<x> " + marker + "\n> quoted\n>> twice"}, Whole: "/x"},
					{Segment: mailview.Segment{Head: &mailview.Head{From: from, To: from, Cc: from, Subject: marker, Date: time.Now()}}},
					{Segment: mailview.Segment{HTML: true}, Frame: "/mail/1/7/frame/2"},
				},
				Files: []fileView{{Part: file, URL: "/p", Look: "/p?look=1"}}, Newer: "/n", Older: "/o", Back: "/b", Targets: targets, HTML: true, Blocked: true, ShowRemote: "/r", Other: "/t", Here: "/h"},
			readView{Message: &mailview.Message{Row: bare, Folder: junk, Unreadable: errors.New("damaged")}, Plain: true, Here: "/h"},
		},
		"source":   {sourceView{Header: "Subject: " + marker, Back: "/b", Raw: "/r"}},
		"compose":  {composeView{Draft: draft, KindName: "reply", Problem: "No.", Field: "to", Refused: []mailview.Refusal{{Addr: marker, Reason: marker, Temporary: true}}, Lost: true}, composeView{KindName: "new"}},
		"folders":  {foldersView{Parents: targets, Problem: "No.", Label: marker}, foldersView{At: 3, Label: marker}},
		"settings": {settingsView{Settings: mailview.Settings{Name: marker, Signature: marker, Language: "en", Theme: "dark", PageSize: 50, Remote: true}, Sizes: pageSizes, Password: true, Problem: "No.", PasswordProblem: "No."}, settingsView{}},
		"error":    {errorView{404, "Nothing", "here", false}, errorView{401, "Who", "again", true}},
		"insecure": {nil},
	}
}

// TestViews shows every view with everything in it, in every language: each is whole
// HTML, lets nothing through that was stored, and has no text without words. With
// WEBMAIL_VIEWS=dir the pages are written there, to be looked at.
func TestViews(t *testing.T) {
	h := plain(t)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	all := samples()
	for _, name := range viewNames(h.look.source) {
		if len(all[name]) == 0 {
			t.Errorf("view %s has no sample", name)
		}
	}
	folders := all["list"][0].(listView).Targets
	for name, pages := range all {
		for _, lang := range h.look.langs {
			for i, is := range pages {
				v, err := h.look.view(lang, name)
				if err != nil {
					t.Fatal(err)
				}
				p := page{Lang: lang, Dir: "ltr", Theme: "dark", Name: "Mail " + marker, Logo: "/logo", Icon: "/icon", Sheets: []string{"/static/style.css"}, Links: []Link{{marker, "javascript:evil()"}}, User: "ann " + marker, SignOut: true, View: name, Folders: folders, Current: 1, Query: marker, Notice: "Done " + marker, Is: is}
				var b bytes.Buffer
				if err := v.ExecuteTemplate(&b, "_layout.html", p); err != nil {
					t.Errorf("%s %s: %v", name, lang, err)
					continue
				}
				checkPage(t, name, b.String())
				if dir := os.Getenv("WEBMAIL_VIEWS"); dir != "" {
					os.WriteFile(filepath.Join(dir, name+"-"+lang+"-"+string(rune('0'+i))+".html"), b.Bytes(), 0o666)
				}
			}
		}
	}
}

// checkPage finds in a page what must not be there.
func checkPage(t *testing.T, name, text string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	ids := map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "style", "object", "embed", "base":
			t.Errorf("%s: has <%s>", name, n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:"):
				t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
			case a.Key == "id" && ids[a.Val]:
				t.Errorf("%s: id %q is there twice", name, a.Val)
			case a.Key == "id":
				ids[a.Val] = true
			}
		}
	}
}

// TestEveryTextIsThere: what templates and code ask for is in each catalog of ours, and
// nothing else is.
func TestEveryTextIsThere(t *testing.T) {
	h := plain(t)
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	files, _ := filepath.Glob("*.go")
	more, _ := filepath.Glob("templates/*.html")
	call := regexp.MustCompile(`\b(t|tn|orElse|find)(?: |\()"([a-z0-9.-]+)"`)
	for _, f := range append(files, more...) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range call.FindAllStringSubmatch(string(b), -1) {
			if strings.HasSuffix(m[2], ".") {
				continue
			}
			if m[1] == "tn" {
				asked[m[2]+".one"], asked[m[2]+".other"] = true, true
			} else {
				asked[m[2]] = true
			}
		}
	}
	// Those whose keys are put together.
	for view := range samples() {
		if !strings.Contains(h.look.source[view+".html"], `define "title"`) {
			asked["title."+view] = true
		}
	}
	for k := range kindNames {
		asked["compose."+k] = true
	}
	for k := range done {
		if actions[k] || k == "emptied" {
			asked["done."+k+".one"], asked["done."+k+".other"] = true, true
		} else {
			asked["done."+k] = true
		}
	}
	for _, role := range []string{"inbox", "drafts", "sent", "archive", "junk", "trash"} {
		asked["folder."+role], asked["empty."+role] = true, true
	}
	for _, lang := range h.look.langs {
		for key := range asked {
			if _, ok := h.look.words[lang].text[key]; !ok {
				t.Errorf("text/%s.txt has no %s", lang, key)
			}
		}
		for key := range h.look.words[lang].text {
			if !asked[key] && !strings.HasPrefix(key, "error.") {
				t.Errorf("text/%s.txt has %s, which nothing asks for", lang, key)
			}
		}
	}
}

func TestStranger(t *testing.T) {
	h := plain(t)
	for _, tt := range []struct {
		url, remote string
		code        int
		says        string
	}{
		{"https://mail.example.test/signin", "192.0.2.1:1", 200, "Sign in to Mail"},
		{"https://mail.example.test/", "192.0.2.1:1", 303, ""},
		{"https://mail.example.test/nothing", "192.0.2.1:1", 404, "There is nothing here"},
		{"http://mail.example.test/signin", "192.0.2.1:1", 403, "https://"},
		{"http://mail.example.test/signin", "127.0.0.1:1", 403, "https://"},
		{"http://127.0.0.1:2080/signin", "127.0.0.1:1", 200, "Sign in to Mail"},
		{"http://localhost:2080/signin", "[::1]:1", 200, "Sign in to Mail"},
	} {
		r := httptest.NewRequest(http.MethodGet, tt.url, nil)
		r.RemoteAddr = tt.remote
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s from %s: %d %s", tt.url, tt.remote, w.Code, w.Body)
		}
	}
}
