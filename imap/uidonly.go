package imap

import "github.com/emersion/go-imap/v2"

// errUIDRequired is the answer to sequence numbers where there are none (RFC 9586,
// 3).
var errUIDRequired = &imap.Error{Type: imap.StatusResponseTypeBad, Code: "UIDREQUIRED", Text: "Sequence numbers are not in use"}

// takesNumbers reports whether a command takes or tells sequence numbers unless it is
// the form with UID.
func takesNumbers(name string) bool {
	switch name {
	case "FETCH", "STORE", "SEARCH", "SORT", "THREAD", "COPY", "MOVE", "REPLACE":
		return true
	}
	return false
}
