package pop3

// stat is STAT (RFC 1939, 5).
func (c *conn) stat([]string) error {
	c.w.raw("+OK ")
	c.w.num(int64(c.drop.left))
	c.w.raw(" ")
	c.w.num(c.drop.octets)
	c.w.end()
	return nil
}

// list is LIST (RFC 1939, 5).
func (c *conn) list(args []string) error {
	return c.each(args, func(i int) { c.w.num(c.drop.size(i)) })
}

// uidl is UIDL (RFC 1939, 7).
func (c *conn) uidl(args []string) error {
	return c.each(args, func(i int) { c.w.raw(c.drop.uniqueID(i)) })
}

// each lists one message, or all that are not marked.
func (c *conn) each(args []string, what func(i int)) error {
	say := func(i int) {
		c.w.num(int64(i + 1))
		c.w.raw(" ")
		what(i)
	}
	if len(args) == 1 {
		i, err := c.drop.find(args[0])
		if err != nil {
			return err
		}
		c.w.raw("+OK ")
		say(i)
		c.w.end()
		return nil
	}
	c.tell("")
	for i := range c.drop.rows {
		if c.w.Err != nil {
			return c.w.lost()
		}
		if !c.drop.gone.has(i) {
			say(i)
			c.w.crlf()
		}
	}
	c.w.dot()
	return nil
}
