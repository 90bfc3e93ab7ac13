package imap

// A command is one that a client sent: its name, and the parser that has read as
// far as that.
type command struct {
	*parser
	tag  string
	name string // in upper case, without UID
	uid  bool   // the form with UID
	// code and text go into the tagged OK; empty text means "<name> completed".
	code, text string
	// streamed is how much may be skipped of what follows a refusal.
	streamed int64
	numbers  bool // its answer is in the face of sequence numbers, whatever its form
	quiet    bool // no updates of the mailbox go before the OK
	answered bool // the OK was written already
}

// when says in which states a command is allowed (RFC 9051, 3).
type when uint8

const (
	early    when = 1 << iota // before login
	loggedIn                  // no mailbox is selected
	selected
	always = early | loggedIn | selected
	later  = loggedIn | selected
)

// now is the state of the connection.
func (c *conn) now() when {
	switch {
	case c.access == nil:
		return early
	case c.sel == nil:
		return loggedIn
	}
	return selected
}

// lookup returns what does a command. What a client may not send in any state is
// nil.
func lookup(cmd *command) (func(*conn, *command) error, when) {
	if cmd.uid {
		switch cmd.name {
		case "FETCH":
			return (*conn).fetch, selected
		case "SEARCH":
			return (*conn).search, selected
		case "SORT":
			return (*conn).sort, selected
		case "THREAD":
			return (*conn).thread, selected
		case "STORE":
			return (*conn).store, selected
		case "COPY":
			return (*conn).copy, selected
		case "MOVE":
			return (*conn).move, selected
		case "REPLACE":
			return (*conn).replace, selected
		case "EXPUNGE":
			return (*conn).expunge, selected
		}
		return nil, 0
	}
	switch cmd.name {
	case "CAPABILITY":
		return (*conn).capability, always
	case "NOOP":
		return (*conn).noop, always
	case "LOGOUT":
		return (*conn).logout, always
	case "ID":
		return (*conn).id, always

	case "STARTTLS":
		return (*conn).startTLS, early
	case "LOGIN":
		return (*conn).login, early
	case "AUTHENTICATE":
		return (*conn).authenticate, early

	case "UNAUTHENTICATE":
		return (*conn).unauthenticate, later
	case "ENABLE":
		return (*conn).enable, loggedIn
	case "SELECT", "EXAMINE":
		return (*conn).selectMailbox, later
	case "CREATE":
		return (*conn).create, later
	case "DELETE":
		return (*conn).delete, later
	case "RENAME":
		return (*conn).rename, later
	case "SUBSCRIBE", "UNSUBSCRIBE":
		return (*conn).subscribe, later
	case "LIST":
		return (*conn).list, later
	case "LSUB":
		return (*conn).lsub, later
	case "NAMESPACE":
		return (*conn).namespace, later
	case "STATUS":
		return (*conn).statusOf, later
	case "ESEARCH":
		return (*conn).esearch, later
	case "GETACL":
		return (*conn).getACL, later
	case "SETACL":
		return (*conn).setACL, later
	case "DELETEACL":
		return (*conn).deleteACL, later
	case "LISTRIGHTS":
		return (*conn).listRights, later
	case "MYRIGHTS":
		return (*conn).myRights, later
	case "GETQUOTA":
		return (*conn).getQuota, later
	case "GETQUOTAROOT":
		return (*conn).getQuotaRoot, later
	case "SETQUOTA":
		return (*conn).setQuota, later
	case "GETMETADATA":
		return (*conn).getMetadata, later
	case "SETMETADATA":
		return (*conn).setMetadata, later
	case "APPEND":
		return (*conn).append, later
	case "IDLE":
		return (*conn).idle, later
	case "COMPRESS":
		return (*conn).compress, later
	case "NOTIFY":
		return (*conn).notifyCommand, later

	case "CHECK":
		return (*conn).check, selected
	case "CLOSE", "UNSELECT":
		return (*conn).close, selected
	case "EXPUNGE":
		return (*conn).expunge, selected
	case "SEARCH":
		return (*conn).search, selected
	case "CANCELUPDATE":
		return (*conn).cancelUpdate, selected
	case "SORT":
		return (*conn).sort, selected
	case "THREAD":
		return (*conn).thread, selected
	case "FETCH":
		return (*conn).fetch, selected
	case "STORE":
		return (*conn).store, selected
	case "COPY":
		return (*conn).copy, selected
	case "MOVE":
		return (*conn).move, selected
	case "REPLACE":
		return (*conn).replace, selected
	}
	return nil, 0
}
