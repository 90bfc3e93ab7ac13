package imap

// fetch is FETCH and UID FETCH (RFC 9051, 6.4.5).
//
// The parser has read the name; cmd.numSet(cmd.uid), cmd.item, cmd.section,
// cmd.binarySection, cmd.binarySize and cmd.end read the rest. c.sel.resolve finds
// the messages in c.sel.snap, whose rows hold UID, flags and MODSEQ; c.access.Scan,
// Cold and OpenAt have the rest, by c.sel.id. What this command changes itself
// (\Seen) goes into c.sel.note. A response is written with c.w and ends with
// c.w.crlf; an error before that takes it back, unless part of it has left.
func (c *conn) fetch(cmd *command) error { return bad("FETCH is not built yet") }
