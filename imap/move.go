package imap

// move is MOVE and UID MOVE (RFC 9051, 6.4.8). COPYUID comes untagged, before the
// EXPUNGE responses.
func (c *conn) move(cmd *command) error {
	if err := c.writable(); err != nil {
		return err
	}
	code, err := c.transfer(cmd, c.access.Move)
	if err != nil || code == "" {
		return err
	}
	c.w.raw("* OK [" + code + "] Moved")
	c.w.crlf()
	return nil
}
