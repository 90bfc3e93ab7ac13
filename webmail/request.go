package webmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

const (
	maxURL   = 8 << 10
	maxQuery = 64      // parameters
	maxForm  = 1 << 20 // of a form without files
	// maxStranger is how large a form may be of who has not signed in.
	maxStranger = 16 << 10
	maxFiles    = 100 // of one upload
)

// A request is one that is being answered.
type request struct {
	h     *Handler
	w     http.ResponseWriter
	r     *http.Request
	rt    *route
	form  url.Values // of a POST
	files *uploads
	slot  bool // it holds one of the Handler's

	session  *session // nil with Handler.Session, and for who is not signed in
	account  mailkeel.AccountID
	address  string
	box      *mailview.Box // nil for who is not signed in
	settings mailview.Settings
	words    *words // of the person's language
	listed   []mailview.Folder
}

func (rq *request) ctx() context.Context { return rq.r.Context() }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.Check(); err != nil {
		h.log().Error("webmail: cannot work", "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	protect(w.Header())
	if len(r.RequestURI) > maxURL || len(r.URL.Path) > maxURL || len(r.URL.RawQuery) > maxURL {
		h.serve(route{serve: func(*request) error { return status(http.StatusRequestURITooLong) }}).ServeHTTP(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// serve answers requests for a route.
func (h *Handler) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rq := &request{h: h, w: w, r: r, rt: &rt, words: h.look.wordsFor(r.Header.Get("Accept-Language"))}
		rt.headers(w.Header())
		defer func() {
			if rq.files != nil {
				rq.files.remove()
			}
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				h.log().Error("webmail: panic", "path", r.Pattern, "panic", p, "stack", string(debug.Stack()))
				rq.fail(status(http.StatusInternalServerError))
			}
		}()
		if err := rq.answer(); err != nil {
			rq.fail(err)
		}
	})
}

// answer does what comes before a route, and the route.
func (rq *request) answer() error {
	h, rt := rq.h, rq.rt
	if rt.static() {
		return rt.serve(rq)
	}
	if !h.https(rq.r) && !onLoopback(rq.r) {
		return rq.insecure()
	}
	if len(rq.r.URL.Query()) > maxQuery {
		return status(http.StatusBadRequest)
	}
	if rt.changes {
		if err := sameOrigin(rq.r); err != nil {
			return err
		}
	}
	if err := rq.identify(); err != nil {
		return err
	}
	who := "account " + string(rq.account)
	if rq.box == nil {
		who = network(h.client(rq.r))
	}
	leave := h.slots.enterAs(rq.ctx(), who)
	if leave == nil {
		return status(http.StatusTooManyRequests)
	}
	defer leave()
	if rt.private && rq.box == nil {
		return rq.nobody()
	}
	if rt.body == uploadBody {
		leave := h.uploads.enterAs(rq.ctx(), who)
		if leave == nil {
			return status(http.StatusTooManyRequests)
		}
		defer leave()
	}
	if err := rq.readForm(); err != nil {
		return err
	}
	// Only now: who sends slowly holds up nobody else.
	if !h.slots.enter() {
		return status(http.StatusServiceUnavailable)
	}
	rq.slot = true
	defer rq.leaveSlot()
	return rt.serve(rq)
}

// leaveSlot lets the next one in. It comes before writing, for who reads slowly holds
// up nobody else either.
func (rq *request) leaveSlot() {
	if rq.slot {
		rq.slot = false
		rq.h.slots.leave()
	}
}

// identify finds out whose request it is.
func (rq *request) identify() error {
	h := rq.h
	login := ""
	if h.Session != nil {
		id, ok := h.Session(rq.r)
		if !ok || id == "" {
			return nil
		}
		rq.account = id
	} else {
		s, err := h.session(rq.r)
		if s == nil || err != nil {
			return err
		}
		rq.session, rq.account, login = s, s.Account, s.Login
	}
	// An account that was deleted meanwhile is nobody.
	if _, err := h.Directory.Limit(rq.ctx(), rq.account); err != nil {
		rq.session, rq.account = nil, ""
		if errors.Is(err, accounts.ErrNoUser) {
			return nil
		}
		return err
	}
	rq.address = login
	if roster, ok := h.Directory.(accounts.Roster); ok {
		who, err := roster.ByID(rq.ctx(), rq.account)
		if err != nil && !errors.Is(err, accounts.ErrNoUser) {
			return err
		}
		if err == nil {
			rq.address = who.Address
		}
	}
	rq.box = h.mail.Of(rq.account, rq.address)
	var err error
	if rq.settings, err = rq.box.Settings(rq.ctx()); err != nil { // no reason not to read mail
		h.log().Error("webmail: cannot read settings", "account", rq.account, "err", err)
	}
	if w := h.look.wordsOf(rq.settings.Language); w != nil {
		rq.words = w
	}
	rq.box = rq.box.In(rq.words.lang) // answers begin in that language
	return nil
}

// folders are all that the person sees, asked for once. What changes them comes before.
func (rq *request) folders() (_ []mailview.Folder, err error) {
	if rq.listed == nil {
		rq.listed, err = rq.box.Folders(rq.ctx())
	}
	return rq.listed, err
}

// nobody answers who must sign in first.
func (rq *request) nobody() error {
	switch {
	case rq.h.Session == nil && rq.rt.policy == pagePolicy && !rq.rt.changes:
		return rq.redirect("/signin")
	case rq.h.SignIn != "" && !rq.rt.changes:
		rq.w.Header().Set("Location", rq.h.SignIn)
		rq.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	if rq.rt.changes { // all of it, or the browser shows a broken connection
		io.CopyN(io.Discard, rq.r.Body, maxForm+rq.h.maxMessage())
	}
	return status(http.StatusUnauthorized)
}

// readForm reads what a POST brings, within its bounds.
func (rq *request) readForm() error {
	if rq.rt.body == noBody {
		return nil
	}
	most := int64(maxForm)
	if !rq.rt.private { // anybody can send it
		most = maxStranger
	}
	kind, _, err := mime.ParseMediaType(rq.r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "application/x-www-form-urlencoded":
		rq.r.Body = http.MaxBytesReader(rq.w, rq.r.Body, most)
		err = rq.r.ParseForm()
		rq.form = rq.r.PostForm
	case err == nil && kind == "multipart/form-data":
		room := int64(0)
		if rq.rt.body == uploadBody {
			room = rq.h.maxMessage()
			most += max(room, maxWaste)
		}
		rq.r.Body = http.MaxBytesReader(rq.w, rq.r.Body, most)
		var mr *multipart.Reader
		if mr, err = rq.r.MultipartReader(); err == nil {
			rq.form, rq.files, err = readParts(mr, room)
		}
	default:
		return status(http.StatusUnsupportedMediaType)
	}
	if err != nil {
		return formError(err)
	}
	if len(rq.form) == 0 {
		return status(http.StatusBadRequest) // every form of ours has a button with a name
	}
	return nil
}

// network is what strangers are counted by: a /64 of IPv6 is one.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// value is a field of the form, in one line: what has line breaks where none belong,
// or other control characters, was not made by a browser.
func (rq *request) value(name string) string { return oneLine(rq.form.Get(name)) }

func (rq *request) folderID() (store.MailboxID, error) { return folderID(rq.r.PathValue("folder")) }

func folderID(s string) (store.MailboxID, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != s {
		return 0, status(http.StatusNotFound)
	}
	return store.MailboxID(n), nil
}

func uidOf(s string) (store.UID, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return 0, status(http.StatusNotFound)
	}
	return store.UID(n), nil
}

// messageAt is where a message is.
type messageAt struct {
	Folder store.MailboxID
	UID    store.UID
}

func (at messageAt) String() string { return fmt.Sprintf("%d/%d", at.Folder, at.UID) }

func (rq *request) messageAt() (at messageAt, err error) {
	if at.Folder, err = rq.folderID(); err == nil {
		at.UID, err = uidOf(rq.r.PathValue("uid"))
	}
	return at, err
}

// redirect sends a person to a page of ours, by GET.
func (rq *request) redirect(path string, query ...string) error {
	if len(query) > 0 {
		q := url.Values{}
		for i := 0; i+1 < len(query); i += 2 {
			if query[i+1] != "" {
				q.Set(query[i], query[i+1])
			}
		}
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
	}
	rq.w.Header().Set("Location", rq.h.Prefix+path)
	rq.w.WriteHeader(http.StatusSeeOther)
	return nil
}
