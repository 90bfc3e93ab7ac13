package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/guard"
	"github.com/mailkeel/mailkeel/store"
)

// serverState is what a running Server knows. Its zero value is ready.
type serverState struct {
	once    sync.Once
	guard   guard.Guard
	tls     *tls.Config // Server.TLS, for guard.Conn.Shown
	closing atomic.Bool
	views   views
	keys    keyCache
	feeds   feeds

	searchOnce sync.Once
	searchers  chan struct{} // see searchHelpers
	portions   sync.Pool     // of *portion, that nobody uses

	mu       sync.Mutex
	conns    map[*conn]struct{}
	logins   map[store.AccountID]int
	watching bool
	// earliest is the time of the next look at deadlines, in ns.
	earliest atomic.Int64
	sooner   chan struct{} // holds one hint that a deadline is earlier
	stop     chan struct{} // closed when no connection is left
	wg       sync.WaitGroup
}

// loopback is this machine, and often a proxy that hides who the client is.
var loopback = [...]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func (s *Server) init() {
	s.state.once.Do(func() {
		st := &s.state
		st.conns = map[*conn]struct{}{}
		st.logins = map[store.AccountID]int{}
		st.views.wg, st.feeds.wg = &st.wg, &st.wg
		st.tls = guard.Remembering(s.TLS)
		st.guard = guard.Guard{
			MaxConns: s.MaxConns,
			MaxPerIP: or(s.MaxPerIP, 200),
			Exempt:   slices.Concat(s.Trusted, loopback[:]),
			Proxies:  s.Proxies,
			Refuse:   func() string { return "* BYE [UNAVAILABLE] Too many connections\r\n" },
			// It bounds a write. Reads are bounded by the clock of s.
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
		return errors.New("imap: ServeTLS without TLS")
	}
	s.init()
	return s.state.guard.Serve(ln, s.state.tls, s.handle)
}

// Shutdown stops listening and says BYE to every client: at once where nothing is
// going on or the client is in IDLE, else after the command in progress. When ctx
// is done it ends what is left as Close does, and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	st := &s.state
	st.closing.Store(true)
	st.mu.Lock()
	for c := range st.conns {
		c.low.Wake()
	}
	st.mu.Unlock()
	err := st.guard.Shutdown(ctx)
	st.wg.Wait()
	return err
}

// Close ends all connections at once.
func (s *Server) Close() error {
	s.init()
	s.state.closing.Store(true)
	err := s.state.guard.Close()
	s.state.wg.Wait()
	return err
}

// handle serves one connection. It is called once TLS stands, if it came first.
func (s *Server) handle(g *guard.Conn) {
	g.Busy(true) // conn itself knows when a Shutdown may interrupt it
	g.SetIdle(math.MaxInt64)
	c := &conn{srv: s, low: g, net: g, ctx: g.Context(), remote: g.Addr().Addr(), log: s.logger().With("addr", g.Addr())}
	if t := g.TLS(); t != nil {
		c.net, c.tls = t, true
	}
	c.rec = s.Tamper.Recorder("imap", g.LocalAddr().String())
	c.w.W = c.rec.Writer(c.net)
	c.w.Small = true
	c.in = newInput(c, &c.w)
	s.state.add(c, s)
	defer s.state.remove(c)
	c.serve()
	if c.net != net.Conn(g) {
		c.net.Close() // says so to TLS
	}
}

func (st *serverState) add(c *conn, s *Server) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.conns[c] = struct{}{}
	if !st.watching {
		st.watching = true
		st.stop, st.sooner = make(chan struct{}), make(chan struct{}, 1)
		st.earliest.Store(math.MaxInt64)
		st.wg.Add(1)
		go st.reap(mailkeel.ClockOr(s.Clock), st.stop, st.sooner)
	}
}

func (st *serverState) remove(c *conn) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.conns, c)
	if len(st.conns) == 0 {
		st.watching = false
		close(st.stop)
	}
}

// watch makes sure that somebody looks at deadlines at d, in ns.
func (st *serverState) watch(d int64) {
	if d < st.earliest.Load() {
		st.mu.Lock()
		defer st.mu.Unlock()
		select {
		case st.sooner <- struct{}{}:
		default:
		}
	}
}

// reap ends the waiting of connections whose deadline has passed. One goroutine
// and one timer serve all connections: deadlines mostly move away before they
// come, and then nothing needs to be done about them.
func (st *serverState) reap(clock mailkeel.Clock, stop, sooner chan struct{}) {
	defer st.wg.Done()
	const grain = time.Second // not to look too often
	for {
		now := clock.Now().UnixNano()
		st.earliest.Store(math.MaxInt64) // what is noted from here on is not missed
		next := int64(math.MaxInt64)
		st.mu.Lock()
		for c := range st.conns {
			switch d := c.deadline.Load(); {
			case d == 0:
			case d <= now:
				c.low.Wake()
			default:
				next = min(next, d)
			}
		}
		st.mu.Unlock()
		var due <-chan time.Time
		var t mailkeel.Timer
		if next < math.MaxInt64 {
			next = max(next, now+int64(grain))
			t = clock.NewTimer(time.Duration(next - now))
			due = t.C()
			st.earliest.Store(next)
		}
		select {
		case <-due:
		case <-sooner:
		case <-stop:
		}
		if t != nil {
			t.Stop()
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// login counts a session of an account, if there may be one more.
func (st *serverState) login(id store.AccountID, most int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.logins[id] >= most {
		return false
	}
	st.logins[id]++
	return true
}

func (st *serverState) logout(id store.AccountID) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.logins[id]--; st.logins[id] <= 0 {
		delete(st.logins, id)
	}
}
