package imap

import (
	"slices"
	"testing"
)

// What a command asks for may be gone before it, because another session has
// expunged it; then it must not be answered as if it were there.
func TestCommandsOnWhatOthersExpunged(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	addr := start(t, s)
	for range 4 {
		put(t, s.Store, "a1", inbox, "x\n")
	}
	p, q := dial(t, addr), dial(t, addr)
	for _, c := range []*peer{p, q} {
		c.ok("LOGIN ann@example.org secret")
		c.ok("SELECT INBOX")
	}
	p.ok("CREATE box")
	q.ok(`STORE 2 FLAGS.SILENT (\Deleted)`)
	q.ok("EXPUNGE")
	const gone = "t NO [EXPUNGEISSUED] Some messages have gone"
	for _, d := range []struct {
		command string
		want    []string
	}{
		{`STORE 1:3 +FLAGS (\Seen)`, []string{`* 1 FETCH (FLAGS (\Seen))`, `* 3 FETCH (FLAGS (\Seen))`, gone}},
		{`STORE 2 +FLAGS.SILENT (\Seen)`, []string{gone}},
		{`FETCH 2:3 RFC822.SIZE`, []string{`* 3 FETCH (RFC822.SIZE 3)`, gone}},
		{`COPY 1:3 box`, []string{`* 2 EXPUNGE`, gone}}, // and nothing is copied
		{`STATUS box (MESSAGES)`, []string{`* STATUS "box" (MESSAGES 0)`, "t OK STATUS completed"}},
	} {
		if got := p.do("%s", d.command); !slices.Equal(got, d.want) {
			t.Errorf("%s: %q, want %q", d.command, got, d.want)
		}
	}

	q.ok(`STORE 2 FLAGS.SILENT (\Deleted)`)
	q.ok("EXPUNGE")
	// UIDs that no message has are passed over.
	for _, d := range []struct {
		command string
		want    []string
	}{
		{`MOVE 2 box`, []string{`* 2 EXPUNGE`, gone}},
		{`UID STORE 1:3 -FLAGS (\Seen)`, []string{`* 1 FETCH (UID 1 FLAGS ())`, "t OK UID STORE completed"}},
		{`UID STORE 2:3 -FLAGS (\Seen)`, []string{"t OK UID STORE completed"}},
	} {
		if got := p.do("%s", d.command); !slices.Equal(got, d.want) {
			t.Errorf("%s: %q, want %q", d.command, got, d.want)
		}
	}
}

// RFC 5182, 2.1: a NO empties the saved result, a BAD does not.
func TestSavedSearchAfterARefusal(t *testing.T) {
	s := &Server{InsecureAuth: true, Store: newStore()}
	p := dial(t, start(t, s))
	put(t, s.Store, "a1", inbox, "x\n")
	p.ok("LOGIN ann@example.org secret")
	p.ok("SELECT INBOX")
	p.ok("SEARCH RETURN (SAVE) ALL")
	p.do("SEARCH RETURN (SAVE) NONSENSE")
	p.do("SEARCH CHARSET none ALL")
	if got := p.ok("FETCH $ FLAGS"); len(got) != 2 {
		t.Errorf("after BAD, or without SAVE: %q", got)
	}
	p.do("SEARCH RETURN (SAVE) CHARSET none ALL")
	if got := p.ok("FETCH $ FLAGS"); len(got) != 1 {
		t.Errorf("after NO: %q", got)
	}
}
