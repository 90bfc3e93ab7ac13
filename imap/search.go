package imap

// search is SEARCH and UID SEARCH (RFC 9051, 6.4.4).
//
// cmd.keyword, cmd.astring, cmd.date, cmd.number64, cmd.isSet, cmd.numSet,
// cmd.enter and cmd.leave (around what is nested) read the arguments; c.rev2 says
// whether the answer is ESEARCH anyway. SEARCH RETURN (SAVE) sets c.sel.saved.
func (c *conn) search(cmd *command) error { return bad("SEARCH is not built yet") }
