package imap

import (
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/tamper"
)

// idle is IDLE (RFC 9051, 6.3.13). The goroutine of the connection waits for DONE;
// when the mailbox changes its Read is interrupted, and it tells the client.
func (c *conn) idle(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	c.until = c.srv.now().Add(or(c.srv.IdleTimeout, 30*time.Minute))
	c.onWake = c.idleWake
	defer func() { c.onWake = nil }()
	if sel := c.sel; sel != nil && !sel.watched { // else NOTIFY has it watched
		sel.watched = true
		defer c.unwatch()
		c.srv.state.views.wait(sel.view, c)
	}
	c.w.raw("+ idling")
	c.w.crlf()
	if c.tampered(&command{tag: cmd.tag, name: tamper.Idling}) {
		cmd.answered = true
		return c.w.lost()
	}
	// What came since the last command, before anybody was listening.
	if c.sel != nil {
		if err := c.update(c.ctx, true); err != nil {
			return err
		}
	}
	cmd.left = maxEarlyCommand
	if cmd.next(); cmd.err != nil {
		return cmd.err
	}
	cmd.lit = literal{}
	if !strings.EqualFold(string(trimSpace(cmd.line)), "DONE") {
		return bad("Expected DONE")
	}
	return nil
}

// idleWake tells what changed. In IDLE a client hears of its selected mailbox even
// if NOTIFY would not tell.
func (c *conn) idleWake() error {
	if c.sel != nil {
		if err := c.follow(true); err != nil {
			return err
		}
	}
	c.tellListing()
	return c.w.lost()
}
