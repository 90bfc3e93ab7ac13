package imap

func (c *conn) statusOf(cmd *command) error { return bad("not built yet") }
