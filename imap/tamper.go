package imap

import (
	"strings"

	"github.com/mailkeel/mailkeel/internal/tamper"
)

// tampered asks Server.Tamper about a command, and reports whether that has answered
// it.
func (c *conn) tampered(cmd *command) bool {
	if c.srv.Tamper == nil {
		return false
	}
	m := tamper.Moment{Door: "imap", Local: c.net.LocalAddr().String(), Point: cmd.name, Login: string(c.account), Flush: func() { c.w.Flush() }}
	if cmd.parser != nil {
		m.Arg = strings.TrimSpace(string(cmd.line))
	}
	act := c.srv.Tamper.Ask(c.ctx, m)
	if act == nil {
		return false
	}
	cmd.answered = true
	for _, line := range act.Reply {
		if !strings.HasPrefix(line, "*") && !strings.HasPrefix(line, "+") {
			c.w.raw(cmd.tag + " ")
		}
		c.w.raw(line)
		c.w.crlf()
	}
	if act.Raw != nil {
		c.w.raw(string(act.Raw))
		c.w.End()
	}
	c.over = c.over || act.Close
	return true
}
