package imap

import "bytes"

// fetchExtras writes what extensions add that comes from the rows of a message.
// Before each item it calls name.
func (c *conn) fetchExtras(items *fetchItems, e *entry, name func(string)) error {
	if items.emailID {
		name("EMAILID (")
		c.w.raw(emailID(e.msg.ID))
		c.w.byte(')')
	}
	if items.threadID {
		name("THREADID (")
		c.w.raw(threadID(e.msg.Thread))
		c.w.byte(')')
	}
	if items.saveDate {
		name("SAVEDATE ")
		c.w.dateTime(e.msg.Saved)
	}
	if items.preview {
		switch {
		case e.err == nil:
			name("PREVIEW ")
			c.w.string(string(e.cold.Preview))
		case items.lazy:
			name("PREVIEW NIL")
		default:
			return e.err
		}
	}
	return nil
}

// lazy reads the modifier of PREVIEW, if there is one (RFC 8970, 3.2): what follows in
// parentheses can also be the modifiers of FETCH.
func (p *parser) lazy() bool {
	const lazy = " (LAZY"
	if p.err != nil || len(p.line) < len(lazy) || !bytes.EqualFold(p.line[:len(lazy)], []byte(lazy)) {
		return false
	}
	p.sp()
	p.list(func() {
		if !p.word("LAZY") {
			p.fail("unknown modifier of PREVIEW")
		}
	})
	return true
}
