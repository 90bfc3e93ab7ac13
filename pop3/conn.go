package pop3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/tamper"
	"github.com/mailkeel/mailkeel/store"
)

// A conn is one connection. Its fields belong to the goroutine that serves it.
type conn struct {
	srv    *Server
	net    net.Conn // above TLS, once there is TLS
	low    lower    // below it
	in     input
	w      writer
	ctx    context.Context
	log    *slog.Logger
	rec    tamper.Recorder
	remote netip.Addr
	tls    bool
	utf8   bool
	user   string // of USER

	account store.AccountID
	access  *store.Access // nil before login
	drop    *maildrop

	over     bool // QUIT was answered
	failures int  // of authentication
	early    int  // commands before login
	badRow   int  // since the last one that made sense
	sent     int  // messages, by RETR
}

// A lower is what lies below TLS, a guard.Conn.
type lower interface {
	Busy(bool)
	OnFarewell(func())
	Poison()
	SetIdle(time.Duration)
	SetLimit(time.Time)
	Shown() []byte
}

func (c *conn) start() {
	c.w.W = c.rec.Writer(c.net)
	c.in = newInput(c)
	c.onFarewell()
}

// onFarewell sets the last words of a Shutdown. They come from another goroutine,
// while c waits for the client: what c.w had has left by then. The client takes
// them for the answer to whatever it says next.
func (c *conn) onFarewell() {
	to := c.net
	c.low.OnFarewell(func() { fmt.Fprint(to, "-ERR [SYS/TEMP] The server is shutting down\r\n") })
}

// serve runs the connection until it ends.
func (c *conn) serve() {
	defer c.leave()
	if !c.tampered(tamper.Connect, "") {
		c.w.line("+OK ", c.srv.Hostname, " ready")
	}
	for !c.over {
		if err := c.step(); err != nil {
			c.fatal(err)
			return
		}
	}
	c.w.release()
	if c.in.pending() { // a socket that is closed with unread bytes loses its last reply
		c.finish()
	}
}

// leave gives up what the session held; doing it again is harmless.
func (c *conn) leave() {
	if c.access == nil {
		return
	}
	c.flagSeen()
	c.log.Info("pop3: session ended", "retrieved", c.sent, "quit", c.over)
	c.srv.state.logout(c.account)
	c.access = nil
}

// fatal says the last words if there are any, and ends the connection.
func (c *conn) fatal(err error) {
	var r *refusal
	if !errors.As(err, &r) || c.w.inside() && !c.w.abandon() {
		if !errors.As(err, new(lost)) {
			c.log.Info("pop3: connection ended", "err", err)
		}
		return // and without a word when time is up (RFC 1939, 3)
	}
	c.w.err(r)
	c.w.release()
	c.finish()
}

// finish ends the connection so that the last reply arrives although the client may
// have sent more than was read.
func (c *conn) finish() {
	if t, ok := c.net.(*tls.Conn); ok {
		t.CloseWrite()
	}
	c.low.Poison()
}

// A refusal is what is said after -ERR. Its texts hold nothing that the client or
// a message chose.
type refusal struct {
	code, text string
	bad        bool // the command made no sense
	bye        bool // the connection ends
}

func (r *refusal) Error() string { return "pop3: " + r.text }

func no(code, text string) error { return &refusal{code: code, text: text} }
func bad(text string) error      { return &refusal{text: text, bad: true} }
func bye(text string) error      { return &refusal{text: text, bye: true} }

// lost is an error of the connection itself. After one nothing can be said.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// step reads and answers one command. Its error ends the connection.
func (c *conn) step() error {
	limit := maxCommand
	if c.access == nil {
		if c.early++; c.early > maxEarly {
			return bye("Too many commands without a login")
		}
		limit = maxHeld // AUTH with an initial response, if a bit too long
	}
	line, cut, err := c.in.readLine(limit, maxSkip)
	if err != nil {
		return err
	}
	if err := c.run(line, cut); err != nil {
		return c.answer(err)
	}
	c.badRow = 0
	return c.w.lost()
}

// run does a command. A panic in it is the problem of this command alone.
func (c *conn) run(line []byte, cut bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("pop3: panic", "panic", p, "stack", string(debug.Stack()))
			err = no("SYS/TEMP", "Internal error")
		}
	}()
	cmd, args, err := parse(line)
	if cut || len(line)+2 > maxCommand && cmd.name != "AUTH" {
		return bad("Line is too long")
	}
	if err != nil {
		return err
	}
	if c.tampered(cmd.name, strings.Join(args, " ")) {
		return nil
	}
	if now := c.now(); cmd.when&now == 0 {
		if now == authorization {
			return bad("Log in first")
		}
		return bad("Command is not allowed now")
	}
	if len(args) < cmd.least || len(args) > cmd.most {
		return bad("Wrong number of arguments")
	}
	return cmd.do(c, args)
}

// answer says why a command failed. Its error ends the connection.
func (c *conn) answer(err error) error {
	var r *refusal
	switch {
	case c.w.lost() != nil:
		return c.w.lost()
	case errors.As(err, new(lost)):
		return err
	case !errors.As(err, &r):
		r = c.translate(err)
	}
	if r.bye {
		return r
	}
	if c.w.inside() && !c.w.abandon() {
		return lost{err} // the client waits for the rest of a message
	}
	c.w.err(r)
	if r.bad {
		if c.badRow++; c.badRow >= maxBad {
			return bye("Too many bad commands")
		}
	}
	if c.failures >= maxAuthFailures {
		return bye("Too many failed logins")
	}
	return c.w.lost()
}
