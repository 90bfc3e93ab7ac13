package imap

func (c *conn) lsub(cmd *command) error { return bad("not built yet") }
