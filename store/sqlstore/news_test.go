package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// A watcher knows a mailbox by what it was told of it.
type watcher struct {
	access *store.Access
	box    store.Mailbox
	ms     map[store.UID]string // ModSeq and flags

	told, read int
	remembered int // messages that the backend had not to read
}

func show(m *store.Message) string {
	return fmt.Sprint(m.ModSeq, strings.Join(m.Flags, " "))
}

// scan reads the whole mailbox.
func (w *watcher) scan(ctx context.Context) (box store.Mailbox, all map[store.UID]string, err error) {
	all = map[store.UID]string{}
	err = w.access.Scan(ctx, w.box.ID, store.Query{}, func(mb store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		box = mb
		clear(all)
		for m, err := range ms {
			if err != nil {
				return err
			}
			all[m.UID] = show(&m)
		}
		return nil
	})
	return box, all, err
}

// look moves on to what is now.
func (w *watcher) look(ctx context.Context) (err error) {
	box, ms, ok := w.access.Recent(w.box.ID, w.box.ModSeq)
	if !ok {
		w.read++
		w.box, w.ms, err = w.scan(ctx)
		return err
	}
	w.told++
	w.box = box
	last := store.UID(0)
	for _, m := range ms {
		if m.UID <= last {
			return fmt.Errorf("UID %d after %d", m.UID, last)
		}
		if last = m.UID; m.Expunged {
			delete(w.ms, m.UID)
		} else {
			w.ms[m.UID] = show(&m)
		}
	}
	return nil
}

// list reads some messages, which are remembered then.
func (w *watcher) list(ctx context.Context, uids []store.UID) (map[store.UID]string, error) {
	var rows store.Rows
	_, err := w.access.Read(ctx, w.box.ID, uids, 0, &rows)
	out := map[store.UID]string{}
	for _, m := range rows.Messages {
		out[m.UID] = fmt.Sprintf("%+v", m.Message)
	}
	return out, err
}

// agree compares what is read with what is remembered with what there is.
func (w *watcher) agree(ctx context.Context, b *sqlstore.Backend) error {
	there := map[store.UID]string{}
	var uids []store.UID
	for uid := store.UID(1); uid < w.box.UIDNext; uid++ {
		uids = append(uids, uid)
	}
	err := w.access.Scan(ctx, w.box.ID, store.Query{}, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		clear(there)
		for m, err := range ms {
			if err != nil {
				return err
			}
			there[m.UID] = fmt.Sprintf("%+v", m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.remembered += len(b.Remembered("ann", w.box.ID, uids, nil))
	for range 2 {
		read, err := w.list(ctx, uids)
		if err != nil {
			return err
		}
		if !maps.Equal(read, there) {
			for uid := range w.box.UIDNext {
				if read[uid] != there[uid] {
					return fmt.Errorf("UID %d: read\n%s, there is\n%s", uid, read[uid], there[uid])
				}
			}
		}
	}
	return nil
}

// TestRecentIsWhatAScanWouldTell: several change mailboxes at once, in all ways, and fail
// to; at every moment those who are told what changed know as much as those who read, and
// what is remembered of messages is what there is.
func TestRecentIsWhatAScanWouldTell(t *testing.T) {
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "db"), sqldb.Options{Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	backend, err := sqlstore.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	const quota = 400
	st := &store.Store{Backend: backend, Blobs: &memblob.Store{}, Limit: func(context.Context, store.AccountID) (mailkeel.Quota, error) {
		return mailkeel.Quota{Messages: quota}, nil
	}}
	info := content(t, st.Blobs)
	a := st.As("ann")
	inbox, err := a.Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	other, err := a.Create(t.Context(), "other", "")
	if err != nil {
		t.Fatal(err)
	}
	boxes := []store.MailboxID{inbox.ID, other.ID}
	watchers := make([]*watcher, 4)
	for i := range watchers {
		watchers[i] = &watcher{access: a, box: store.Mailbox{ID: boxes[i%2]}}
	}
	change := func(r *rand.Rand) error {
		from, to := boxes[r.IntN(2)], boxes[r.IntN(2)]
		uid := func() store.UID { return store.UID(1 + r.IntN(600)) }
		uids := []store.UID{uid(), uid(), uid()}
		var err error
		switch n := r.IntN(100); {
		case n < 30:
			ms := make([]store.Append, 1+r.IntN(3))
			if n == 0 {
				ms = make([]store.Append, 100)
			}
			for i := range ms {
				ms[i] = store.Append{Blob: info, Flags: []string{[]string{`\Seen`, "$a", "$B"}[r.IntN(3)]}}
			}
			_, err = a.Append(t.Context(), from, ms...)
		case n < 70:
			_, _, err = a.SetFlags(t.Context(), from, store.FlagChange{
				Replace: n%3 == 0, Add: []string{[]string{`\Flagged`, "$c"}[r.IntN(2)]}, Remove: []string{`\Seen`}}, uids...)
		case n < 72: // so many that they become marks
			for first := uid(); len(uids) < 100; first++ {
				uids = append(uids, first)
			}
			_, _, err = a.SetFlags(t.Context(), from, store.FlagChange{Add: []string{`\Answered`}}, uids...)
		case n < 80:
			_, err = a.Copy(t.Context(), from, to, uids...)
		case n < 90:
			_, err = a.Move(t.Context(), from, to, uids...)
		case n < 97:
			_, err = a.Expunge(t.Context(), from, uids...)
		case n < 98: // what was written is taken back, and with it what shares the commit
			err = backend.Update(t.Context(), func(tx store.Tx) error {
				for m, err := range tx.Messages(from, store.Query{}) {
					if err != nil {
						return err
					}
					m.Flags = []string{"$never"}
					if err := tx.PutMessages([]store.Message{m}); err != nil {
						return err
					}
				}
				for _, err := range tx.Messages(from, store.Query{}) { // flushes
					return errors.Join(err, store.ErrOverQuota)
				}
				return store.ErrOverQuota
			})
		default:
			err = a.Rename(t.Context(), other.ID, fmt.Sprint("other", r.IntN(1000)))
		}
		if errors.Is(err, store.ErrOverQuota) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNoMessage) {
			err = nil
		}
		return err
	}
	rounds := 25
	for round := range rounds {
		var all sync.WaitGroup
		for i := range 6 {
			r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			all.Go(func() {
				for range 5 {
					if err := change(r); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, w := range watchers[:2] { // these also look meanwhile
			all.Go(func() {
				for n := range 10 {
					if err := w.look(t.Context()); err != nil {
						t.Error(err)
					}
					var uids []store.UID
					for uid := store.UID(n + 1); uid < w.box.UIDNext; uid += 2 {
						uids = append(uids, uid)
					}
					if _, err := w.list(t.Context(), uids); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for i, w := range watchers {
			if err := w.look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := w.agree(t.Context(), backend); err != nil {
				t.Fatalf("round %d, watcher %d: %v", round, i, err)
			}
			box, ms, err := w.scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if box != w.box || !maps.Equal(ms, w.ms) {
				t.Fatalf("round %d, watcher %d: knows\n%+v with %d messages, there is\n%+v with %d", round, i, w.box, len(w.ms), box, len(ms))
			}
		}
	}
	told, read, remembered := 0, 0, 0
	for _, w := range watchers {
		told, read, remembered = told+w.told, read+w.read, remembered+w.remembered
	}
	if remembered == 0 {
		t.Error("no message was remembered")
	}
	if told < read {
		t.Errorf("told %d times, and read %d times", told, read)
	}
	t.Logf("told %d times, read %d times, %d messages remembered", told, read, remembered)
}

// content makes the bytes of a message.
func content(t *testing.T, blobs blob.Store) blob.Info {
	t.Helper()
	w, err := blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "Subject: x\r\n\r\nx\r\n")
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestWhoIsNotAloneRemembersNothing: another process may have written.
func TestWhoIsNotAloneRemembersNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	blobs := new(memblob.Store)
	info := content(t, blobs)
	var as []*store.Access
	var bs []*sqlstore.Backend
	for range 2 {
		db, err := sqldb.OpenSQLite(path, sqldb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		b, err := sqlstore.New(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		as, bs = append(as, (&store.Store{Backend: b, Blobs: blobs}).As("ann")), append(bs, b)
	}
	f, err := as[0].Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range slices.Concat(as, as) {
		if _, err := a.Append(t.Context(), f.ID, store.Append{Blob: info}); err != nil {
			t.Fatal(err)
		}
		var rows store.Rows
		if _, err := a.Read(t.Context(), f.ID, []store.UID{store.UID(i + 1)}, 0, &rows); err != nil || len(rows.Messages) != 1 {
			t.Fatal(rows.Messages, err)
		}
		if ms := bs[i%2].Remembered("ann", f.ID, []store.UID{store.UID(i + 1)}, nil); len(ms) > 0 {
			t.Error("one of two remembers", ms)
		}
		if _, err := a.Create(t.Context(), fmt.Sprint(rand.Int()), ""); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := as[0].Recent(f.ID, f.ModSeq); ok {
			t.Error("one of two remembers")
		}
	}
}
