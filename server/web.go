package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// WebParts are what pages for people are made over: those of the Server. Config.Web
// gets them.
type WebParts struct {
	Hostname  string
	Store     *store.Store
	Directory accounts.Directory
	Auth      accounts.Authenticator // behind a Limiter
	Submit    mailkeel.Transport     // files a copy in Sent
	Search    search.Finder          // nil without Config.Search
	KV        store.KV
	MaxBytes  int64 // of a message; zero means 50 MiB
	Clock     mailkeel.Clock
	Logger    *slog.Logger
}

// Web is the door for browsers.
type Web struct {
	Handler http.Handler // what Config.Web returned; it may be wrapped

	TLS     *tls.Config
	Proxies []netip.Prefix // send the PROXY protocol
	// MaxConns is how many connections there are; zero means 10,000. MaxPerIP is
	// how many of one address, or IPv6 /64, other than loopback and Trusted; zero
	// means 100.
	MaxConns, MaxPerIP int
	Trusted            []netip.Prefix
	// HeaderTimeout is how long the header of a request may take; zero means 10 s.
	// ReadTimeout is how long all of it may; zero means 5 minutes, for uploads.
	// WriteTimeout is how long the response may, from the end of the header on; zero
	// means 15 minutes, for downloads.
	// IdleTimeout is how long a connection waits for the next request; zero means
	// 2 minutes.
	HeaderTimeout, ReadTimeout, WriteTimeout, IdleTimeout time.Duration
	MaxHeader                                             int // bytes; zero means 32 KiB
	Logger                                                *slog.Logger

	once sync.Once
	http *http.Server
	seen counts

	mu       sync.Mutex
	stopping bool
	fresh    map[net.Conn]struct{} // no request yet
}

func (w *Web) server() *http.Server {
	w.once.Do(func() {
		w.seen.all, w.seen.each, w.seen.exempt = cmp.Or(w.MaxConns, 10000), cmp.Or(w.MaxPerIP, 100), w.Trusted
		w.http = &http.Server{
			Handler:           w.Handler,
			ConnState:         w.state,
			ReadHeaderTimeout: cmp.Or(w.HeaderTimeout, 10*time.Second),
			ReadTimeout:       cmp.Or(w.ReadTimeout, 5*time.Minute),
			WriteTimeout:      cmp.Or(w.WriteTimeout, 15*time.Minute),
			IdleTimeout:       cmp.Or(w.IdleTimeout, 2*time.Minute),
			MaxHeaderBytes:    cmp.Or(w.MaxHeader, 32<<10),
		}
		if w.Logger != nil { // what strangers do wrong is none of the operator's business
			w.http.ErrorLog = slog.NewLogLogger(w.Logger.Handler(), slog.LevelDebug)
		}
		if w.TLS != nil {
			w.http.TLSConfig = w.TLS.Clone()
			w.http.TLSConfig.ClientAuth = tls.NoClientCert // browsers would ask people for one
			w.http.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
		}
	})
	return w.http
}

// Serve answers requests on ln until Shutdown or Close, and then returns nil.
func (w *Web) Serve(ln net.Listener) error { return w.end(w.server().Serve(w.limit(ln))) }

// ServeTLS is Serve with TLS from the start.
func (w *Web) ServeTLS(ln net.Listener) error {
	return w.end(w.server().ServeTLS(w.limit(ln), "", ""))
}

func (w *Web) end(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops listening and lets requests come to their end. Connections that have
// asked for nothing yet, which browsers like to have in store, are closed: net/http would
// wait 5 s for each.
func (w *Web) Shutdown(ctx context.Context) error {
	s := w.server()
	w.mu.Lock()
	w.stopping = true
	for c := range w.fresh {
		c.Close()
	}
	w.mu.Unlock()
	return s.Shutdown(ctx)
}

// state keeps account of connections without a request.
func (w *Web) state(c net.Conn, s http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s != http.StateNew:
		delete(w.fresh, c)
	case w.stopping:
		c.Close()
	default:
		if w.fresh == nil {
			w.fresh = map[net.Conn]struct{}{}
		}
		w.fresh[c] = struct{}{}
	}
}

// Close ends everything.
func (w *Web) Close() error { return w.server().Close() }

// limit is ln with PROXY headers read and connections counted.
func (w *Web) limit(ln net.Listener) net.Listener {
	w.server()
	if len(w.Proxies) > 0 {
		ln = &proxyproto.Listener{
			Listener: ln, ReadHeaderTimeout: cmp.Or(w.HeaderTimeout, 10*time.Second),
			ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
				if contains(w.Proxies, ipOf(o.Upstream)) {
					return proxyproto.REQUIRE, nil
				}
				return proxyproto.SKIP, nil
			},
		}
	}
	return countedListener{ln, &w.seen}
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func ipOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(t.IP)
	return ip.Unmap()
}

// counts bound the connections, in all and of one address.
type counts struct {
	all, each int
	exempt    []netip.Prefix

	mu    sync.Mutex
	n     int
	perIP map[netip.Prefix]int
}

// errCrowded ends a connection that is one too many.
var errCrowded = errors.New("server: too many connections")

type countedListener struct {
	net.Listener
	c *counts
}

func (l countedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.c.enter() {
			return &countedConn{Conn: conn, c: l.c}, nil
		}
		conn.Close()
	}
}

func (c *counts) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= c.all {
		return false
	}
	c.n++
	return true
}

// enterAs counts a connection to its address.
func (c *counts) enterAs(a netip.Addr) (netip.Prefix, bool) {
	if !a.IsValid() || a.IsLoopback() || contains(c.exempt, a) {
		return netip.Prefix{}, true
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[p] >= c.each {
		return netip.Prefix{}, false
	}
	if c.perIP == nil {
		c.perIP = map[netip.Prefix]int{}
	}
	c.perIP[p]++
	return p, true
}

func (c *counts) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
}

func (c *counts) leaveAs(p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[p]--; c.perIP[p] == 0 {
		delete(c.perIP, p)
	}
}

// A countedConn is counted to its address when it is first read, in its own
// goroutine: a PROXY header has to come first.
type countedConn struct {
	net.Conn
	c *counts

	first, last sync.Once
	mu          sync.Mutex
	ip          netip.Prefix
	closed      bool
	err         error
}

func (c *countedConn) Read(p []byte) (int, error) {
	c.first.Do(func() {
		ip, ok := c.c.enterAs(ipOf(c.RemoteAddr()))
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case !ok:
			c.err = errCrowded
			c.Conn.Close() // without an answer, like those that are too many in all
		case c.closed:
			c.c.leaveAs(ip)
		default:
			c.ip = ip
		}
	})
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}

func (c *countedConn) Close() error {
	c.last.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.closed = true
		c.c.leave()
		c.c.leaveAs(c.ip)
	})
	return c.Conn.Close()
}
