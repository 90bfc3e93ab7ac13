package webmail

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

// A session is what is kept, under the hash of its token, of who has signed in. The
// token itself is only in the cookie: who reads the database cannot become anybody.
type session struct {
	Account mailkeel.AccountID `json:"a"`
	Login   string             `json:"l"` // an address
	// Reign is the account's when it began. A new password begins another, and
	// ends all sessions of the one before.
	Reign string    `json:"r"`
	Since time.Time `json:"s"`
	Used  time.Time `json:"u"` // give or take a minute

	key string // in the KV
}

var errUnchanged = errors.New("webmail: unchanged")

const sessionPrefix = "web-session-"

func (h *Handler) idle() time.Duration     { return cmp.Or(h.Idle, 8*time.Hour) }
func (h *Handler) absolute() time.Duration { return cmp.Or(h.Absolute, 7*24*time.Hour) }

func token() string {
	b := make([]byte, 32)
	rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// keyOf is where a session is kept. The name of the cookie is part of it, so that a
// token of one handler is none of another's over the same KV.
func (h *Handler) keyOf(token string) string {
	sum := sha256.Sum256([]byte(h.cookieName() + "\x00" + token))
	return sessionPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (h *Handler) reignKey(a mailkeel.AccountID) string {
	sum := sha256.Sum256([]byte(a))
	return "web-reign-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// reign returns the account's, and keeps it for as long as a session that begins now
// can last. A fresh one ends all sessions there are.
func (h *Handler) reign(ctx context.Context, a mailkeel.AccountID, fresh bool) (string, error) {
	r := ""
	err := h.kv.Update(ctx, h.reignKey(a), h.absolute()+time.Hour, func(old []byte) ([]byte, error) {
		if old == nil || fresh {
			old = []byte(token())
		}
		r = string(old)
		return old, nil
	})
	return r, err
}

// begin makes a session and sets its cookie. The one that the request came with ends:
// a token that was known before never becomes one that is signed in.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, a mailkeel.AccountID, login string, fresh bool) error {
	if err := h.end(w, r); err != nil {
		return err
	}
	reign, err := h.reign(r.Context(), a, fresh)
	if err != nil {
		return err
	}
	t, now := token(), h.now()
	b, err := json.Marshal(session{Account: a, Login: login, Reign: reign, Since: now, Used: now})
	if err != nil {
		return err
	}
	err = h.kv.Update(r.Context(), h.keyOf(t), min(h.idle(), h.absolute()), func([]byte) ([]byte, error) { return b, nil })
	if err != nil {
		return err
	}
	h.setCookie(w, r, t)
	return nil
}

// end forgets the session of a request, if there is one, and its cookie.
func (h *Handler) end(w http.ResponseWriter, r *http.Request) error {
	for _, t := range h.tokens(r) {
		err := h.kv.Update(r.Context(), h.keyOf(t), 0, func([]byte) ([]byte, error) { return nil, nil })
		if err != nil {
			return err
		}
		h.setCookie(w, r, "")
	}
	return nil
}

// session returns that of a request, or nil if there is none any more.
func (h *Handler) session(r *http.Request) (*session, error) {
	for _, t := range h.tokens(r) {
		s, err := h.sessionAt(r.Context(), h.keyOf(t))
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

func (h *Handler) sessionAt(ctx context.Context, key string) (*session, error) {
	b, err := h.peek(ctx, key)
	if b == nil || err != nil {
		return nil, err
	}
	now := h.now()
	var s session
	if json.Unmarshal(b, &s) != nil || s.Account == "" || !now.Before(s.Used.Add(h.idle())) || !now.Before(s.Since.Add(h.absolute())) {
		return nil, nil
	}
	s.key = key
	reign, err := h.peek(ctx, h.reignKey(s.Account))
	if err != nil || string(reign) != s.Reign {
		return nil, err
	}
	if now.Sub(s.Used) < min(time.Minute, h.idle()/10) { // not a write for each request
		return &s, nil
	}
	s.Used = now
	ended := false
	err = h.kv.Update(ctx, key, h.idle(), func(old []byte) ([]byte, error) {
		if ended = old == nil; ended { // meanwhile: it stays so
			return nil, nil
		}
		return json.Marshal(s)
	})
	if ended || err != nil {
		return nil, err
	}
	return &s, nil
}

// peek reads from the KV, without standing in line if that can be.
func (h *Handler) peek(ctx context.Context, key string) (value []byte, err error) {
	if r, ok := h.kv.(store.KVReader); ok {
		return r.Get(ctx, key)
	}
	err = h.kv.Update(ctx, key, 0, func(old []byte) ([]byte, error) {
		value = old
		return nil, errUnchanged
	})
	return value, notUnchanged(err)
}

func notUnchanged(err error) error {
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// cookie is its name, for a request. A cookie with __Host- was set by this host under
// HTTPS, and by no other (RFC 6265bis, 4.1.3).
func (h *Handler) cookie(r *http.Request) string {
	if h.https(r) {
		return "__Host-" + h.cookieName()
	}
	return h.cookieName()
}

// tokens returns what the cookies of a request say; more than two are not looked at.
func (h *Handler) tokens(r *http.Request) (ts []string) {
	for _, c := range r.CookiesNamed(h.cookie(r)) {
		if len(c.Value) == 43 && len(ts) < 2 {
			ts = append(ts, c.Value)
		}
	}
	return ts
}

func (h *Handler) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	c := &http.Cookie{Name: h.cookie(r), Value: value, Path: "/", HttpOnly: true, Secure: h.https(r), SameSite: http.SameSiteLaxMode}
	if !c.Secure && h.Prefix != "" {
		c.Path = h.Prefix
	}
	if value == "" {
		c.MaxAge = -1
	}
	for i, old := range w.Header()["Set-Cookie"] { // the last word counts
		if len(old) > len(c.Name) && old[:len(c.Name)+1] == c.Name+"=" {
			w.Header()["Set-Cookie"] = append(w.Header()["Set-Cookie"][:i], w.Header()["Set-Cookie"][i+1:]...)
			break
		}
	}
	http.SetCookie(w, c)
}
