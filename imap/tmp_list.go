package imap

func (c *conn) list(cmd *command) error { return bad("not built yet") }
