package imap

import (
	"strings"
	"testing"
)

// A client can leave a mailbox that another session has deleted.
func TestCloseOfAMailboxThatHasGone(t *testing.T) {
	for _, command := range []string{"CLOSE", "UNSELECT"} {
		addr := start(t, &Server{InsecureAuth: true})
		p, q := dial(t, addr), dial(t, addr)
		p.ok("LOGIN ann@example.org secret")
		q.ok("LOGIN ann@example.org secret")
		p.ok("CREATE box")
		p.ok("SELECT box")
		q.ok("DELETE box")
		p.ok("%s", command)
		if l := p.do("FETCH 1 FLAGS"); !strings.HasPrefix(l[0], "t BAD") {
			t.Errorf("after %s: %q", command, l)
		}
		p.ok("SELECT INBOX")
	}
}
