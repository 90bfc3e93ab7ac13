package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/store"
)

// What may be told before the answer of which command, when others have expunged a
// message and filed one (RFC 9051, 7.4.1 and 7.5.1; RFC 5256, 3; RFC 7162, 3.2.10):
// EXPUNGE never while sequence numbers may be on their way, EXISTS always.
func TestWhatCommandsMayTell(t *testing.T) {
	const all, new = "EXPUNGE EXISTS", "EXISTS"
	for _, test := range []struct{ cmd, told string }{
		{"NOOP", all}, {"CHECK", all}, {"CAPABILITY", all}, {"ID NIL", all}, {"NAMESPACE", all},
		{"FETCH 2 (UID)", new}, {"FETCH 2 (FLAGS)", new}, {"FETCH 2 (ENVELOPE)", new}, {"FETCH 2 (BODY[])", new},
		{"UID FETCH 2 (FLAGS)", all}, {"UID FETCH 2 (BODY[])", all},
		{"STORE 2 +FLAGS (x)", new}, {"STORE 2 +FLAGS.SILENT (x)", new}, {"UID STORE 2 +FLAGS (x)", all},
		{"SEARCH ALL", new}, {"SEARCH RETURN (COUNT) ALL", new}, {"UID SEARCH ALL", all},
		{"SORT (DATE) UTF-8 ALL", new}, {"UID SORT (DATE) UTF-8 ALL", all},
		{"THREAD REFERENCES UTF-8 ALL", new}, {"UID THREAD REFERENCES UTF-8 ALL", all},
		{"COPY 2 other", all}, {"UID COPY 2 other", all}, {"EXPUNGE", all}, {"UID EXPUNGE 2", all},
		{"STATUS other (MESSAGES)", all}, {"LIST \"\" *", all}, {"LSUB \"\" *", all}, {"CREATE third", all}, {"DELETE other", all},
		{"RENAME other third", all}, {"SUBSCRIBE other", all}, {"UNSUBSCRIBE other", all}, {"APPEND other {1+}\r\nx", all},
		{"NOTIFY NONE", ""}, {"NOTIFY SET (selected (MessageNew MessageExpunge))", all},
		{"SELECT other", "CLOSED"}, {"EXAMINE INBOX", "CLOSED"}, {"UNSELECT", ""}, {"CLOSE", ""},
		// Refused: NO may tell, BAD does not.
		{"COPY 2 nowhere", all}, {"FETCH 9 (UID)", ""}, {"FETCH", ""}, {"XYZZY", ""},
	} {
		for _, qresync := range []bool{false, true} {
			s := &Server{InsecureAuth: true, Auth: anyone{}, Store: newStore(), Hostname: "h"}
			addr := start(t, s)
			for i := range 3 {
				put(t, s.Store, "a1", inbox, fmt.Sprintf("Subject: %d\n\nx\n", i))
			}
			p := dial(t, addr)
			p.ok("LOGIN ann secret")
			p.ok("CREATE other")
			if qresync {
				p.ok("ENABLE QRESYNC")
			}
			p.ok("SELECT INBOX")
			box, err := s.Store.As("a1").Folder(t.Context(), inbox)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Store.As("a1").Expunge(t.Context(), box.ID, store.UID(1)); err != nil {
				t.Fatal(err)
			}
			put(t, s.Store, "a1", inbox, "Subject: new\n\nx\n")
			var told []string
			closed := false
			for _, l := range p.do("%s", test.cmd) {
				switch {
				case strings.HasPrefix(l, "* OK [CLOSED]"):
					closed = true
					told = append(told, "CLOSED")
				case closed: // of the next mailbox
				case l == "* 1 EXPUNGE" && !qresync, l == "* VANISHED 1" && qresync:
					told = append(told, "EXPUNGE")
				case strings.HasSuffix(l, " EXISTS"):
					want := "* 3 EXISTS"
					if !slices.Contains(told, "EXPUNGE") {
						want = "* 4 EXISTS"
					}
					if told = append(told, "EXISTS"); l != want {
						t.Errorf("%s: %s", test.cmd, l)
					}
				case strings.Contains(l, "EXPUNGE") && strings.HasPrefix(l, "* "), strings.Contains(l, "VANISHED"):
					t.Errorf("%s (QRESYNC %v): %s", test.cmd, qresync, l)
				}
			}
			if got := strings.Join(told, " "); got != test.told {
				t.Errorf("%s (QRESYNC %v) tells %q, may tell %q", test.cmd, qresync, got, test.told)
			}
			p.Close()
			s.Close()
		}
	}
}
