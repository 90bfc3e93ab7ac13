package imap

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// countingTx counts the rows that a backend reads.
type countingTx struct {
	store.Tx
	rows *int
}

func (c countingTx) Messages(id store.MailboxID, q store.Query) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		for m, err := range c.Tx.Messages(id, q) {
			*c.rows++
			if !yield(m, err) {
				return
			}
		}
	}
}

type countingBackend struct {
	store.Backend
	rows int
}

func (c *countingBackend) View(ctx context.Context, fn func(store.Tx) error) error {
	return c.Backend.View(ctx, func(tx store.Tx) error { return fn(countingTx{tx, &c.rows}) })
}

func selectIn(t *testing.T, vs *views, s *store.Store, who store.AccountID, name string) (*view, *snapshot) {
	t.Helper()
	a := s.As(who)
	f, err := a.Folder(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	v, snap, err := vs.get(t.Context(), a, f.ID)
	if err != nil {
		t.Fatal(err)
	}
	return v, snap
}

// A mailbox is read once, however many sessions have it and whenever they come, and
// then only what changed.
func TestViewsReadWhatChanged(t *testing.T) {
	b := &countingBackend{Backend: new(memstore.Backend)}
	s := &store.Store{Backend: b, Blobs: new(memblob.Store)}
	for i := range 100 {
		put(t, s, "a1", inbox, fmt.Sprintf("%d\n", i))
	}
	b.rows = 0
	vs := &views{}
	v, snap := selectIn(t, vs, s, "a1", inbox)
	if b.rows != 100 || snap.size != 100 {
		t.Errorf("%d rows were read for %d messages", b.rows, snap.size)
	}
	b.rows = 0
	w, same := selectIn(t, vs, s, "a1", inbox)
	if w != v || same != snap || b.rows != 0 {
		t.Errorf("the second session read %d rows", b.rows)
	}
	vs.put(w)
	vs.put(v)
	put(t, s, "a1", inbox, "more\n", "kw")
	b.rows = 0
	v, snap = selectIn(t, vs, s, "a1", inbox) // it was kept
	if snap.size != 101 || b.rows != 1 {
		t.Errorf("%d messages, %d rows were read", snap.size, b.rows)
	}
	if len(snap.keywords) != 1 || snap.keywords[0] != "kw" {
		t.Error(snap.keywords)
	}
	vs.put(v)
}

// Tombstones that were forgotten before the view saw them do not leave ghosts.
func TestViewsSurviveTheHorizon(t *testing.T) {
	s := newStore()
	for i := range 5 {
		put(t, s, "a1", inbox, fmt.Sprintf("%d\n", i))
	}
	vs := &views{}
	v, snap := selectIn(t, vs, s, "a1", inbox)
	if _, err := s.As("a1").Expunge(t.Context(), v.id, 2, 4); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), "a1", 1<<40); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a1", inbox, "new\n")
	is, err := v.refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone, changed, added := snap.diff(is)
	if fmt.Sprint(gone) != "[1 3]" || len(changed) != 0 || len(added) != 1 || is.size != 4 {
		t.Error(gone, changed, added)
	}
}

// Accounts do not share views, and what no session has is dropped when it is much.
func TestViewsAreBounded(t *testing.T) {
	s := newStore()
	vs := &views{}
	a, _ := selectIn(t, vs, s, "a1", inbox)
	b, _ := selectIn(t, vs, s, "b1", inbox)
	if a == b {
		t.Error("ann and bob share a view")
	}
	vs.put(a)
	vs.put(b)
	for i := range 20 {
		name := fmt.Sprint("m", i)
		if _, err := s.As("a1").Create(t.Context(), name, ""); err != nil {
			t.Fatal(err)
		}
		v, _ := selectIn(t, vs, s, "a1", name)
		vs.put(v)
	}
	if len(vs.kept) < 20 {
		t.Error(len(vs.kept), "are kept")
	}
	big, _ := selectIn(t, vs, s, "a1", inbox)
	big.cur.Store(numbered(maxKept + 1))
	vs.put(big)
	if len(vs.kept) != 0 || vs.rows != 0 || len(vs.open) != 0 {
		t.Errorf("%d views with %d rows are kept, %d are known", len(vs.kept), vs.rows, len(vs.open))
	}
}

// What another process does is seen in IDLE.
func TestIdleSeesOtherProcesses(t *testing.T) {
	one := newStore()
	other := &store.Store{Backend: one.Backend, Blobs: one.Blobs}
	p := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}, Store: one}))
	p.ok("LOGIN ann secret")
	p.ok("SELECT INBOX")
	p.send("i IDLE")
	p.line()
	for i := range 5 {
		put(t, other, "a1", inbox, fmt.Sprintf("%d\n", i))
		if l := p.line(); l != fmt.Sprintf("* %d EXISTS", i+1) {
			t.Error(l)
		}
	}
}

// EXPUNGE takes only what is marked when it happens, not when the session looked.
func TestExpungeSparesWhatIsNoLongerMarked(t *testing.T) {
	s := newStore()
	put(t, s, "a1", inbox, "1\n", store.FlagDeleted)
	put(t, s, "a1", inbox, "2\n", store.FlagDeleted)
	v, snap := selectIn(t, &views{}, s, "a1", inbox)
	uids := marked(snap, snap.everything())
	a := s.As("a1")
	if _, _, err := a.SetFlags(t.Context(), v.id, store.FlagChange{Remove: []string{store.FlagDeleted}}, 1); err != nil {
		t.Fatal(err)
	}
	if gone, err := a.ExpungeMarked(t.Context(), v.id, uids...); err != nil || fmt.Sprint(uids, gone) != "[1 2] [2]" {
		t.Error(uids, gone, err)
	}
}
