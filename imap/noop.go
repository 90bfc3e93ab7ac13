package imap

// noop is NOOP (RFC 9051, 6.1.2): the client hears what changed, if it has a
// mailbox.
func (c *conn) noop(cmd *command) error { return cmd.end() }

// check is CHECK (RFC 3501, 6.4.1): everything is durable already.
func (c *conn) check(cmd *command) error { return cmd.end() }
