package pop3

// dele is DELE (RFC 1939, 5). It only marks; see quit.
func (c *conn) dele(args []string) error {
	i, err := c.drop.find(args[0])
	if err != nil {
		return err
	}
	c.drop.remove(i)
	c.w.line("+OK Marked to be deleted")
	return nil
}

// rset is RSET (RFC 1939, 5).
func (c *conn) rset([]string) error {
	c.drop.reset()
	c.tell("")
	return nil
}
