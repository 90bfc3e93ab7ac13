package pop3

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/internal/guard"
	"github.com/mailkeel/mailkeel/store"
)

// serverState is what a running Server knows. Its zero value is ready.
type serverState struct {
	once  sync.Once
	guard guard.Guard
	tls   *tls.Config // Server.TLS, for guard.Conn.Shown

	mu     sync.Mutex
	logins map[store.AccountID]int
	last   map[store.AccountID]time.Time // logins, while LoginDelay holds
	prune  int                           // how many of last make it worth a look
}

// loopback is this machine, and often a proxy that hides who the client is.
var loopback = [...]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func (s *Server) init() {
	s.state.once.Do(func() {
		st := &s.state
		st.logins = map[store.AccountID]int{}
		st.last = map[store.AccountID]time.Time{}
		st.tls = guard.Remembering(s.TLS)
		st.guard = guard.Guard{
			MaxConns: s.MaxConns,
			MaxPerIP: or(s.MaxPerIP, 100),
			Exempt:   slices.Concat(s.Trusted, loopback[:]),
			Proxies:  s.Proxies,
			Refuse:   func() string { return "-ERR [SYS/TEMP] Too many connections\r\n" },
			// It bounds a write; each connection sets its own for reads.
			IdleTimeout: or(s.StallTimeout, 5*time.Minute),
			Logger:      s.Logger,
		}
	})
}

// Serve answers the clients that ln accepts until Shutdown or Close, and then
// returns nil. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	s.init()
	return s.state.guard.Serve(ln, nil, s.handle)
}

// ServeTLS is Serve with TLS from the first byte (RFC 8314). TLS must be set.
func (s *Server) ServeTLS(ln net.Listener) error {
	if s.TLS == nil {
		ln.Close()
		return errors.New("pop3: ServeTLS without TLS")
	}
	s.init()
	return s.state.guard.Serve(ln, s.state.tls, s.handle)
}

// Shutdown stops listening and ends every session with an -ERR: at once where the
// server waits for the client, else after the command in progress. Only a QUIT
// that is in progress still deletes. When ctx is done it ends what is left as Close
// does, and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	return s.state.guard.Shutdown(ctx)
}

// Close ends all connections at once.
func (s *Server) Close() error {
	s.init()
	return s.state.guard.Close()
}

// handle serves one connection. It is called once TLS stands, if it came first.
func (s *Server) handle(g *guard.Conn) {
	c := &conn{srv: s, low: g, net: g, ctx: g.Context(), remote: g.Addr().Addr(), log: s.logger().With("addr", g.Addr())}
	if t := g.TLS(); t != nil {
		c.net, c.tls = t, true
	}
	g.SetIdle(or(s.LoginTimeout, 3*time.Minute))
	g.SetLimit(time.Now().Add(or(s.LoginTimeout, 3*time.Minute)))
	c.rec = s.Tamper.Recorder("pop3", g.LocalAddr().String())
	c.start()
	c.serve()
	if c.net != net.Conn(g) {
		c.net.Close() // says so to TLS
	}
}

// login makes one more session of an account, or says why there may not be one.
func (s *Server) login(id store.AccountID) error {
	st := &s.state
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.logins[id] >= or(s.MaxPerAccount, 10) {
		return no("IN-USE", "The maildrop is open in too many sessions")
	}
	if s.LoginDelay > 0 {
		if ago := now.Sub(st.last[id]); ago >= 0 && ago < s.LoginDelay {
			return no("LOGIN-DELAY", "Too soon after the last login")
		}
		if len(st.last) >= max(st.prune, 1000) {
			for id, t := range st.last {
				if now.Sub(t) >= s.LoginDelay {
					delete(st.last, id)
				}
			}
			st.prune = 2 * len(st.last)
		}
		st.last[id] = now
	}
	st.logins[id]++
	return nil
}

func (st *serverState) logout(id store.AccountID) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.logins[id]--; st.logins[id] <= 0 {
		delete(st.logins, id)
	}
}
