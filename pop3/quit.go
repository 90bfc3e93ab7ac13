package pop3

import (
	"strconv"

	"github.com/mailkeel/mailkeel/store"
)

// batch is how many messages one transaction removes or flags.
const batch = 1000

// quit is QUIT: the UPDATE state (RFC 1939, 6).
func (c *conn) quit([]string) error {
	c.over = true
	if c.access == nil {
		c.w.line("+OK Bye")
		return nil
	}
	defer c.leave() // before the client is told, so that it may come again at once
	for some := range c.drop.batches(c.drop.gone, nil, batch) {
		if _, err := c.access.Expunge(c.ctx, c.drop.box, c.drop.uids(some)...); err != nil {
			// What comes after would most likely fail too, and would be hard to
			// tell in one line.
			c.log.Error("pop3: cannot delete", "first", some[0]+1, "err", err)
			return no("SYS/TEMP", "Not deleted: "+c.drop.still(some[0]))
		}
	}
	c.w.line("+OK Bye")
	return nil
}

// still says which of the marked messages from index i on are still there, in less
// than the 512 bytes that a response may have (RFC 2449, 4).
func (d *maildrop) still(i int) string {
	const most = 400
	var out []byte
	for n := len(d.rows); i < n && len(out) < most; {
		if !d.gone.has(i) {
			i++
			continue
		}
		first := i
		for i < n && d.gone.has(i) {
			i++
		}
		out = strconv.AppendInt(append(out, ' '), int64(first+1), 10)
		if i > first+1 {
			out = strconv.AppendInt(append(out, '-'), int64(i), 10)
		}
	}
	if i < len(d.rows) && len(out) >= most {
		out = append(out, " and later ones"...)
	}
	return string(out[1:])
}

// flagSeen makes what was sent \Seen, at the end of the session, however that came
// about. It is a courtesy to IMAP: where it fails, nothing is lost.
func (c *conn) flagSeen() {
	if c.srv.KeepUnseen || c.ctx.Err() != nil { // Close was called
		return
	}
	gone := c.drop.gone
	if !c.over {
		gone = nil // they are still there
	}
	for some := range c.drop.batches(c.drop.seen, gone, batch) {
		if _, _, err := c.access.SetFlags(c.ctx, c.drop.box, store.FlagChange{Add: []string{store.FlagSeen}}, c.drop.uids(some)...); err != nil {
			c.log.Warn("pop3: cannot set flags", "err", err)
			return
		}
	}
}
