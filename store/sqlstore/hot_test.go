package sqlstore

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// hotMessages returns n messages of a mailbox from one UID on, and their rows.
func hotMessages(box store.MailboxID, first store.UID, n int) (ms []store.Message, rows []hotRow) {
	for i := range n {
		uid := first + store.UID(i)
		m := store.Message{ID: store.MessageID(uid), Account: "ann", Mailbox: box, UID: uid, Blob: blob.Ref(fmt.Sprintf("sha256-%064x", uid)), Flags: []string{`\Seen`}}
		ms, rows = append(ms, m), append(rows, packHot(&m, packRef(m.Blob), flagSet{bits: 1}))
	}
	return ms, rows
}

// TestHotIsBounded: the oldest go first, and what was dropped and came again takes no
// more room.
func TestHotIsBounded(t *testing.T) {
	h := new(hot)
	for box := store.MailboxID(1); box <= 3; box++ {
		for first := store.UID(0); first < maxHot*hotRun; first += 1024 {
			ms, rows := hotMessages(box, first+1, 1024)
			h.put(h.commits.Load(), ms, rows)
		}
		if len(h.runs) > maxHot || len(h.order) > 2*maxHot {
			t.Fatalf("%d runs, %d in order", len(h.runs), len(h.order))
		}
		if got := h.get("ann", box, []store.UID{maxHot * hotRun}, nil); len(got) != 1 || got[0].ID != maxHot*hotRun {
			t.Fatalf("the last of mailbox %d is %+v", box, got)
		}
	}
	if got := h.get("bob", 3, []store.UID{maxHot * hotRun}, nil); len(got) != 0 {
		t.Error("another account is told", got)
	}
	if got := h.get("ann", 1, []store.UID{1}, nil); len(got) != 0 {
		t.Error("the first is still there")
	}
	for range 5 * maxHot {
		ms, rows := hotMessages(9, 1, 1)
		h.put(h.commits.Load(), ms, rows)
		if !h.has(9, 1) {
			t.Fatal("it is not remembered")
		}
		h.commit([]newsNote{{at: 9}})
		if h.has(9, 1) {
			t.Fatal("it is remembered though its mailbox changed")
		}
	}
	if len(h.runs) > maxHot || len(h.order) > 2*maxHot {
		t.Errorf("%d runs, %d in order", len(h.runs), len(h.order))
	}
}

// TestHotKnowsWhatChanged: what a reader found before a commit is not remembered after it,
// where the commit changed something.
func TestHotKnowsWhatChanged(t *testing.T) {
	row := func(uid store.UID, now *hotRow) newsNote {
		return newsNote{at: 1, row: newsRow{uid: uid}, now: now}
	}
	changed := hotRow{id: 5, set: flagSet{bits: 4}}
	for _, tt := range []struct {
		name  string
		notes []newsNote
		want  []store.UID // of 5, 6 and 1000
	}{
		{"nothing", nil, []store.UID{5, 6, 1000}},
		{"a new message far away", []newsNote{row(5000, nil)}, []store.UID{5, 6, 1000}},
		{"one of them", []newsNote{row(5, &changed)}, []store.UID{1000}},
		{"all of another mailbox", []newsNote{{at: 2}}, nil},
		{"all of it", []newsNote{{at: 1}}, nil},
	} {
		h := new(hot)
		before := h.commits.Load()
		h.commit(tt.notes)
		near, nearRows := hotMessages(1, 5, 2)
		far, farRows := hotMessages(1, 1000, 1)
		h.put(before, append(near, far...), append(nearRows, farRows...))
		var got []store.UID
		for _, p := range h.get("ann", 1, []store.UID{5, 6, 1000}, nil) {
			got = append(got, p.UID)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %d are remembered, want %d", tt.name, got, tt.want)
		}
		// A later reader may tell, and what it told follows what is committed.
		h.put(h.commits.Load(), near, nearRows)
		h.commit([]newsNote{row(5, &changed), row(6, nil)})
		if ms := h.get("ann", 1, []store.UID{5, 6}, nil); len(ms) != 1 || ms[0].UID != 5 || !slices.Equal(ms[0].Flags, []string{`\Flagged`}) {
			t.Errorf("%s: %+v", tt.name, ms)
		}
	}
}
