package webmail

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// in reports whether cookies are signed in.
func (rg *rig) in(cookies []*http.Cookie) bool {
	rg.t.Helper()
	r := httptest.NewRequest("GET", "https://mail.example.test"+rg.h.Prefix+"/settings", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	rg.h.ServeHTTP(w, r)
	if w.Code != 200 && w.Code != 303 {
		rg.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Code == 200
}

// TestSessionFixation: a token that was known before never becomes one that is signed in.
func TestSessionFixation(t *testing.T) {
	rg := newRig(t)
	for _, known := range []string{token(), rg.as("bob").cookies()[0].Value} {
		planted := &http.Cookie{Name: "__Host-mail", Value: known, Secure: true, Path: "/"}
		b := rg.tab()
		b.client.Jar.SetCookies(b.at, []*http.Cookie{planted})
		b.get("/signin")
		if b.at.Path == "/signin" {
			b.submit("signin", "login", "ann@example.test", "password", "correct horse").wants(200, "ann@example.test")
		} else { // signed in as bob
			b.post("/signin", false, map[string][]string{"login": {"ann@example.test"}, "password": {"correct horse"}, "do": {"signin"}}, nil, nil)
			b.wants(200, "ann@example.test")
		}
		if now := b.cookies(); len(now) != 1 || now[0].Value == known {
			t.Errorf("cookies after signing in: %v", now)
		}
		if rg.in([]*http.Cookie{planted}) {
			t.Error("the planted token is signed in")
		}
	}
}

// TestSessionEnds: by signing out, by a new password, and by time.
func TestSessionEnds(t *testing.T) {
	rg := newRig(t)
	one, two := rg.as("ann"), rg.as("ann")
	bob := rg.as("bob").cookies()
	stolen := one.cookies()
	one.submit("signout")
	if len(one.cookies()) != 0 || rg.in(stolen) || !rg.in(two.cookies()) {
		t.Error("signing out ends that session, and no other")
	}

	one, three := rg.as("ann"), rg.as("ann")
	stolen = two.cookies()
	two.get("/settings").submit("password", "old", "correct horse", "new", "some new words", "again", "some new words").wants(200, "Your password is changed.")
	if rg.in(one.cookies()) || rg.in(three.cookies()) || rg.in(stolen) {
		t.Error("a session outlives the password")
	}
	if !rg.in(two.cookies()) || !rg.in(bob) {
		t.Error("the session that changed the password ended, or another's")
	}

	// Idle: each request puts it off.
	used, idle := two.cookies(), rg.as("bob").cookies()
	for range 5 {
		rg.clock.Advance(7 * time.Hour)
		if !rg.in(used) {
			t.Fatal("a session that is used ended")
		}
	}
	if rg.in(idle) {
		t.Error("a session lasts that nobody uses")
	}
	// Absolute: it ends nevertheless.
	for range 30 {
		rg.clock.Advance(5 * time.Hour)
		rg.in(used)
	}
	if rg.in(used) {
		t.Error("a session lasts for ever")
	}
}

// TestSessionOfNobody: an account that was deleted has none.
func TestSessionOfNobody(t *testing.T) {
	rg := newRig(t)
	d := &leaving{Directory: rg.users}
	rg.h.Directory = d
	ann := rg.as("ann").cookies()
	if !rg.in(ann) {
		t.Fatal("not signed in")
	}
	d.gone = true
	if rg.in(ann) {
		t.Error("the account is gone, and its session lasts")
	}
}

// leaving is a directory of which all accounts go.
type leaving struct {
	accounts.Directory
	gone bool
}

func (d *leaving) Limit(ctx context.Context, id mailkeel.AccountID) (mailkeel.Quota, error) {
	if d.gone {
		return mailkeel.Quota{}, accounts.ErrNoUser
	}
	return d.Directory.Limit(ctx, id)
}

// TestKeptHashed: nothing in the KV is a token, and what is there is nobody's key.
func TestKeptHashed(t *testing.T) {
	seen := &spy{KV: memstore.KV{}}
	rg := newRig(t, func(h *Handler) { h.KV = seen })
	ann := rg.as("ann")
	tok := ann.cookies()[0].Value
	for key, value := range seen.all {
		if strings.Contains(key+value, tok) || strings.Contains(key+value, "correct horse") {
			t.Errorf("the KV has the token or the password: %s %s", key, value)
		}
		if rg.in([]*http.Cookie{{Name: "__Host-mail", Value: strings.TrimPrefix(key, sessionPrefix)}}) {
			t.Errorf("the key %s signs in", key)
		}
	}
	if len(seen.all) < 2 {
		t.Error("nothing was kept")
	}
}

type spy struct {
	memstore.KV
	all map[string]string
}

func (s *spy) Update(ctx context.Context, key string, ttl time.Duration, fn func([]byte) ([]byte, error)) error {
	return s.KV.Update(ctx, key, ttl, func(old []byte) ([]byte, error) {
		fresh, err := fn(old)
		if s.all == nil {
			s.all = map[string]string{}
		}
		if err == nil {
			s.all[key] = string(fresh)
		}
		return fresh, err
	})
}

// TestCookie: __Host- and Secure where nobody on the way can read it, plain on loopback,
// and no page with a form elsewhere.
func TestCookie(t *testing.T) {
	rg := newRig(t, func(h *Handler) {
		h.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		h.Prefix, h.Cookie = "/mail", "box"
	})
	for _, tt := range []struct {
		url, remote, proto string
		want               string
	}{
		{"https://a.test", "192.0.2.1:1", "", "__Host-box=; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"http://a.test", "10.1.2.3:1", "https", "__Host-box=; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"http://a.test", "10.1.2.3:1", "http, https", "__Host-box=; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"http://a.test", "10.1.2.3:1", "https, http", ""},
		{"http://a.test", "10.1.2.3:1", "", ""},
		{"http://a.test", "192.0.2.1:1", "https", ""},
		{"http://127.0.0.1:2080", "127.0.0.1:1", "", "box=; Path=/mail; HttpOnly; SameSite=Lax"},
		{"http://[::1]:2080", "[::1]:1", "", "box=; Path=/mail; HttpOnly; SameSite=Lax"},
		{"http://localhost", "127.0.0.1:1", "", "box=; Path=/mail; HttpOnly; SameSite=Lax"},
		{"http://127.0.0.1:2080", "127.0.0.1:1", "https", ""}, // a proxy, which is not trusted
		{"http://rebound.test:2080", "127.0.0.1:1", "", ""},
		{"http://127.0.0.1:2080", "192.0.2.1:1", "", ""},
		{"http://localhost.evil.test", "127.0.0.1:1", "", ""},
	} {
		r := httptest.NewRequest("POST", tt.url+"/mail/signin", strings.NewReader("login=ann@example.test&password=correct+horse&do=signin"))
		r.RemoteAddr = tt.remote
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if tt.proto != "" {
			r.Header.Set("X-Forwarded-Proto", tt.proto)
		}
		w := httptest.NewRecorder()
		rg.h.ServeHTTP(w, r)
		got := w.Header().Get("Set-Cookie")
		if name, rest, ok := strings.Cut(got, "="); ok {
			_, attrs, _ := strings.Cut(rest, ";")
			got = name + "=;" + attrs
		}
		if got != tt.want {
			t.Errorf("%s from %s, %q: %q, want %q", tt.url, tt.remote, tt.proto, got, tt.want)
		}
		if tt.want == "" && (w.Code != 403 || strings.Contains(w.Body.String(), "<form") || !strings.Contains(w.Body.String(), "https://")) {
			t.Errorf("%s from %s: %d %s", tt.url, tt.remote, w.Code, w.Body)
		}
	}
}

// TestTwoHandlers: two with names of their own on one host do not disturb each other, even
// over one KV.
func TestTwoHandlers(t *testing.T) {
	kv := &memstore.KV{}
	one := newRig(t, func(h *Handler) { h.KV, h.Cookie = kv, "one" })
	two := newRig(t, func(h *Handler) { h.KV, h.Cookie = kv, "two" })
	c := one.as("ann").cookies()[0]
	if !one.in([]*http.Cookie{c}) {
		t.Error("not signed in")
	}
	c.Name = "__Host-two"
	if two.in([]*http.Cookie{c}) {
		t.Error("a token of one handler is good for another")
	}
}

// TestGuesses: who guesses must wait, and is told so; others need not.
func TestGuesses(t *testing.T) {
	rg := newRig(t)
	known := rg.as("ann") // from this address
	b := rg.tab()
	b.get("/signin")
	codes := map[int]int{}
	for range 40 {
		b.submit("signin", "login", "bob@example.test", "password", "wrong")
		codes[b.res.StatusCode]++
	}
	if codes[403] < 5 || codes[429] < 20 {
		t.Errorf("%v", codes)
	}
	b.wants(429, "too many wrong passwords")
	if b.res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	known.get("/settings").wants(200)
	rg.clock.Advance(2 * time.Minute)
	b.submit("signin", "login", "bob@example.test", "password", "battery staple").wants(200, "Inbox")
}

// TestClient: whose address counts.
func TestClient(t *testing.T) {
	h := &Handler{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "198.51.100.9", "192.0.2.1"},
		{"10.0.0.1:1", "198.51.100.9", "198.51.100.9"},
		{"10.0.0.1:1", "203.0.113.5, 198.51.100.9", "198.51.100.9"}, // the first is what the client says
		{"10.0.0.1:1", "198.51.100.9, 10.0.0.2", "198.51.100.9"},
		{"10.0.0.1:1", "nonsense", "10.0.0.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"[fd00::1]:1", "2001:db8::7", "2001:db8::7"},
		{"@", "198.51.100.9", "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := fmt.Sprint(h.client(r)); got != tt.want {
			t.Errorf("%s, %q: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}
