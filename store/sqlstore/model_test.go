package sqlstore_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/memstore"
)

var errBoom = errors.New("boom")

const modelBoxes = 3

// An actor works on one account, so that actors can share transactions and the
// result is still known.
type actor struct {
	id    store.AccountID
	boxes []store.Mailbox
	base  store.MessageID
	seed  uint64
}

var modelStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// step is one Update of an actor: some random reads and writes. It depends only
// on n, so that it can be run on two backends, and again. log is what it read.
func (a *actor) step(n uint64, tx store.Tx, log *strings.Builder) error {
	rnd := rand.New(rand.NewPCG(a.seed, n))
	at := func() time.Time { return modelStart.Add(time.Duration(rnd.IntN(1000)) * time.Second) }
	box := func() store.MailboxID { return a.boxes[rnd.IntN(modelBoxes)].ID }
	seq := func() store.ModSeq { return store.ModSeq(rnd.IntN(100) + 1) }
	key := func() store.ThreadKey { return store.ThreadKey{byte(rnd.IntN(5)), 7} }
	placed := func() store.DeliveryKey {
		return store.DeliveryKey{Key: string(a.id), Index: rnd.IntN(3), Action: rnd.IntN(2)}
	}
	say := func(v any, err error) error {
		if errors.Is(err, store.ErrNotFound) {
			v, err = "not found", nil
		}
		fmt.Fprintf(log, "%+v\n", v)
		return err
	}
	for range rnd.IntN(5) + 1 {
		var err error
		switch rnd.IntN(20) {
		case 0, 1:
			err = tx.PutAccount(store.Account{
				ID: a.id, ModSeq: seq(), Horizon: seq(), LastUIDValidity: rnd.Uint32(), Mailboxes: rnd.IntN(9),
				Messages: rnd.IntN(9), Bytes: rnd.Int64N(1 << 50), Deleted: rnd.IntN(2) == 0,
			})
		case 2, 3:
			mb := a.boxes[rnd.IntN(modelBoxes)]
			mb.Role, mb.UIDNext, mb.ModSeq, mb.Messages, mb.Bytes = fmt.Sprint(rnd.IntN(3)), store.UID(rnd.Uint32()), seq(), rnd.IntN(9), rnd.Int64N(99)
			mb.Subscribed, mb.Unseen, mb.Marked, mb.UIDValidity = rnd.IntN(2) == 0, rnd.IntN(9), rnd.IntN(9), rnd.Uint32()
			if rnd.IntN(4) == 0 {
				mb.Name = fmt.Sprint(mb.Name, rnd.IntN(2))
			}
			if rnd.IntN(6) == 0 {
				mb.Deleted, mb.ModSeq = true, 1<<40
			}
			err = tx.PutMailbox(&mb)
		case 4, 5, 6, 7:
			var ms []store.Message
			for range rnd.IntN(3) + 1 {
				m := store.Message{
					Account: a.id, Mailbox: box(), UID: store.UID(rnd.IntN(10) + 1), Thread: store.ThreadID(rnd.IntN(3) + 1),
					Created: seq(), Added: seq(), ModSeq: seq(), Received: at(), Saved: at(), Size: rnd.Int64N(1 << 40),
					Blob: "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
				}
				m.ID = a.base + store.MessageID(m.Mailbox)*100 + store.MessageID(m.UID)
				m.Flags = slices.DeleteFunc([]string{"$Junk", `\SEEN`, `\Seen`, "word", "ä"}, func(string) bool { return rnd.IntN(2) == 0 })
				if rnd.IntN(3) == 0 {
					m.Expunged, m.Blob = true, "sha256-00"
					if m.Moved = rnd.IntN(2) == 0; !m.Moved {
						m.KeepUntil = at()
					}
				}
				ms = append(ms, m)
			}
			err = tx.PutMessages(ms)
		case 8:
			err = tx.PutCold([]store.Cold{{
				Account: a.id, ID: a.base + store.MessageID(box())*100 + store.MessageID(rnd.IntN(10)+1),
				Prefix: fmt.Append(nil, rnd.IntN(9), "\x00\xff"), Envelope: []byte("e"), Preview: []byte("\x00\xffp"),
			}})
		case 9:
			err = tx.PutThreads(a.id, store.ThreadID(rnd.IntN(9)+1), []store.ThreadKey{key(), key()}, at())
		case 10:
			err = tx.PutPlaced(placed(), store.Placed{Account: a.id, Mailbox: box(), UID: store.UID(rnd.Uint32()), UIDValidity: rnd.Uint32(), ID: 1 << 40}, at())
		case 11:
			err = tx.PutObject(store.Object{
				Account: a.id, Kind: fmt.Sprint("k", rnd.IntN(3)), ID: strings.Repeat("i", rnd.IntN(3)), ModSeq: seq(),
				Deleted: rnd.IntN(3) == 0, Data: fmt.Append(nil, rnd.IntN(9)), Blob: "sha256-01",
			})
		case 12:
			err = tx.Forget(a.id, seq(), at())
		default:
			err = a.read(rnd, tx, say)
		}
		if err != nil {
			return err
		}
	}
	switch rnd.IntN(8) {
	case 0:
		return errBoom
	case 1:
		panic(errBoom)
	}
	return nil
}

// read reads something at random.
func (a *actor) read(rnd *rand.Rand, tx store.Tx, say func(any, error) error) error {
	since := store.Since{After: store.ModSeq(rnd.IntN(2) * rnd.IntN(100)), Tombstones: rnd.IntN(2) == 0}
	mb := a.boxes[rnd.IntN(modelBoxes)]
	id := a.base + store.MessageID(mb.ID)*100 + store.MessageID(rnd.IntN(10)+1)
	switch rnd.IntN(11) {
	case 0:
		return say(tx.Accounts("nobody", a.id))
	case 1:
		return say(tx.Mailbox(mb.ID))
	case 2:
		return say(tx.MailboxByName(a.id, []string{mb.Name, mb.Name + "0", mb.Name + "1"}[rnd.IntN(3)]))
	case 3:
		return sayAll(tx.Mailboxes(a.id, since), say)
	case 4, 5:
		q := store.Query{Since: since, First: store.UID(rnd.IntN(5)), Last: store.UID(rnd.IntN(3) * 4)}
		return sayAll(tx.Messages(mb.ID, q), say)
	case 6:
		return say(tx.MessageByID(a.id, id))
	case 7:
		return sayAll(tx.Changed(a.id, since.After), say)
	case 8:
		var cs []store.Cold
		for c, err := range tx.Cold(a.id, id, id+1, id+2) {
			if err != nil {
				return err
			}
			cs = append(cs, c)
		}
		slices.SortFunc(cs, func(a, b store.Cold) int { return cmp.Compare(a.ID, b.ID) })
		return say(cs, nil)
	case 9:
		return say(tx.Threads(a.id, []store.ThreadKey{{1, 7}, {2, 7}, {9, 9}}))
	default:
		q := store.ObjectQuery{Since: since}
		if rnd.IntN(2) == 0 {
			if q.Kind = "k1"; rnd.IntN(2) == 0 {
				q.ID = "i"
			}
		}
		if err := sayAll(tx.Objects(a.id, q), say); err != nil {
			return err
		}
		p, ok, err := tx.Placed(store.DeliveryKey{Key: string(a.id), Index: 1})
		return say(fmt.Sprintf("%+v %v", p, ok), err)
	}
}

func sayAll[V any](vs func(func(V, error) bool), say func(any, error) error) error {
	for v, err := range vs {
		if err := say(v, err); err != nil {
			return err
		}
	}
	return say("end", nil)
}

// run runs a step and reports what it read and how it ended.
func (a *actor) run(ctx context.Context, b store.Backend, n uint64) (log string, err error) {
	var text strings.Builder
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		log = text.String()
	}()
	err = b.Update(ctx, func(tx store.Tx) error {
		text.Reset()
		return a.step(n, tx, &text)
	})
	return log, err
}

// TestAgreesWithMemory runs random transactions, some of which fail or panic, many
// at a time, and compares all they read with what memstore gives.
func TestAgreesWithMemory(t *testing.T) {
	for name, wrap := range map[string]func(*sqldb.SQLite) sqldb.DB{
		"OneWriter":      func(db *sqldb.SQLite) sqldb.DB { return db },
		"SeveralWriters": func(db *sqldb.SQLite) sqldb.DB { return several{db} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{})
			agree(t, open(t, wrap(db)), 250)
			if faults, err := db.Check(t.Context()); err != nil || len(faults) > 0 {
				t.Errorf("faults %q, %v", faults, err)
			}
		})
	}
}

// agree compares b with memstore.
func agree(t *testing.T, b store.Backend, steps uint64) {
	mem := &memstore.Backend{}
	var wg sync.WaitGroup
	for i := range 8 {
		a := &actor{id: store.AccountID(fmt.Sprint("a", i)), base: store.MessageID(i+1) * 1_000_000, seed: uint64(i)}
		for j := range modelBoxes {
			for _, b := range []store.Backend{mem, b} {
				mb := store.Mailbox{Account: a.id, Name: fmt.Sprint("box", j, "-"), UIDNext: 1}
				if err := b.Update(t.Context(), func(tx store.Tx) error { mb.ID = 0; return tx.PutMailbox(&mb) }); err != nil {
					t.Fatal(err)
				}
				if len(a.boxes) == j {
					a.boxes = append(a.boxes, mb)
				} else if a.boxes[j] != mb {
					t.Fatalf("made %+v and %+v", a.boxes[j], mb)
				}
			}
		}
		wg.Go(func() {
			for n := range steps {
				got, err := a.run(t.Context(), b, n)
				want, wantErr := a.run(t.Context(), mem, n)
				if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Errorf("step %d of %s: read\n%s%v, want\n%s%v", n, a.id, got, err, want, wantErr)
					return
				}
			}
		})
	}
	wg.Wait()
}
