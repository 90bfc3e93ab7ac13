package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

var faultTests = []test{
	{"FailedCommitsPlaceNothing", testFailedCommit},
	{"FailedWritesPlaceNothing", testFailedWrites},
	{"FailedBlobsPlaceNothing", testFailedBlobs},
	{"SweepNeverTakesWhatIsNamed", testSweepRaces},
}

var errBoom = errors.New("boom")

// state is all rows of ann and bob.
func (b *bench) state() (out []string) {
	b.Helper()
	b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
		out = nil
		for _, id := range []store.AccountID{"ann", "bob"} {
			accs, err := tx.Accounts(id)
			out = append(out, fmt.Sprint(accs, err))
			all := store.Since{Tombstones: true}
			for mb, err := range tx.Mailboxes(id, all) {
				out = append(out, fmt.Sprint(mb, err))
			}
			for m, err := range tx.Changed(id, 0) {
				out = append(out, fmt.Sprint(m, err))
				for c, err := range tx.Cold(id, m.ID) {
					out = append(out, fmt.Sprint(c, err))
				}
			}
			for o, err := range tx.Objects(id, store.ObjectQuery{Since: all}) {
				out = append(out, fmt.Sprint(o, err))
			}
		}
		return nil
	}))
	return out
}

func (b *bench) unchanged(before []string, what string) {
	b.Helper()
	after := b.state()
	for i := range max(len(before), len(after)) {
		was, is := "nothing", "nothing"
		if i < len(before) {
			was = before[i]
		}
		if i < len(after) {
			is = after[i]
		}
		if was != is {
			b.Fatalf("%s failed and left\n%s\ninstead of\n%s", what, is, was)
		}
	}
}

// A write is a change that works when it is made after those before it.
type write struct {
	what string
	do   func() error
}

func (b *bench) writes() []write {
	b.Helper()
	b.Keep = time.Hour
	box, team := b.target("Box"), b.team("Team", 3)
	bobs := b.in("bob", "Own").Mailbox
	ann, bob := b.As("ann"), b.As("bob")
	n := 0
	return []write{
		{"Deliver", func() error {
			n++
			_, err := b.Deliver(b.Context(), store.Delivery{Key: fmt.Sprint("f", n), Blob: hello, Targets: []store.Target{
				{Account: "bob", Role: "junk"}, {Account: "ann", Index: 1, Mailbox: fmt.Sprint("New/", n), Create: true, Flags: []string{fmt.Sprint("k", n)}},
			}})
			return err
		}},
		{"Append", func() error {
			_, err := bob.Append(b.Context(), team, store.Append{Blob: hello, Flags: []string{`\Seen`, "x"}}, store.Append{Blob: hello})
			return err
		}},
		{"Replace", func() error {
			_, err := bob.Replace(b.Context(), team, 4, bobs, store.Append{Blob: hello, Flags: []string{`\Seen`, "z"}})
			return err
		}},
		{"Copy", func() error { _, err := bob.Copy(b.Context(), team, bobs, 1, 2); return err }},
		{"Move", func() error { _, err := bob.Move(b.Context(), bobs, team, 1, 2, 3, 4, 5); return err }},
		{"Rearrange", func() error { _, err := ann.Move(b.Context(), team, box, 2); return err }},
		{"SetFlags", func() error {
			_, _, err := bob.SetFlags(b.Context(), team, store.FlagChange{Add: []string{`\Seen`, "y"}}, 1, 3)
			return err
		}},
		{"Expunge", func() error { _, err := bob.Expunge(b.Context(), team, 1); return err }},
		{"Restore", func() error { _, err := ann.Restore(b.Context(), box, 2); return err }},
		{"Create", func() error { n++; _, err := ann.Create(b.Context(), fmt.Sprint("a/b/", n), ""); return err }},
		{"Rename", func() error { n++; return ann.Rename(b.Context(), box, fmt.Sprint("c/", n)) }},
		{"Grant", func() error { n++; return ann.Grant(b.Context(), box, store.AccountID(fmt.Sprint("c", n)), "lr") }},
		{"Object", func() error {
			_, err := ann.PutObject(b.Context(), store.Object{Kind: "k", ID: "1", Data: []byte{1}})
			return err
		}},
		{"Delete", func() error { return ann.Delete(b.Context(), team) }},
	}
}

// failing is a Backend whose Updates fail when all is done.
type failing struct{ store.Backend }

func (f failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	return f.Backend.Update(ctx, func(tx store.Tx) error { return errors.Join(fn(tx), errBoom) })
}

func testFailedCommit(b *bench) {
	real := b.Backend
	for _, w := range b.writes() {
		before := b.state()
		b.Backend = failing{real}
		b.is(w.do(), errBoom, w.what)
		b.Backend = real
		b.unchanged(before, w.what)
		b.must(w.do())
	}
	b.recount("ann")
	b.recount("bob")
}

// breakingTx fails at the nth write.
type breakingTx struct {
	store.Tx
	left *int
}

func (t breakingTx) hit() error {
	if *t.left--; *t.left == 0 {
		return errBoom
	}
	return nil
}

func (t breakingTx) PutAccount(a store.Account) error {
	return errors.Join(t.Tx.PutAccount(a), t.hit())
}
func (t breakingTx) PutMailbox(mb *store.Mailbox) error {
	return errors.Join(t.Tx.PutMailbox(mb), t.hit())
}
func (t breakingTx) PutMessages(ms []store.Message) error {
	return errors.Join(t.Tx.PutMessages(ms), t.hit())
}
func (t breakingTx) PutCold(cs []store.Cold) error { return errors.Join(t.Tx.PutCold(cs), t.hit()) }
func (t breakingTx) PutObject(o store.Object) error {
	return errors.Join(t.Tx.PutObject(o), t.hit())
}
func (t breakingTx) PutPlaced(k store.DeliveryKey, p store.Placed, at time.Time) error {
	return errors.Join(t.Tx.PutPlaced(k, p, at), t.hit())
}

func testFailedWrites(b *bench) {
	real := b.Backend
	for _, w := range b.writes() {
		before := b.state()
		for n := 1; ; n++ {
			left := n
			b.Backend = wrapped{real, func(tx store.Tx) store.Tx { return breakingTx{tx, &left} }}
			err := w.do()
			b.Backend = real
			if err == nil {
				break // there are fewer writes than n
			}
			if what := fmt.Sprint(w.what, " at write ", n); !errors.Is(err, errBoom) {
				b.Fatalf("%s: %v", what, err)
			} else {
				b.unchanged(before, what)
			}
		}
	}
	b.recount("ann")
	b.recount("bob")
}

// faulty is a blob.Store whose operations fail when told.
type faulty struct {
	blob.Store
	fail string
}

func (f *faulty) err(op string) error {
	if f.fail == op {
		return errBoom
	}
	return nil
}

func (f *faulty) Touch(ctx context.Context, refs ...blob.Ref) error {
	if err := f.err("touch"); err != nil {
		return err
	}
	return f.Store.Touch(ctx, refs...)
}

func (f *faulty) Open(ctx context.Context, ref blob.Ref, off, n int64) (io.ReadCloser, error) {
	if err := f.err("open"); err != nil {
		return nil, err
	}
	rc, err := f.Store.Open(ctx, ref, off, n)
	if err == nil && f.fail == "read" {
		rc = struct {
			io.Reader
			io.Closer
		}{broken{}, rc}
	}
	return rc, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBoom }

func testFailedBlobs(b *bench) {
	b.raw = true
	all := map[string]func() error{}
	for _, w := range b.writes() {
		all[w.what] = w.do
	}
	f := &faulty{Store: b.Blobs}
	b.Blobs = f
	for _, tt := range []struct{ fail, what string }{
		{"touch", "Copy"}, {"touch", "Move"}, {"touch", "Restore"}, {"open", "Append"}, {"read", "Append"}, {"open", "Replace"},
	} {
		before := b.state()
		f.fail = tt.fail
		b.is(all[tt.what](), errBoom, tt.what)
		f.fail = ""
		b.unchanged(before, tt.what)
	}
	p := b.in("ann", "INBOX")
	b.clock.Advance(3 * time.Hour) // the blob is lost, against all promises
	if _, err := f.DeleteOlder(b.Context(), b.clock.Now(), hello.Ref); err != nil {
		b.Fatal(err)
	}
	before := b.state()
	_, err := b.As("ann").Copy(b.Context(), p.Mailbox, p.Mailbox, p.UID)
	b.is(err, blob.ErrNotFound, "copying what has no blob")
	b.unchanged(before, "a copy of what has no blob")
	_, _, err = b.As("ann").Open(b.Context(), p.Mailbox, p.UID)
	b.is(err, blob.ErrNotFound, "opening what has no blob")
}

// testSweepRaces runs sweeps beside everything that names a blob.
func testSweepRaces(b *bench) {
	const grace = time.Hour
	b.Keep = 3 * grace
	ann := b.As("ann")
	in, other := b.box("ann", "Here").ID, b.box("ann", "There").ID
	for round := range 25 {
		text := fmt.Sprint("round ", round)
		info := b.blob(text)
		ps, err := ann.Append(b.Context(), in, store.Append{Blob: info})
		b.must(err)
		uid := ps[0].UID
		if round%3 == 0 { // only what can be restored names it
			_, err := ann.Expunge(b.Context(), in, uid)
			b.must(err)
		}
		b.clock.Advance(2 * grace)
		var wg sync.WaitGroup
		sweep := func() {
			if _, err := blob.Sweep(b.Context(), b.Blobs, b.clock.Now(), grace, b.Store); err != nil {
				b.Error(err)
			}
		}
		wg.Go(sweep)
		wg.Go(func() {
			var err error
			switch round % 3 {
			case 0:
				_, err = ann.Restore(b.Context(), in, uid)
			case 1:
				_, err = ann.Copy(b.Context(), in, other, uid)
				if err == nil {
					_, err = ann.Expunge(b.Context(), in, uid)
				}
			case 2:
				_, err = ann.Move(b.Context(), in, other, uid)
			}
			if err != nil {
				b.Error(err)
			}
		})
		wg.Go(func() { // the same bytes arrive again
			w, err := b.Blobs.Create(b.Context())
			if err != nil {
				b.Error(err)
				return
			}
			defer w.Close()
			_, err = io.WriteString(w, text)
			again, err2 := w.Commit()
			if err := errors.Join(err, err2); err != nil {
				b.Error(err)
				return
			}
			if _, err := b.Deliver(b.Context(), store.Delivery{Blob: again, Targets: []store.Target{{Account: "bob"}}}); err != nil {
				b.Error(err)
			}
		})
		wg.Wait()
		sweep()
	}
	for _, id := range []store.AccountID{"ann", "bob"} {
		fs, err := b.As(id).Folders(b.Context())
		b.must(err)
		for _, f := range fs {
			_, ms := b.scan(b.As(id), f.ID, store.Query{})
			for _, m := range ms {
				rc, err := b.Open(b.Context(), m)
				if err != nil {
					b.Errorf("a message without its blob: %+v: %v", m, err)
					continue
				}
				rc.Close()
			}
		}
	}
	for _, f := range []store.MailboxID{in, other} { // and all goes in the end
		_, ms := b.scan(ann, f, store.Query{})
		for _, m := range ms {
			_, err := ann.Expunge(b.Context(), f, m.UID)
			b.must(err)
		}
	}
	_, err := b.DeleteAccount(b.Context(), "bob", 1_000)
	b.must(err)
	b.clock.Advance(b.Keep + 2*grace)
	if n, err := blob.Sweep(b.Context(), b.Blobs, b.clock.Now(), grace, b.Store); err != nil || n < 25 {
		b.Errorf("in the end %d blobs were swept, %v", n, err)
	}
	for info, err := range b.Blobs.List(b.Context()) {
		b.Errorf("left %+v, %v", info, err)
	}
}
