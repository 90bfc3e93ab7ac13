package webmail

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
)

func open(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// TestBounds: what is too long or too much is refused, with a page.
func TestBounds(t *testing.T) {
	s := newStocked(t, func(h *Handler) { h.MaxMessage = 100 << 10 })
	ann := s.as("ann")
	cookies := ann.cookies()
	ours := head("Content-Type", formType, "Origin", "https://mail.example.test", "Sec-Fetch-Site", "same-origin")
	long := func(n int) string { return strings.Repeat("x", n) }
	many := url.Values{"do": {"read"}}
	for range maxChosen + 1 {
		many.Add("uid", "1")
	}
	for _, tt := range []struct {
		what, method, path, body string
		code                     int
	}{
		{"a long path", "GET", "/" + long(maxURL), "", 414},
		{"a long query", "GET", "/settings?x=" + long(maxURL), "", 414},
		{"many parameters", "GET", "/settings?" + many2(maxQuery+1), "", 400},
		{"a long search", "GET", folderPath(s.inbox) + "?q=" + long(maxSearch+1), "", 400},
		{"a large form", "POST", folderPath(s.inbox), "do=read&uid=" + long(maxForm), 413},
		{"a large form of a stranger", "POST", "/signin", "do=signin&login=" + long(maxStranger), 413},
		{"many messages", "POST", folderPath(s.inbox), many.Encode(), 413},
		{"a long subject", "POST", "/compose", "do=save&subject=" + long(maxHeader+1), 413},
		{"a long text", "POST", "/compose", "do=save&text=" + long(maxText+1), 413},
		{"a long password", "POST", "/signin", "do=signin&login=ann@example.test&password=" + long(maxPassword+1), 403},
		{"a long folder", "POST", "/folders", "do=create&name=" + long(maxLabel+1), 422},
		{"a long name", "POST", "/settings", "do=save&name=" + long(500), 422},
		{"a large page", "POST", "/settings", "do=save&page-size=201", 400},
		{"a language of nobody", "POST", "/settings", "do=save&language=xx", 400},
		{"a theme of nobody", "POST", "/settings", "do=save&theme=pink", 422},
		{"no action", "POST", folderPath(s.inbox), "uid=1", 400},
		{"half a percent", "POST", folderPath(s.inbox), "do=%z", 400},
	} {
		before := s.state(cookies)
		w := s.ask(tt.method, tt.path, cookies, ours, tt.body)
		if w.Code != tt.code || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d, want %d", tt.what, w.Code, tt.code)
		}
		if s.state(cookies) != before {
			t.Errorf("%s: something changed", tt.what)
		}
	}
	ann.get("/compose").submit("attach", "text", "My text.", "files", file{"big.bin", "application/octet-stream", long(200 << 10)}).wants(413, "more than a message can hold", "My text.")
	ann.submit("attach", "files", file{"big.bin", "application/octet-stream", long(2 << 20)}).wants(413)
}

func many2(n int) string {
	v := url.Values{}
	for i := range n {
		v.Set("p"+strings.Repeat("x", i), "1")
	}
	return v.Encode()
}

// TestSlots: of many requests at once some are told to come again, and who is slow holds
// up only themselves.
func TestSlots(t *testing.T) {
	s := newStocked(t, func(h *Handler) { h.MaxRequests, h.MaxPerUser = 2, 3 })
	ann, bob := s.as("ann").cookies(), s.as("bob").cookies()
	ours := head("Content-Type", formType, "Origin", "https://mail.example.test", "Sec-Fetch-Site", "same-origin")
	// Three forms of ann that do not come to their end.
	var slow []*io.PipeWriter
	done := make(chan int, 4)
	for range 3 {
		pr, pw := io.Pipe()
		slow = append(slow, pw)
		go func() {
			r := httptest.NewRequest("POST", "https://mail.example.test"+folderPath(s.inbox), pr)
			r.Header = ours.Clone()
			r.AddCookie(ann[0])
			w := httptest.NewRecorder()
			s.h.ServeHTTP(w, r)
			done <- w.Code
		}()
		pw.Write([]byte("do=read")) // it is being read
	}
	s.h.slots.wait = 1
	if w := s.ask("GET", "/settings", ann, nil, ""); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("a fourth request: %d", w.Code)
	}
	if w := s.ask("GET", "/settings", bob, nil, ""); w.Code != 200 {
		t.Errorf("bob: %d", w.Code)
	}
	// One that has patience gets its turn.
	s.h.slots.wait = time.Hour
	go func() { done <- s.ask("GET", "/settings", ann, nil, "").Code }()
	slow[0].Close()
	if a, b := <-done, <-done; a+b != 303+200 {
		t.Errorf("a slow form and the one that waited for it: %d and %d", a, b)
	}
	for _, pw := range slow[1:] {
		pw.Close()
		if code := <-done; code != 303 {
			t.Errorf("a slow form: %d", code)
		}
	}
	if w := s.ask("GET", "/settings", ann, nil, ""); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
	s.h.slots.taken = 2
	if w := s.ask("GET", "/settings", ann, nil, ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("when all are taken: %d", w.Code)
	}
	s.h.slots.taken = 0
}

// TestFailures: what breaks is logged and says nothing to who asked, but what to do.
func TestFailures(t *testing.T) {
	const inside = "secret detail"
	for what, breaks := range map[string]func(*Handler){
		"error": func(h *Handler) { h.Directory = broken{h.Directory, errors.New(inside)} },
		"panic": func(h *Handler) { h.Directory = broken{h.Directory, nil} },
	} {
		var log strings.Builder
		rg := newRig(t, func(h *Handler) { h.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		ann := rg.as("ann").cookies()
		breaks(rg.h)
		r := httptest.NewRequest("GET", "https://mail.example.test/settings", nil)
		r.AddCookie(ann[0])
		r.Header.Set("Accept-Language", "en")
		w := httptest.NewRecorder()
		rg.h.ServeHTTP(w, r)
		if w.Code != 500 || strings.Contains(w.Body.String(), inside) || !strings.Contains(w.Body.String(), "Try again in a moment.") {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), inside) {
			t.Errorf("%s is not in the log: %s", what, &log)
		}
		if strings.Contains(log.String(), ann[0].Value) {
			t.Error("the log has the token")
		}
	}
}

// broken is a directory that fails, or panics.
type broken struct {
	accounts.Directory
	err error
}

func (b broken) Limit(context.Context, mailkeel.AccountID) (mailkeel.Quota, error) {
	if b.err == nil {
		panic("secret detail")
	}
	return mailkeel.Quota{}, b.err
}

// TestPrefix: all that pages name lies below the prefix, and the prefix alone is the
// beginning.
func TestPrefix(t *testing.T) {
	rg := newRig(t, func(h *Handler) { h.Prefix = "/app/mail" })
	ann := rg.as("ann")
	for _, path := range []string{"/", "/settings", "/folders", "/compose"} {
		ann.get(path).wants(200)
		for n := range ann.doc.Descendants() {
			for _, a := range n.Attr {
				if (a.Key == "href" || a.Key == "src" || a.Key == "action") && a.Val != "#main" && !strings.HasPrefix(a.Val, "/app/mail/") {
					t.Errorf("%s: <%s %s=%q>", path, n.Data, a.Key, a.Val)
				}
			}
		}
	}
	for path, code := range map[string]int{"/app/mail": 307, "/app/mail/": 303, "/app": 404, "/": 404, "/app/mail/mail/1/../2": 307, "/app/mailbox": 404} {
		w := httptest.NewRecorder()
		rg.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://mail.example.test"+path, nil))
		if to := w.Header().Get("Location"); w.Code != code || to != "" && !strings.HasPrefix(to, "/app/mail/") {
			t.Errorf("%s: %d %s, want %d", path, w.Code, to, code)
		}
	}
}

// TestCheck: a Handler that cannot work says so.
func TestCheck(t *testing.T) {
	for what, breaks := range map[string]func(*Handler){
		"Store":     func(h *Handler) { h.Store = nil },
		"Directory": func(h *Handler) { h.Directory = nil },
		"Submit":    func(h *Handler) { h.Submit = nil },
		"Auth":      func(h *Handler) { h.Auth = nil },
		"Prefix":    func(h *Handler) { h.Prefix = "mail/" },
		"Cookie":    func(h *Handler) { h.Cookie = "a b" },
		"Colors":    func(h *Handler) { h.Brand.Colors = map[string]string{"accent": "red;}body{display:none"} },
	} {
		h := plain(t)
		breaks(h)
		if err := h.Check(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://mail.example.test/", nil))
		if w.Code != 500 {
			t.Errorf("%s: %d", what, w.Code)
		}
	}
}
