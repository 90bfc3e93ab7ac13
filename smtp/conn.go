package smtp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/guard"
	"github.com/mailkeel/mailkeel/internal/tamper"
)

// conn is what a Server knows about one connection. The goroutine that reads
// owns it, but for what says otherwise.
type conn struct {
	s       *Server
	g       *guard.Conn
	w       *wire
	trusted bool
	logger  *slog.Logger // with the address
	rdns    string
	tls     *tls.ConnectionState
	with    string // how TLS was done, for the Received field

	restarted bool // TLS was started, and the engine begins again
	// origin is as of now; who keeps it makes a copy.
	origin   mailkeel.Origin
	chain    *filter.Chain // nil without filters
	endChain func() error
	verdict  filter.Verdict // of the connection stage

	badRcpts, badAuths int
	busy               bool      // in a transaction
	session            *session  // of the engine, after EHLO
	exchange           *exchange // nil unless AUTH is going on
}

// handle serves a connection that the guard let in.
func (s *Server) handle(g *guard.Conn) {
	c := &conn{s: s, g: g, trusted: in(g.Addr().Addr(), s.Trusted)}
	c.origin = mailkeel.Origin{Addr: g.Addr(), Time: s.now()}
	c.logger = c.newLog()
	c.w = &wire{c: c, top: g, rec: s.Tamper.Recorder(s.door(), g.LocalAddr().String())}
	if t := g.TLS(); t != nil {
		c.w.top = t
		c.setTLS(t)
	}
	g.OnFarewell(func() { c.w.say("421 4.3.2 " + s.Hostname + " is shutting down") })
	g.Detach()
	ok := false
	defer func() {
		if !ok {
			c.w.Close()
		}
	}()
	if s.Reverse != nil && c.origin.Addr.IsValid() {
		c.rdns = c.reverse()
	}
	c.openFilters()
	if refuse := c.connected(); refuse != nil {
		e := toWire(refuse, "")
		c.log().Info("smtp: connection refused", "reply", refuse.Reply())
		c.w.say(fmt.Sprintf("%d %d.%d.%d %s %s", greetingCode(e.Code), e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], s.Hostname, e.Message))
		return
	}
	if c.w.tampered(tamper.Connect, 1, 0) {
		g.Poison()
		return
	}
	ok = s.feed.put(c.w)
}

// greetingCode is 554 or 421, the only refusals that a greeting has (RFC 5321,
// 4.3.2).
func greetingCode(code int) int {
	if code/100 == 4 {
		return 421
	}
	return 554
}

// restart begins a fresh engine session after STARTTLS (RFC 3207, 4.2).
func (c *conn) restart() error {
	w := c.w
	w.cont, w.esmtp, w.greeted, w.line = false, false, false, nil
	c.restarted = true
	c.origin.Hello, c.origin.Identity = "", ""
	// A refusal is told at EHLO: after STARTTLS the client speaks first.
	if refuse := c.connected(); refuse != nil {
		c.log().Info("smtp: connection refused", "reply", refuse.Reply())
	}
	if !c.s.feed.put(w) {
		return w.Close()
	}
	return nil
}

// close ends the connection. The engine calls it through wire.
func (c *conn) close() error {
	c.closeFilters()
	if top := c.w.conn(); top != nil && top != net.Conn(c.g) {
		top.Close() // says so to the peer, and closes c.g
	}
	return c.g.Close()
}

func (c *conn) setTLS(t *tls.Conn) {
	st := t.ConnectionState()
	c.tls = &st
	c.origin.TLS = true
	c.with = tlsWords(st)
}

// context is for one step of the dialog.
func (c *conn) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.g.Context(), c.s.deliverTimeout())
}

func (c *conn) setBusy(on bool) {
	switch {
	case on && !c.busy:
		c.s.flow.begin()
	case !on && c.busy:
		c.s.flow.end()
	}
	c.busy = on
	c.g.Busy(on)
}

// reverse asks for the name of the peer, and takes no odd ones.
func (c *conn) reverse() (name string) {
	defer func() {
		if p := recover(); p != nil {
			c.log().Error("smtp: Reverse panicked", "panic", p, "stack", string(debug.Stack()))
			name = ""
		}
	}()
	ctx, cancel := context.WithTimeout(c.g.Context(), 5*time.Second)
	defer cancel()
	return word(strings.TrimSuffix(c.s.Reverse(ctx, c.origin.Addr.Addr()), "."), 253)
}

func (c *conn) log() *slog.Logger { return c.logger }

func (c *conn) newLog() *slog.Logger {
	if c.s.Logger == nil {
		return c.s.log()
	}
	addr := "local" // a Unix socket
	if a := c.g.Addr(); a.IsValid() {
		addr = a.String()
	}
	return c.s.Logger.With("addr", addr)
}

func in(a netip.Addr, ps []netip.Prefix) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// engineLog is the error log of the engine: panics, mostly.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Printf(format string, v ...any) { l.log.Error("smtp: " + fmt.Sprintf(format, v...)) }
func (l engineLog) Println(v ...any)               { l.log.Error("smtp: " + fmt.Sprint(v...)) }
