package pop3

import "github.com/mailkeel/mailkeel/internal/tamper"

// tampered asks Server.Tamper at a point of the dialog, and reports whether that has
// answered.
func (c *conn) tampered(point, arg string) bool {
	if c.srv.Tamper == nil {
		return false
	}
	m := tamper.Moment{Door: "pop3", Local: c.net.LocalAddr().String(), Point: point, Arg: arg, Login: string(c.account), Flush: func() { c.w.Flush() }}
	if point == "PASS" {
		m.Arg = ""
	}
	act := c.srv.Tamper.Ask(c.ctx, m)
	if act == nil {
		return false
	}
	for _, line := range act.Reply {
		c.w.line(line)
	}
	if act.Raw != nil {
		c.w.raw(string(act.Raw))
		c.w.end()
	}
	c.over = c.over || act.Close
	return true
}
