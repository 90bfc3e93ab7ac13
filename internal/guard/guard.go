// Package guard stands between the network and a door. It accepts connections,
// bounds how many there are, reads the PROXY protocol, shakes hands for implicit
// TLS, and ends everything in good order.
//
// What a door gets is a Conn that lies below TLS and holds what a protocol engine
// tends to get wrong: read errors stay, deadlines cannot be put off, small
// writes leave together, and a last word can be said.
//
// Deadlines of the network are in real time, whatever clock the rest of the
// server lives by: a test that skips five days must not lose its connections.
package guard

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A Guard watches over the connections of a door, on any number of listeners. The
// zero value is ready to use. Its fields do not change after the first Serve.
type Guard struct {
	// MaxConns is how many connections there may be; zero means 10,000.
	MaxConns int
	// MaxPerIP is how many one address may have, counting an IPv6 /64 as one;
	// zero means any number. It does not hold for Exempt and for Unix sockets.
	MaxPerIP int
	Exempt   []netip.Prefix
	// Refuse, if set, gives the line that a connection over a limit is told
	// before it is closed, CRLF included. It is not used under implicit TLS.
	Refuse func() string
	// Proxies are the peers that begin each connection with a PROXY header,
	// version 1 or 2. They must; from others the header is not understood.
	Proxies []netip.Prefix
	// HandshakeTimeout is the time for a PROXY header and a TLS handshake
	// together; zero means 30 s.
	HandshakeTimeout time.Duration
	// IdleTimeout is how long one Read or one Write may wait; zero means 5
	// minutes. See Conn.SetIdle.
	IdleTimeout time.Duration
	// Coalesce is how many written bytes may wait for the next Read, Flush or
	// Close. Zero means that a Write is sent at once.
	Coalesce int
	Logger   *slog.Logger // nil means discard

	stopping atomic.Bool
	mu       sync.Mutex
	ended    chan struct{} // closed by Shutdown and Close
	lns      map[net.Listener]struct{}
	conns    map[*Conn]struct{}
	perIP    map[netip.Prefix]int
	wg       sync.WaitGroup
	bufs     sync.Pool // *[]byte of Coalesce bytes
}

// Serve accepts connections from ln and calls handle for each, in a goroutine of
// its own, until Shutdown or Close, and then returns nil. When cfg is set the TLS
// handshake is done before. When handle returns the connection is closed, unless
// it called Detach.
func (g *Guard) Serve(ln net.Listener, cfg *tls.Config, handle func(*Conn)) error {
	ended := g.add(ln)
	if ended == nil {
		ln.Close()
		return nil
	}
	defer g.remove(ln)
	const longest = time.Second
	var wait time.Duration
	for {
		raw, err := ln.Accept()
		if err == nil {
			wait = 0
			g.start(raw, cfg, handle)
			continue
		}
		select {
		case <-ended:
			return nil
		default:
		}
		// Out of file descriptors, as a rule: connections end and free some.
		//lint:ignore SA1019 nothing else tells
		if ne, ok := err.(net.Error); !ok || !ne.Temporary() {
			return fmt.Errorf("guard: %w", err)
		}
		wait = min(cmp.Or(2*wait, 5*time.Millisecond), longest)
		g.log().Warn("guard: cannot accept", "err", err, "wait", wait)
		select {
		case <-ended:
			return nil
		case <-time.After(wait):
		}
	}
}

// Conns is how many connections there are now.
func (g *Guard) Conns() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// Stopping reports whether Shutdown or Close was called.
func (g *Guard) Stopping() bool { return g.stopping.Load() }

// Shutdown stops listening, bids farewell to each connection as soon as it is
// not busy, and returns when all have ended. When ctx is done first it ends the
// rest as Close does and returns the error of ctx.
func (g *Guard) Shutdown(ctx context.Context) error {
	for _, c := range g.stop() {
		g.wg.Go(func() { c.farewell(true) }) // who does not read it keeps nobody waiting
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	g.kill()
	<-done
	return ctx.Err()
}

// Close stops listening, ends all connections at once, cancels their contexts and
// waits until what handles them has returned.
func (g *Guard) Close() error {
	g.stop()
	g.kill()
	g.wg.Wait()
	return nil
}

// add takes note of a listener and returns the channel that ends it, or nil if
// it is too late.
func (g *Guard) add(ln net.Listener) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.init()
	if g.stopping.Load() {
		return nil
	}
	g.lns[ln] = struct{}{}
	return g.ended
}

func (g *Guard) remove(ln net.Listener) {
	ln.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.lns, ln)
}

func (g *Guard) init() {
	if g.ended == nil {
		g.ended = make(chan struct{})
		g.lns = map[net.Listener]struct{}{}
		g.conns = map[*Conn]struct{}{}
		g.perIP = map[netip.Prefix]int{}
	}
}

// stop closes the listeners and returns the connections.
func (g *Guard) stop() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.init()
	if !g.stopping.Swap(true) {
		close(g.ended)
	}
	for ln := range g.lns {
		ln.Close()
	}
	cs := make([]*Conn, 0, len(g.conns))
	for c := range g.conns {
		cs = append(cs, c)
	}
	return cs
}

func (g *Guard) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.cancel()
		c.raw.Close()
	}
}

// start makes room for a connection and runs it.
func (g *Guard) start(raw net.Conn, cfg *tls.Config, handle func(*Conn)) {
	c := &Conn{g: g, raw: raw, remote: raw.RemoteAddr(), addr: addrPort(raw.RemoteAddr()), idle: cmp.Or(g.IdleTimeout, 5*time.Minute)}
	proxied := in(c.addr.Addr(), g.Proxies)
	g.mu.Lock()
	full := len(g.conns) >= cmp.Or(g.MaxConns, 10_000)
	if !full && !proxied {
		full = !g.count(c)
	}
	if g.stopping.Load() || full {
		g.mu.Unlock()
		c.uncount()
		g.refuse(raw, cfg)
		return
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	g.conns[c] = struct{}{}
	g.wg.Add(1)
	g.mu.Unlock()
	go g.run(c, proxied, cfg, handle)
}

func (g *Guard) run(c *Conn, proxied bool, cfg *tls.Config, handle func(*Conn)) {
	defer g.wg.Done()
	defer func() {
		if p := recover(); p != nil {
			g.log().Error("guard: panic", "addr", c.addr, "panic", p, "stack", string(debug.Stack()))
			c.Close()
		}
	}()
	if proxied || cfg != nil {
		c.SetLimit(time.Now().Add(cmp.Or(g.HandshakeTimeout, 30*time.Second)))
	}
	if proxied {
		if err := c.readProxy(); err != nil {
			g.log().Warn("guard: bad PROXY header", "addr", c.addr, "err", err)
			c.Close()
			return
		}
		g.mu.Lock()
		ok := g.count(c)
		g.mu.Unlock()
		if !ok {
			if cfg == nil && g.Refuse != nil {
				c.Write([]byte(g.Refuse()))
			}
			c.Close()
			return
		}
	}
	if cfg != nil {
		t := tls.Server(c, cfg)
		if err := t.Handshake(); err != nil {
			g.log().Debug("guard: no TLS", "addr", c.addr, "err", err)
			c.Close()
			return
		}
		c.tls = t
	}
	c.SetLimit(time.Time{})
	handle(c)
	if !c.isDetached() {
		c.top().Close()
	}
}

// count adds c to its address and reports whether there is room. It is for
// holders of mu.
func (g *Guard) count(c *Conn) bool {
	a := c.addr.Addr()
	if g.MaxPerIP == 0 || !a.IsValid() || in(a, g.Exempt) {
		return true
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return true
	}
	if g.perIP[p] >= g.MaxPerIP {
		return false
	}
	g.perIP[p]++
	c.counted = p
	return true
}

func (c *Conn) uncount() {
	g := c.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if !c.counted.IsValid() {
		return
	}
	if g.perIP[c.counted]--; g.perIP[c.counted] == 0 {
		delete(g.perIP, c.counted)
	}
	c.counted = netip.Prefix{}
}

// refuse says no without waiting: the line fits in any socket buffer.
func (g *Guard) refuse(raw net.Conn, cfg *tls.Config) {
	if g.Refuse != nil && cfg == nil {
		raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		raw.Write([]byte(g.Refuse()))
	}
	raw.Close()
}

func (g *Guard) log() *slog.Logger {
	if g.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return g.Logger
}

func in(a netip.Addr, ps []netip.Prefix) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// addrPort is the address of a peer with IPv4 as such; zero for a Unix socket.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
