package imap

// logout is LOGOUT (RFC 9051, 6.1.3).
func (c *conn) logout(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	cmd.quiet = true
	c.w.linef("* BYE Logging out")
	c.over = true
	return nil
}
