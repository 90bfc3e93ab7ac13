package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/tamper"
	"github.com/mailkeel/mailkeel/store"
)

// A conn is one connection. Its fields belong to the goroutine that serves it, but
// for the atomic ones.
type conn struct {
	srv    *Server
	net    net.Conn // above TLS, once there is TLS
	low    lower    // below it
	in     *input
	w      writer
	ctx    context.Context
	log    *slog.Logger
	rec    tamper.Recorder
	base   *slog.Logger // log as it was before the login
	remote netip.Addr
	tls    bool
	// compressed is set from COMPRESS on.
	compressed bool

	session

	over     bool // LOGOUT was answered
	busy     bool // in the middle of a command
	until    time.Time
	failures int // of authentication
	early    int // commands before login
	badRow   int // BAD answers since the last good one
	onWake   func() error

	deadline atomic.Int64 // by the server's clock, in ns; zero while it works
}

// A session is what a login begins and UNAUTHENTICATE ends: all that a client chose
// or learnt since then belongs here, so that whoever logs in next begins anew.
type session struct {
	user    string // the name of LOGIN; not known of other ways to log in
	account store.AccountID
	access  *store.Access // nil before login
	who     accounts.Login
	sel     *selection // nil unless a mailbox is selected
	rev2    bool       // ENABLE IMAP4rev2
	utf8    bool       // ENABLE UTF8=ACCEPT

	// appendRefused says that the last APPEND was, after it had come.
	appendRefused bool

	condstore bool    // the client knows of MODSEQs (RFC 7162, 3.1)
	qresync   bool    // ENABLE QRESYNC
	uidOnly   bool    // ENABLE UIDONLY
	note      *notify // nil unless NOTIFY was used
}

// A lower is what lies below TLS, a guard.Conn. Wake lets another goroutine
// interrupt a Read, which then returns guard.ErrWoken; the connection goes on.
type lower interface {
	Wake()
	QuickAck()
	Shown() []byte
}

// waiting notes until when the client may take for what it sends next.
func (c *conn) waiting() {
	if c.busy && c.access != nil && c.onWake == nil {
		c.until = c.srv.now().Add(or(c.srv.StallTimeout, 5*time.Minute))
	}
	d := c.until.UnixNano()
	c.deadline.Store(d)
	c.srv.state.watch(d)
}

func (c *conn) working() { c.deadline.Store(0) }

// woken is called when a Read was interrupted; nil means to read on.
func (c *conn) woken() error {
	switch {
	case !c.srv.now().Before(c.until):
		return bye("", "Autologout; nothing was heard for too long")
	case c.srv.state.closing.Load() && (!c.busy || c.onWake != nil):
		return errStopping
	case c.onWake != nil:
		return c.onWake()
	}
	return nil
}

var errStopping = bye(imap.ResponseCodeUnavailable, "Server is shutting down")

// rest sets until when the next command may take to come.
func (c *conn) rest() {
	d := or(c.srv.IdleTimeout, 30*time.Minute)
	if c.access == nil {
		d = or(c.srv.LoginTimeout, time.Minute)
	}
	c.until = c.srv.now().Add(d)
}

// serve runs the connection until it ends.
func (c *conn) serve() {
	defer c.leave()
	if c.tampered(&command{tag: "*", name: tamper.Connect}) {
		c.w.release()
		return
	}
	c.greet()
	for {
		err := c.step()
		if err == nil && !c.over {
			continue
		}
		var e *imap.Error
		if errors.As(err, &e) && e.Type == imap.StatusResponseTypeBye {
			if c.w.inside() && !c.w.abandon() {
				return
			}
			c.status("*", e)
		} else if err != nil && !gone(err) {
			c.log.Info("imap: connection ended", "err", err)
		}
		c.w.release()
		return
	}
}

// leave ends the session, if there is one.
func (c *conn) leave() {
	c.unnotify()
	c.unselect()
	if c.access != nil {
		c.srv.state.logout(c.account)
	}
	c.session = session{}
}

func (c *conn) greet() {
	c.w.linef("* OK [CAPABILITY %s] %s ready", c.capabilities(), c.srv.Hostname)
}

// step reads and answers one command. Its error ends the connection.
func (c *conn) step() error {
	c.busy = false
	if c.srv.state.closing.Load() {
		return errStopping
	}
	c.rest()
	p := &parser{in: c.in, left: maxCommand, utf8: c.unicode()}
	if c.access == nil {
		p.left = maxEarlyCommand
		if c.early++; c.early > maxEarly {
			return bye("", "Too many commands without a login")
		}
	}
	if c.note != nil {
		if err := c.watch(); err != nil {
			return err
		}
		c.onWake = c.notices // while no command is in progress
	}
	p.next()
	c.onWake = nil
	if p.line == nil && p.err != nil {
		return p.err
	}
	c.busy = true
	cmd := &command{parser: p}
	err := c.parseName(cmd)
	if err == nil {
		err = c.run(cmd)
	}
	return c.finish(cmd, err)
}

// parseName reads the tag and the name.
func (c *conn) parseName(cmd *command) error {
	early := cmd.err // the line was too long
	cmd.err = nil
	tag := cmd.span(isTag)
	if len(tag) == 0 || len(tag) > maxTag || cmd.peek() != ' ' {
		cmd.tag = "*"
		if early != nil {
			return early
		}
		return bad("Invalid tag")
	}
	cmd.tag = string(tag)
	if cmd.err = early; early != nil {
		return early
	}
	cmd.sp()
	cmd.name = cmd.keyword()
	if cmd.name == "UID" {
		cmd.sp()
		cmd.uid = true
		cmd.name = cmd.keyword()
	}
	return cmd.err
}

// run does a command. A panic in it is the problem of this command alone.
func (c *conn) run(cmd *command) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("imap: panic", "command", cmd.name, "panic", p, "stack", string(debug.Stack()))
			err = no(imap.ResponseCodeServerBug, "Internal error")
		}
	}()
	if c.tampered(cmd) {
		return c.w.lost()
	}
	do, when := lookup(cmd)
	switch {
	case do == nil:
		return bad("Unknown command")
	case when&c.now() == 0:
		return bad("Command is not allowed now")
	case c.uidOnly && !cmd.uid && takesNumbers(cmd.name):
		return errUIDRequired
	}
	if err := do(c, cmd); err != nil {
		return err
	}
	return c.w.lost()
}

// finish answers a command and skips what is left of it.
func (c *conn) finish(cmd *command, err error) error {
	var e *imap.Error
	if err != nil {
		if c.w.Err != nil {
			return c.w.lost()
		}
		if gone(err) {
			return err
		}
		var internal bool
		if e, internal = answer(err); internal {
			c.log.Error("imap: command failed", "command", cmd.name, "err", err)
		}
		if e.Type == imap.StatusResponseTypeBye {
			return e
		}
		if c.w.inside() && !c.w.abandon() {
			return errClosed // the client waits for the rest of something
		}
	}
	limit := int64(maxCommand)
	if c.access == nil {
		limit = maxEarlyLiteral
	} else if cmd.streamed > 0 {
		limit = cmd.streamed
	}
	if c.in.inside { // only after a panic, or a bug
		if e != nil {
			c.status(cmd.tag, e)
		}
		return bye(imap.ResponseCodeServerBug, "Internal error")
	}
	// What the client sends unasked is taken first: the answer must not meet a
	// connection that is about to end.
	if derr := cmd.discard(limit); derr != nil {
		if e != nil && cmd.tag != "*" && !gone(derr) {
			c.status(cmd.tag, e)
		}
		return derr
	}
	if e == nil {
		c.badRow = 0
		if err := c.poll(cmd); err != nil {
			return err
		}
		c.tellHighest(cmd, true)
		if !cmd.answered {
			c.ok(cmd)
		}
		return c.w.lost()
	}
	if e.Type == imap.StatusResponseTypeNo {
		if err := c.poll(cmd); err != nil {
			return err
		}
		c.tellHighest(cmd, false)
	}
	if c.access == nil {
		c.in.long, cmd.line = nil, nil // a client that does not read its answer costs no more than that
	}
	c.status(cmd.tag, e)
	if e.Type == imap.StatusResponseTypeBad {
		if c.badRow++; c.badRow >= maxBad {
			return bye("", "Too many bad commands")
		}
	}
	if c.failures >= maxAuthFailures {
		return bye("", "Too many failed logins")
	}
	return c.w.lost()
}

// ok writes the tagged OK of a command.
func (c *conn) ok(cmd *command) {
	c.w.raw(cmd.tag)
	c.w.raw(" OK ")
	if cmd.code != "" {
		c.w.raw("[" + cmd.code + "] ")
	}
	if cmd.text != "" {
		c.w.raw(cmd.text)
	} else {
		if cmd.uid {
			c.w.raw("UID ")
		}
		c.w.raw(cmd.name)
		c.w.raw(" completed")
	}
	c.w.crlf()
}

// status writes any other status response.
func (c *conn) status(tag string, e *imap.Error) {
	c.w.raw(tag)
	c.w.sp()
	c.w.raw(string(e.Type))
	c.w.sp()
	if e.Code != "" {
		c.w.raw("[" + string(e.Code) + "] ")
	}
	c.w.raw(e.Text)
	c.w.crlf()
}

// upgrade puts TLS between the network and what follows.
func (c *conn) upgrade(t *tls.Conn) {
	c.net, c.tls = t, true
	c.w.W = c.rec.Writer(c.net)
	c.in.reset()
}
