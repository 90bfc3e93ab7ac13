package imap

// namespace is NAMESPACE (RFC 9051, 6.3.10): one's own mailboxes have no prefix.
func (c *conn) namespace(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	c.w.linef(`* NAMESPACE (("" "%s")) NIL NIL`, delimiter)
	return nil
}
