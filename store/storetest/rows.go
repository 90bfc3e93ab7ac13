package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

var rowTests = []test{
	{"UIDsOnlyGrow", testUIDs},
	{"UIDsEndWithAnError", testUIDsEnd},
	{"UIDValidityNeverRepeats", testUIDValidity},
	{"UpdateIsAllOrNothing", testAtomic},
	{"PanicInAnUpdateChangesNothing", testPanic},
	{"UpdatesMayRunAgain", testAgain},
	{"WriteWhileReading", testWriteWhileReading},
	{"QueriesSelectByUIDAndModSeq", testQueries},
	{"SnapshotsAreConsistent", testSnapshot},
	{"RowsSurviveReopen", testReopen},
	{"HeldBlobsAreReferenced", testUnreferenced},
	{"NotesExpireInSteps", testExpire},
}

func testUIDs(b *bench) {
	p := b.deliver("", "ann")[0]
	_, err := b.As("ann").Expunge(b.Context(), p.Mailbox, p.UID)
	b.must(err)
	if q := b.deliver("", "ann")[0]; q.UID <= p.UID || q.UIDValidity != p.UIDValidity || q.ID == p.ID {
		b.Errorf("after expunging %+v got %+v, want a larger UID and a new ID", p, q)
	}
}

func testUIDValidity(b *bench) {
	ann := b.As("ann")
	given := map[uint32]store.MailboxID{}
	last := uint32(0)
	for i, d := range []time.Duration{0, 0, -time.Hour, 2 * time.Hour, 0, -60 * 365 * 24 * time.Hour, 250 * 365 * 24 * time.Hour} {
		b.clock.Advance(d)
		mb, err := ann.Create(b.Context(), "Same", "")
		b.must(err)
		if mb.UIDValidity <= last || mb.UIDNext != 1 || mb.UIDValidity > math.MaxInt32 || given[mb.UIDValidity] != 0 {
			b.Errorf("UIDVALIDITY %d after %d", mb.UIDValidity, last)
		}
		last = mb.UIDValidity
		given[last] = mb.ID
		_, err = ann.Create(b.Context(), "Same", "")
		b.is(err, store.ErrExists, "a second mailbox of the name")
		if i%2 == 0 {
			b.must(ann.Delete(b.Context(), mb.ID))
			continue
		}
		b.must(ann.Rename(b.Context(), mb.ID, fmt.Sprint("Old ", i)))
		if now := b.mailbox(mb.ID); now.UIDValidity != mb.UIDValidity || now.ID != mb.ID {
			b.Errorf("renamed from %+v to %+v", mb, now)
		}
	}
}

func testAtomic(b *bench) {
	boom := errors.New("boom")
	p := b.deliver("", "ann")[0]
	before, mb := b.account("ann"), b.mailbox(p.Mailbox)
	err := b.Backend.Update(b.Context(), func(tx store.Tx) error {
		dead := mb
		dead.Deleted = true
		return errors.Join(
			tx.PutAccount(store.Account{ID: "ann", ModSeq: 100}),
			tx.PutMailbox(&dead),
			tx.PutMessages([]store.Message{
				{Account: "ann", Mailbox: mb.ID, UID: p.UID, ID: p.ID, Expunged: true, ModSeq: 100},
				{Account: "ann", Mailbox: mb.ID, UID: 99, ModSeq: 100},
			}),
			tx.PutObject(store.Object{Account: "ann", Kind: "k", ID: "1", ModSeq: 100}),
			tx.PutPlaced(store.DeliveryKey{Key: "never"}, p, b.clock.Now()),
			boom)
	})
	if !errors.Is(err, boom) {
		b.Fatalf("Update returned %v, want %v", err, boom)
	}
	if got := b.account("ann"); got != before {
		b.Errorf("a failed Update left %+v, want %+v", got, before)
	}
	if got := b.mailbox(mb.ID); got != mb {
		b.Errorf("a failed Update left %+v, want %+v", got, mb)
	}
	if ms := b.messages(mb.ID, true); len(ms) != 1 || ms[0].Expunged {
		b.Errorf("a failed Update left %+v", ms)
	}
	b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
		for o := range tx.Objects("ann", store.ObjectQuery{}) {
			b.Errorf("a failed Update left %+v", o)
		}
		if m, err := tx.MessageByID("ann", p.ID); err != nil || m.UID != p.UID {
			b.Errorf("a failed Update left %+v, %v", m, err)
		}
		_, ok, err := tx.Placed(store.DeliveryKey{Key: "never"})
		if ok {
			b.Error("a failed Update left a delivery key")
		}
		return err
	}))
}

func testWriteWhileReading(b *bench) {
	b.raw = true
	p := b.deliver("", "ann", "ann")[0]
	b.must(b.Backend.Update(b.Context(), func(tx store.Tx) error {
		n := 0
		for m, err := range tx.Messages(p.Mailbox, store.Query{}) {
			if err != nil {
				return err
			}
			n++
			m.Flags = []string{`\Seen`}
			if err := tx.PutMessages([]store.Message{m}); err != nil {
				return err
			}
		}
		if n != 2 {
			b.Errorf("saw %d messages, want 2", n)
		}
		return nil
	}))
}

func testUnreferenced(b *bench) {
	b.Keep = time.Hour
	kept := b.blob("kept")
	inObject, nobody := b.blob("object"), b.blob("nobody")
	p := b.place(store.Delivery{Blob: kept, Targets: []store.Target{{Account: "ann"}}})[0]
	_, err := b.PutObject(b.Context(), store.Object{Account: "ann", Kind: "upload", ID: "1", Blob: inObject.Ref})
	b.must(err)
	free := func() string {
		refs, err := b.Unreferenced(b.Context(), []blob.Ref{kept.Ref, inObject.Ref, nobody.Ref})
		b.must(err)
		return fmt.Sprint(refs)
	}
	if got := free(); got != fmt.Sprint([]blob.Ref{nobody.Ref}) {
		b.Errorf("unreferenced: %s", got)
	}
	_, err = b.As("ann").Expunge(b.Context(), p.Mailbox, p.UID)
	b.must(err)
	b.must(b.Forget(b.Context(), "ann", b.account("ann").ModSeq))
	if got := free(); got != fmt.Sprint([]blob.Ref{nobody.Ref}) {
		b.Errorf("what can be restored counts as unreferenced: %s", got)
	}
	_, err = b.PutObject(b.Context(), store.Object{Account: "ann", Kind: "upload", ID: "1", Deleted: true})
	b.must(err)
	b.clock.Advance(time.Hour)
	if got := free(); got != fmt.Sprint([]blob.Ref{kept.Ref, inObject.Ref, nobody.Ref}) {
		b.Errorf("afterwards unreferenced: %s", got)
	}
}

func testUIDsEnd(b *bench) {
	p := b.deliver("", "ann")[0]
	b.must(b.Backend.Update(b.Context(), func(tx store.Tx) error {
		_, err := tx.Accounts("ann")
		if err != nil {
			return err
		}
		mb, err := tx.Mailbox(p.Mailbox)
		mb.UIDNext = math.MaxUint32
		return errors.Join(err, tx.PutMailbox(&mb))
	}))
	out, err := b.Deliver(b.Context(), store.Delivery{Blob: hello, Targets: []store.Target{{Account: "ann"}, {Account: "bob"}}})
	b.must(err)
	b.is(out[0].Err, store.ErrLimit, "delivery to a mailbox whose UIDs are used up")
	b.is(out[1].Err, nil, "delivery to another")
	if mb := b.mailbox(p.Mailbox); mb.Messages != 1 || mb.UIDNext != math.MaxUint32 {
		b.Errorf("left %+v", mb)
	}
}

func testPanic(b *bench) {
	p := b.deliver("", "ann")[0]
	func() {
		defer func() { _ = recover() }()
		_ = b.Backend.Update(b.Context(), func(tx store.Tx) error {
			if err := tx.PutAccount(store.Account{ID: "ann", ModSeq: 100}); err != nil {
				return err
			}
			panic("boom")
		})
		b.Error("a panic did not reach the caller")
	}()
	if got := b.account("ann"); got.ModSeq != 1 {
		b.Errorf("left %+v", got)
	}
	if _, err := b.As("ann").Expunge(b.Context(), p.Mailbox, p.UID); err != nil {
		b.Errorf("the next Update: %v", err)
	}
}

// again runs every Update twice, the first time for nothing, as a backend does
// whose transaction met another.
type again struct{ store.Backend }

var errAgain = errors.New("again")

func (a again) Update(ctx context.Context, fn func(store.Tx) error) error {
	var first error
	err := a.Backend.Update(ctx, func(tx store.Tx) error {
		if first = fn(tx); first != nil {
			return first
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return err
	}
	return a.Backend.Update(ctx, fn)
}

func (a again) View(ctx context.Context, fn func(store.Tx) error) error {
	if err := a.Backend.View(ctx, fn); err != nil {
		return err
	}
	return a.Backend.View(ctx, fn)
}

func testAgain(b *bench) {
	b.Backend = again{b.Backend}
	b.Keep = time.Hour
	bob := b.box("bob", "Theirs")
	ann := b.As("ann")
	b.must(b.As("bob").Grant(b.Context(), bob.ID, "ann", store.AllRights))
	p := b.deliver("k", "ann", "ann", "bob")
	b.deliver("k", "ann", "ann", "bob")
	in := p[0].Mailbox
	ps, err := ann.Append(b.Context(), in, store.Append{Blob: hello, Flags: []string{"work"}}, store.Append{Blob: hello})
	b.must(err)
	changed, _, err := ann.SetFlags(b.Context(), in, store.FlagChange{Add: []string{"a"}}, 1, 2, 3)
	b.must(err)
	copied, err := ann.Copy(b.Context(), in, bob.ID, 1, 2)
	b.must(err)
	moved, err := ann.Move(b.Context(), in, bob.ID, 1)
	b.must(err)
	gone, err := ann.Expunge(b.Context(), in, 2, 3)
	b.must(err)
	back, err := ann.Restore(b.Context(), in, 2, 3)
	b.must(err)
	b.must(ann.Rename(b.Context(), in, "a/b/c"))
	if len(ps) != 2 || len(changed) != 3 || len(copied) != 2 || len(moved) != 1 || len(gone) != 2 || len(back) != 2 {
		b.Errorf("results of two runs: %+v %+v %+v %+v %+v %+v", ps, changed, copied, moved, gone, back)
	}
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "a", "a/b", "a/b/c"}) {
		b.Errorf("mailboxes %q", got)
	}
	fs, err := ann.Folders(b.Context())
	b.must(err)
	if len(fs) != 4 || fs[3].Messages != 3 || b.mailbox(bob.ID).Messages != 3 {
		b.Errorf("got %+v and %+v", fs, b.mailbox(bob.ID))
	}
	b.recount("ann")
	b.recount("bob")
}

func testQueries(b *bench) {
	p := b.deliver("", "ann", "ann", "ann", "ann", "ann")
	box := p[0].Mailbox
	_, err := b.As("ann").Expunge(b.Context(), box, 2)
	b.must(err)
	_, _, err = b.As("ann").SetFlags(b.Context(), box, store.FlagChange{Add: []string{"x"}}, 4)
	b.must(err)
	for _, tt := range []struct {
		q    store.Query
		want string
	}{
		{store.Query{}, "[1 3 4 5]"},
		{store.Query{First: 3}, "[3 4 5]"},
		{store.Query{Last: 3}, "[1 3]"},
		{store.Query{First: 2, Last: 2}, "[]"},
		{store.Query{First: 4, Last: 3}, "[]"},
		{store.Query{First: 9}, "[]"},
		{store.Query{Since: store.Since{Tombstones: true}}, "[1 2 3 4 5]"},
		{store.Query{Since: store.Since{Tombstones: true}, First: 2, Last: 3}, "[2 3]"},
		{store.Query{Since: store.Since{After: 1}}, "[4]"},
		{store.Query{Since: store.Since{After: 1, Tombstones: true}}, "[2 4]"},
		{store.Query{Since: store.Since{After: 2, Tombstones: true}, Last: 4}, "[4]"},
	} {
		var uids []store.UID
		b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
			uids = nil
			var whole []string
			for m, err := range tx.Messages(box, tt.q) {
				if err != nil {
					return err
				}
				uids = append(uids, m.UID)
				whole = append(whole, fmt.Sprint(m.Account, m.Mailbox, m.UID, m.ModSeq, m.Flags, m.Expunged))
			}
			brief := tt.q
			brief.Brief = true
			i := 0
			for m, err := range tx.Messages(box, brief) {
				if err != nil {
					return err
				}
				if got := fmt.Sprint(m.Account, m.Mailbox, m.UID, m.ModSeq, m.Flags, m.Expunged); i == len(whole) || got != whole[i] {
					b.Errorf("%+v gives %s in brief, want %v", tt.q, got, whole)
					break
				}
				i++
			}
			return nil
		}))
		if got := fmt.Sprint(uids); got != tt.want {
			b.Errorf("%+v gives %s, want %s", tt.q, got, tt.want)
		}
	}
	b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
		_, err := tx.MailboxByName("ann", "INBOX")
		b.is(err, nil, "the mailbox by name")
		_, err = tx.MailboxByName("bob", "INBOX")
		b.is(err, store.ErrNotFound, "another's mailbox by name")
		_, err = tx.MailboxByName("ann", "inbox")
		b.is(err, store.ErrNotFound, "the mailbox by a name in other case")
		return nil
	}))
}

func testSnapshot(b *bench) {
	box := b.deliver("", "ann", "ann")[0].Mailbox
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // keeps two messages with the same flags
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, _, err := b.As("ann").SetFlags(b.Context(), box, store.FlagChange{Replace: true, Add: []string{fmt.Sprint("k", i%9)}}, 1, 2); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for range 100 {
		mb, ms := b.scan(b.As("ann"), box, store.Query{})
		if len(ms) != 2 || !slices.Equal(ms[0].Flags, ms[1].Flags) || ms[0].ModSeq != ms[1].ModSeq || mb.ModSeq != ms[0].ModSeq {
			b.Errorf("saw a half of a change: %+v %+v", mb, ms)
		}
	}
	close(stop)
	wg.Wait()
}

func testReopen(b *bench) {
	if b.o.Reopen == nil {
		b.Skip("no Reopen")
	}
	b.Keep = time.Hour
	d := store.Delivery{Key: "q1", Blob: hello, Targets: []store.Target{{Account: "ann", Prefix: []byte("A: 1\r\n"), Flags: []string{"Work", `\Seen`}}}}
	d.Cold.Preview = []byte("hi")
	p := b.place(d)[0]
	sub := b.box("ann", "Sub")
	b.must(b.As("ann").SetRole(b.Context(), sub.ID, "archive"))
	gone := b.in("ann", "Sub")
	_, err := b.As("ann").Expunge(b.Context(), gone.Mailbox, gone.UID)
	b.must(err)
	b.must(b.As("ann").Grant(b.Context(), sub.ID, "bob", "lrs"))
	_, err = b.PutObject(b.Context(), store.Object{Account: "ann", Kind: "script", ID: "1", Data: []byte("keep;\x00"), Blob: hello.Ref})
	b.must(err)
	read := func() (out []string) {
		b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
			out = nil
			accs, err := tx.Accounts("ann", "bob", "nobody")
			out = append(out, fmt.Sprintf("%+v", accs))
			for mb, err := range tx.Mailboxes("ann", store.Since{Tombstones: true}) {
				b.must(err)
				out = append(out, fmt.Sprintf("%+v", mb))
			}
			for m, err := range tx.Changed("ann", 0) {
				b.must(err)
				m.Received, m.Saved, m.KeepUntil = m.Received.UTC(), m.Saved.UTC(), m.KeepUntil.UTC()
				out = append(out, fmt.Sprintf("%+v", m))
				for c, err := range tx.Cold("ann", m.ID) {
					b.must(err)
					out = append(out, fmt.Sprintf("%+v", c))
				}
			}
			for _, id := range []store.AccountID{"ann", "bob"} {
				for o, err := range tx.Objects(id, store.ObjectQuery{}) {
					b.must(err)
					out = append(out, fmt.Sprintf("%+v", o))
				}
			}
			return err
		}))
		return out
	}
	before := read()
	b.Store = &store.Store{Backend: b.o.Reopen(b.T, b.Backend), Blobs: b.Blobs, Clock: b.clock, Keep: b.Keep}
	for i, got := range read() {
		if got != before[i] {
			b.Errorf("reopened as\n%s\nwant\n%s", got, before[i])
		}
	}
	if q := b.place(d)[0]; q != p {
		b.Errorf("a repeat after reopening went to %+v, want %+v", q, p)
	}
	if q := b.in("ann", "Sub"); q.ID <= gone.ID || q.UID <= gone.UID || q.UIDValidity != gone.UIDValidity {
		b.Errorf("after reopening got %+v, before %+v", q, gone)
	}
	if mb := b.box("ann", "New"); mb.ID <= sub.ID || mb.UIDValidity <= sub.UIDValidity {
		b.Errorf("after reopening got %+v, before %+v", mb, sub)
	}
	b.recount("ann")
}

func testExpire(b *bench) {
	for i := range 10 {
		b.deliver(fmt.Sprint("k", i), "ann")
	}
	more, err := b.Expire(b.Context(), 4)
	if b.must(err); more {
		b.Error("something expired at once")
	}
	b.clock.Advance(31 * 24 * time.Hour)
	steps := 0
	for more := true; more; steps++ {
		more, err = b.Expire(b.Context(), 4)
		b.must(err)
	}
	if steps != 3 {
		b.Errorf("10 notes went in %d steps of 4, want 3", steps)
	}
	if p := b.deliver("k1", "ann")[0]; p.UID != 11 {
		b.Errorf("an expired key still found %+v", p)
	}
}
