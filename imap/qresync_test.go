package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func (c countingTx) Vanished(id store.MailboxID, after store.ModSeq) ([]store.UID, error) {
	uids, err := c.Tx.Vanished(id, after)
	*c.rows += len(uids)
	return uids, err
}

// A client that comes back costs what has changed: nothing if that is nothing.
func TestResyncReadsWhatChanged(t *testing.T) {
	b := &countingBackend{Backend: new(memstore.Backend)}
	s := &store.Store{Backend: b, Blobs: new(memblob.Store)}
	addr := start(t, &Server{InsecureAuth: true, Store: s})
	const n = 300
	for i := range n {
		put(t, s, "a1", inbox, fmt.Sprintf("%d\n", i))
	}
	session := func() *peer {
		p := dial(t, addr)
		p.ok("LOGIN ann@example.org secret")
		p.ok("ENABLE QRESYNC")
		return p
	}
	a := s.As("a1")
	f, err := a.Folder(t.Context(), inbox)
	if err != nil {
		t.Fatal(err)
	}
	// The first time the view is read, and that is all.
	b.rows = 0
	p := session()
	p.ok("SELECT INBOX (QRESYNC (%d %d 1:%d))", f.UIDValidity, f.ModSeq, n)
	if b.rows != n {
		t.Errorf("%d rows were read for %d messages", b.rows, n)
	}
	p.ok("LOGOUT")
	for _, tt := range []struct {
		name   string
		change func() error
		rows   int
		lines  string
	}{
		{"nothing", func() error { return nil }, 0, ""},
		{"flags", func() error {
			_, _, err := a.SetFlags(t.Context(), f.ID, store.FlagChange{Add: []string{`\Flagged`}}, 7, 200)
			return err
		}, 2, "* 7 FETCH (UID 7 FLAGS (\\Flagged) MODSEQ (302))\n* 200 FETCH (UID 200 FLAGS (\\Flagged) MODSEQ (302))\n"},
		{"expunge", func() error {
			_, err := a.Expunge(t.Context(), f.ID, 5, 6, 7)
			return err
		}, 3 + 3, "* VANISHED (EARLIER) 5:7\n"},
		{"nothing again", func() error { return nil }, 0, ""},
		{"forgotten", func() error {
			_, err := a.Expunge(t.Context(), f.ID, 9)
			if err == nil {
				err = s.Forget(t.Context(), "a1", 1<<40)
			}
			return err
		}, n - 4, "* VANISHED (EARLIER) 5:7,9\n"}, // the view is read anew
	} {
		before, _, err := a.Select(t.Context(), f.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.change(); err != nil {
			t.Fatal(tt.name, err)
		}
		p := session()
		b.rows = 0
		got := ""
		for _, l := range p.ok("SELECT INBOX (QRESYNC (%d %d 1:%d))", f.UIDValidity, before.ModSeq, n) {
			if strings.Contains(l, "VANISHED") || strings.Contains(l, "FETCH") {
				got += l + "\n"
			}
		}
		if b.rows != tt.rows || got != tt.lines {
			t.Errorf("%s: %d rows were read, want %d; %q, want %q", tt.name, b.rows, tt.rows, got, tt.lines)
		}
		p.ok("LOGOUT")
	}
}

// withUIDs is a mailbox of these messages.
func withUIDs(uids ...store.UID) *snapshot {
	var cs []change
	for _, u := range uids {
		cs = append(cs, change{row: row{u, joinFlags(nil), store.ModSeq(u)}})
	}
	s := new(snapshot).apply(cs)
	s.box.UIDNext = s.last() + 3
	return s
}

func TestMatchDataIsRightUpToItsLastPair(t *testing.T) {
	s := withUIDs(3, 6, 9, 12, 15, 16, 17)
	for _, tt := range []struct {
		data string
		want store.UID
	}{
		{"1 3", 3},
		{"1 4", 0},
		{"1:7 3,6,9,12,15:17", 17},
		{"1:7 3,6,9,12,15,17:18", 15},
		{"2,4 6,13", 6},
		{"1:2,5 1:2,15", 15},
		{"5:7 15:17", 17},
		{"5:9 15:19", 17},
		{"8 17", 0},
		{"1:4294967295 1:4294967295", 0},
		{"6:4294967295 16:4294967295,1:10", 0}, // refused: not as many
		{"4294967295 17", 0},
	} {
		p := &parser{line: []byte("(9 9 1:9 (" + tt.data + "))")}
		r := p.resync()
		if err := p.end(); err != nil {
			if tt.want != 0 {
				t.Errorf("%s: %v", tt.data, err)
			}
			continue
		}
		if got := r.lastMatch(s); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.data, got, tt.want)
		}
	}
}

func TestMissingIsWhatNoMessageHas(t *testing.T) {
	s := withUIDs(3, 6, 9, 10, 11) // UIDNEXT is 14
	for _, tt := range []struct {
		known string
		last  store.UID
		want  string
	}{
		{"1:20", 0, "1:2,4:5,7:8,12:13"},
		{"1:20", 6, "7:8,12:13"},
		{"3,6,9:11", 0, ""},
		{"1,4,7,9", 0, "1,4,7"},
		{"2:3,5:9", 0, "2,5,7:8"},
		{"14:4294967295", 0, ""},
		{"13:4294967295", 0, "13"},
		{"1:4294967295", 13, ""},
	} {
		p := &parser{line: []byte(tt.known)}
		var w rangeWriter
		s.missing(p.ranges(), tt.last, &w)
		if got := w.String(); got != tt.want {
			t.Errorf("%s after %d: %s, want %s", tt.known, tt.last, got, tt.want)
		}
	}
	var w rangeWriter
	empty := &snapshot{box: store.Mailbox{UIDNext: 1}}
	if empty.missing([]numRange{{1, 0}}, 0, &w); w.String() != "" {
		t.Error(w.String())
	}
}

func TestSpansAreCut(t *testing.T) {
	spans := []span{{2, 4}, {6, 7}, {9, 14}}
	for _, tt := range []struct {
		lo, hi int
		want   string
	}{
		{0, 8, "[{2 4} {6 7} {9 14}]"},
		{0, 2, "[{2 4}]"},
		{1, 3, "[{3 4} {6 7}]"},
		{3, 5, "[{9 11}]"},
		{2, 3, "[{6 7}]"},
		{7, 99, "[{13 14}]"},
		{8, 9, "[]"},
		{4, 4, "[]"},
	} {
		if got := fmt.Sprint(cutSpans(spans, tt.lo, tt.hi)); got != tt.want {
			t.Errorf("%d:%d: %s, want %s", tt.lo, tt.hi, got, tt.want)
		}
	}
}
