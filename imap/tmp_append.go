package imap

func (c *conn) append(cmd *command) error { return bad("not built yet") }
