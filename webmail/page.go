package webmail

import (
	"bytes"
	"cmp"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// A page is what _layout.html and all views are given.
type page struct {
	Lang, Dir string
	Theme     string // "light", "dark", or empty for that of the system
	Name      string // of the brand
	Logo      string // a URL, or empty
	Icon      string
	Sheets    []string // URLs
	Links     []Link

	User    string // their address; empty for who is not signed in
	SignOut bool   // there is a session of ours to end
	View    string // the name of the file: "list"
	Folders []mailview.Folder
	Current store.MailboxID // the folder that is shown
	Query   string          // what was searched for
	Notice  string          // what was done just now
	Is      any             // what the view shows
}

// done are the notices that a redirect can ask for; {1} is a number.
var done = map[string]bool{
	"read": true, "unread": true, "flag": true, "unflag": true, "move": true, "delete": true, "junk": true, "notjunk": true, "none": true,
	"sent": true, "saved": true, "discarded": true,
	"created": true, "renamed": true, "deleted": true, "emptied": true, "settings": true, "password": true, "signedout": true,
}

// notice is what the query of a page says was done.
func (rq *request) notice() string {
	q := rq.r.URL.Query()
	key := q.Get("done")
	if !done[key] {
		return ""
	}
	if n, err := strconv.Atoi(q.Get("n")); err == nil && n >= 0 {
		return rq.words.tn("done."+key, n)
	}
	return rq.words.t("done." + key)
}

// show writes a page. Nothing is sent before all of it is made.
func (rq *request) show(code int, view string, is any) error {
	h := rq.h
	p := page{
		Lang: rq.words.lang, Dir: rq.words.dir(), Theme: rq.settings.Theme,
		Name: h.Brand.name(), Links: h.Brand.Links, View: view, Is: is, Notice: rq.notice(),
	}
	if a := h.look.assets[h.Brand.Logo]; a != nil {
		p.Logo = h.Prefix + "/static/" + a.hashed
	}
	if a := h.look.assets[cmp.Or(h.Brand.Icon, "icon.svg")]; a != nil {
		p.Icon = h.Prefix + "/static/" + a.hashed
	}
	for _, s := range h.look.sheets {
		p.Sheets = append(p.Sheets, h.Prefix+"/static/"+h.look.assets[s].hashed)
	}
	if rq.box != nil {
		p.User, p.SignOut = rq.address, rq.session != nil
		p.Query = rq.r.URL.Query().Get("q")
		if id, err := rq.folderID(); err == nil {
			p.Current = id
		}
		folders, err := rq.folders()
		if err != nil && view != "error" {
			return err
		}
		p.Folders = folders
	}
	t, err := h.look.view(rq.words.lang, view)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "_layout.html", p); err != nil {
		return err
	}
	rq.leaveSlot()
	rq.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	rq.w.Header().Set("Content-Language", rq.words.lang)
	rq.w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	rq.w.WriteHeader(code)
	if rq.r.Method != http.MethodHead {
		rq.w.Write(b.Bytes())
	}
	return nil
}

// funcs are what templates can call, in one language.
func (l *looks) funcs(w *words) template.FuncMap {
	prefix := l.h.Prefix
	return template.FuncMap{
		"t":    w.t,
		"tn":   w.tn,
		"url":  func(path string) string { return prefix + path },
		"lang": func() string { return w.lang },
		// langs are those that people can choose; each has its own name in "language".
		"langs": func() []string { return l.langs },
		"langName": func(lang string) string {
			if o := l.words[lang]; o != nil {
				return o.t("language")
			}
			return lang
		},
		"static": func(name string) string {
			if a := l.assets[name]; a != nil {
				return prefix + "/static/" + a.hashed
			}
			return ""
		},
		"folderURL":  func(id store.MailboxID) string { return prefix + folderPath(id) },
		"messageURL": func(id store.MailboxID, uid store.UID) string { return prefix + messagePath(messageAt{id, uid}) },
		"label":      func(f mailview.Folder) string { return labelOf(w, f) },
		"folderIcon": folderIcon,
		"emptyText":  func(f mailview.Folder) string { return emptyText(w, f) },
		"indent":     func(depth int) string { return strings.Repeat("\u2003", min(depth, 9)) },
		"min":        func(a, b int) int { return min(a, b) },
		"who":        func(row mailview.Row, outgoing bool) string { return who(w, row, outgoing) },
		"initial":    initial,
		"fileIcon":   fileIcon,
		"fileKind":   fileKind,
		"ago":        func(t time.Time) string { return w.ago(t, l.h.now()) },
		"date":       func(t time.Time) string { return w.date(t, l.h.now(), l.h.location()) },
		"datetime":   func(t time.Time) string { return w.datetime(t, l.h.location()) },
		"iso":        func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"size":       w.size,
		"names":      names,
		"text":       textHTML,
		"add":        func(a, b int) int { return a + b },
		"join":       strings.Join,
	}
}

func (h *Handler) location() *time.Location {
	if h.Location == nil {
		return time.Local
	}
	return h.Location
}

func folderPath(id store.MailboxID) string { return "/mail/" + strconv.FormatInt(int64(id), 10) }

func messagePath(at messageAt) string {
	return folderPath(at.Folder) + "/" + strconv.FormatUint(uint64(at.UID), 10)
}

// labelOf is the name of a folder in the person's language, if it has a role.
func labelOf(w *words, f mailview.Folder) string {
	if f.Role != "" && f.Owner == "" {
		if t, ok := w.find("folder." + f.Role); ok {
			return t
		}
	}
	return f.Label
}

// names are who, for a row of a list: the name, or the address where that could deceive.
func names(as []mailview.Address) string {
	var b strings.Builder
	for i, a := range as {
		if i == 3 {
			b.WriteString(" …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if a.Name == "" || a.Suspicious {
			b.WriteString(a.Addr)
		} else {
			b.WriteString(a.Name)
		}
	}
	return b.String()
}
