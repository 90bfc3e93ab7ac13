// Package webmail lets people read and write their mail in a browser. It is an
// http.Handler to mount under any prefix, and needs no JavaScript.
//
//	mail := &webmail.Handler{Store: boxes, Auth: users, Directory: users, Submit: out, Prefix: "/mail"}
//	http.Handle("/mail/", mail)
//
// People sign in with the password of their account, or the application says who it
// is: Handler.Session. A Brand gives it another name, logo, colours, texts, links,
// pages and files.
//
// Passwords and mail do not travel in the clear: over plain HTTP it works on loopback
// addresses only, or behind a proxy that TrustedProxies names and that says
// X-Forwarded-Proto: https. Elsewhere it says that HTTPS is needed.
//
// Every page has a Content-Security-Policy that lets nothing run; HTML of messages is
// cleaned, and shown in a frame without scripts, an origin or the network.
package webmail

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/internal/memkv"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// A Handler serves all pages. Store, Directory and Submit are required, and Auth or
// Session. Fields are not changed after the first request.
type Handler struct {
	Store     *store.Store
	Directory accounts.Directory
	// Submit takes what people write: a submit.Transport with its Sent set.
	Submit mailkeel.Transport
	// Auth checks passwords. It should be behind an accounts.Limiter, as package
	// server has it: nothing here counts guesses. One that is an
	// accounts.PasswordSetter lets people change theirs.
	Auth accounts.Authenticator
	// Search, if set, finds messages; otherwise they are read.
	Search search.Finder
	// Hostname stands in Message-IDs; empty means the domain of the sender.
	Hostname string

	// Prefix is the path it is mounted at, with a slash before and none behind:
	// "/mail". It stays in the path of requests: no http.StripPrefix. Empty means
	// the root.
	Prefix string
	Brand  Brand

	// Session, if set, says whose request it is, by the application's own login:
	// then there is neither signing in nor out here, nor a password to change.
	// It is asked for every page. SignIn is where who is nobody is sent to: a path
	// or URL of the application; empty means a page that says so.
	Session func(*http.Request) (mailkeel.AccountID, bool)
	SignIn  string

	// KV has the sessions; nil means memory, and then they end with the process.
	KV store.KV
	// Cookie is the name of the cookie, to which "__Host-" is added under HTTPS;
	// empty means "mail". Two handlers on one host, or on two ports of one
	// machine without HTTPS, need two names.
	Cookie string
	// Idle is how long a session lasts without a request; zero means 8 hours.
	// Absolute is how long it lasts at all; zero means 7 days.
	Idle, Absolute time.Duration
	// TrustedProxies are in front and terminate TLS: their X-Forwarded-Proto and
	// X-Forwarded-For are believed. They must set the first themselves.
	TrustedProxies []netip.Prefix

	// MaxMessage is how large a message that is written may be, in bytes; zero
	// means 25 MiB.
	MaxMessage int64
	// MaxRequests is how many requests are worked on at once; zero means 256. More
	// are answered with 503.
	// MaxPerUser is how many of one account, or of one network before it is known
	// who it is; zero means 16. More wait a while, and are then answered with 429.
	MaxRequests, MaxPerUser int

	// Location is the time zone of dates; nil means that of the machine.
	Location *time.Location
	Clock    mailkeel.Clock // nil means real time
	Logger   *slog.Logger   // nil means discard

	once  sync.Once
	err   error
	mux   *http.ServeMux
	kv    store.KV
	mail  *mailview.Mail
	look  *looks
	slots slots
	// uploads bounds forms with files: each takes room on the disk.
	uploads slots
}

// maxMemory is how many keys there are in memory without a KV: some 30 MB of sessions.
const maxMemory = 100_000

var _ http.Handler = (*Handler)(nil)

// Check says what is wrong with the fields. Requests are answered with 500 then.
func (h *Handler) Check() error {
	h.once.Do(func() { h.err = h.init() })
	return h.err
}

func (h *Handler) init() error {
	switch {
	case h.Store == nil:
		return errors.New("webmail: Handler.Store is required")
	case h.Directory == nil:
		return errors.New("webmail: Handler.Directory is required")
	case h.Submit == nil:
		return errors.New("webmail: Handler.Submit is required")
	case h.Auth == nil && h.Session == nil:
		return errors.New("webmail: Handler.Auth or Handler.Session is required")
	case h.Prefix != "" && (!strings.HasPrefix(h.Prefix, "/") || strings.HasSuffix(h.Prefix, "/") || strings.ContainsAny(h.Prefix, "{}?#%\\ ") || strings.Contains(h.Prefix, "//")):
		return errors.New(`webmail: Handler.Prefix is a path such as "/mail"`)
	case !validCookieName(h.cookieName()):
		return errors.New("webmail: Handler.Cookie is a word")
	}
	h.kv = h.KV
	if h.kv == nil {
		h.kv = &memkv.KV{Clock: h.Clock, Max: maxMemory}
	}
	h.mail = &mailview.Mail{
		Store: h.Store, Directory: h.Directory, Submit: h.Submit, Search: h.Search,
		Hostname: h.Hostname, MaxMessage: h.MaxMessage, Clock: h.Clock, Logger: h.Logger,
	}
	var err error
	if h.look, err = newLooks(h); err != nil {
		return err
	}
	h.slots.max, h.slots.each = cmp.Or(h.MaxRequests, 256), cmp.Or(h.MaxPerUser, 16)
	h.uploads.each = uploadsEach
	h.slots.wait, h.uploads.wait = patience, patience
	h.mux = h.routesMux()
	return nil
}

func (h *Handler) clock() mailkeel.Clock { return mailkeel.ClockOr(h.Clock) }
func (h *Handler) now() time.Time        { return h.clock().Now() }

func (h *Handler) log() *slog.Logger {
	if h.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Logger
}

func (h *Handler) cookieName() string { return cmp.Or(h.Cookie, "mail") }

func validCookieName(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}
