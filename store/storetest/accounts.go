package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

var accountTests = []test{
	{"DeletedAccountsGoInSteps", testDeleteAccount},
	{"DeletedAccountsStayDeleted", testStayDeleted},
	{"ForgetKeepsWhatCanBeRestored", testForget},
}

// wrapped is a Backend whose transactions are watched.
type wrapped struct {
	store.Backend
	wrap func(store.Tx) store.Tx
}

func (w wrapped) Update(ctx context.Context, fn func(store.Tx) error) error {
	return w.Backend.Update(ctx, func(tx store.Tx) error { return fn(w.wrap(tx)) })
}

// droppingTx notes how much each Drop removed.
type droppingTx struct {
	store.Tx
	steps *[]int
}

func (d droppingTx) Drop(id store.AccountID, max int) (int, error) {
	n, err := d.Tx.Drop(id, max)
	*d.steps = append(*d.steps, n)
	return n, err
}

func testDeleteAccount(b *bench) {
	for i := range 30 {
		b.mail("ann", fmt.Sprintf("Message-ID: <%d@x>", i))
		b.mail("bob", fmt.Sprintf("Message-ID: <%d@x>", i))
	}
	team := b.team("Team", 5)
	b.see("bob", team, 1, 2)
	seq := b.account("ann").ModSeq
	bobs := b.account("bob")
	var steps []int
	b.Backend = wrapped{b.Backend, func(tx store.Tx) store.Tx { return droppingTx{tx, &steps} }}
	more := true
	for n := 0; more; n++ {
		var err error
		if more, err = b.DeleteAccount(b.Context(), "ann", 10); err != nil || n > 100 {
			b.Fatalf("step %d: %v", n, err)
		}
		_, _, err = b.As("ann").Select(b.Context(), team)
		b.is(err, store.ErrNotFound, "a mailbox of a deleted account")
	}
	total := 0
	for i, n := range steps {
		if total += n; n > 10 || n < 10 && i < len(steps)-1 {
			b.Errorf("step %d removed %d rows", i, n)
		}
	}
	if total < 30*3+5 {
		b.Errorf("%d rows went", total)
	}
	b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
		for m := range tx.Changed("ann", 0) {
			b.Errorf("left %+v", m)
		}
		for o := range tx.Objects("ann", store.ObjectQuery{Since: store.Since{Tombstones: true}}) {
			b.Errorf("left %+v", o)
		}
		for mb := range tx.Mailboxes("ann", store.Since{Tombstones: true}) {
			b.Errorf("left %+v", mb)
		}
		return nil
	}))
	if acc := b.account("ann"); acc.ModSeq <= seq || acc.Bytes != 0 || acc.Messages != 0 || !acc.Deleted {
		b.Errorf("the account is %+v", acc)
	}
	if got := b.account("bob"); got != bobs {
		b.Errorf("bob became %+v, was %+v", got, bobs)
	}
	if shared, err := b.As("bob").Shared(b.Context()); err != nil || len(shared) != 0 {
		b.Errorf("bob still sees %+v, %v", shared, err)
	}
	for _, err := range b.Follow(b.Context(), "ann", seq) {
		b.is(err, store.ErrNotFound, "following")
	}
	b.recount("bob")
}

func testStayDeleted(b *bench) {
	p := b.deliver("k", "ann")[0]
	team := b.box("bob", "Team").ID
	b.must(b.As("bob").Grant(b.Context(), team, "ann", store.AllRights))
	_, err := b.DeleteAccount(b.Context(), "ann", 1)
	b.must(err)
	ann := b.As("ann")
	out, err := b.Deliver(b.Context(), store.Delivery{Key: "k", Blob: hello, Targets: []store.Target{{Account: "ann"}, {Account: "bob", Index: 1}}})
	b.must(err)
	b.is(out[0].Err, store.ErrNotFound, "delivery")
	b.is(out[1].Err, nil, "delivery to bob")
	_, err = ann.Create(b.Context(), "x", "")
	b.is(err, store.ErrNotFound, "creating a mailbox")
	_, err = ann.Folders(b.Context())
	b.is(err, store.ErrNotFound, "listing")
	_, err = ann.PutObject(b.Context(), store.Object{Kind: "k", ID: "1"})
	b.is(err, store.ErrNotFound, "writing an object")
	_, err = ann.Expunge(b.Context(), p.Mailbox, p.UID)
	b.is(err, store.ErrNotFound, "expunging")
	b.is(b.As("bob").Grant(b.Context(), team, "ann", ""), nil, "ending what it was granted")
	more, err := b.DeleteAccount(b.Context(), "ann", 1000)
	if b.must(err); more {
		b.Error("more is left")
	}
	if more, err := b.DeleteAccount(b.Context(), "never was", 10); err != nil || more {
		b.Errorf("deleting what never was: %v, %v", more, err)
	}
}

func testForget(b *bench) {
	b.Keep = time.Hour
	ann := b.As("ann")
	p := b.deliver("", "ann", "ann", "ann")
	in := p[0].Mailbox
	_, err := ann.Expunge(b.Context(), in, 1)
	b.must(err)
	b.clock.Advance(30 * time.Minute)
	_, err = ann.Expunge(b.Context(), in, 2)
	b.must(err)
	now := b.account("ann").ModSeq
	left := func() int {
		b.must(b.Forget(b.Context(), "ann", now))
		if acc := b.account("ann"); acc.Horizon != now || acc.ModSeq != now {
			b.Errorf("after Forget %+v", acc)
		}
		return len(b.messages(in, true))
	}
	if n := left(); n != 3 {
		b.Errorf("%d rows at first", n)
	}
	b.clock.Advance(30 * time.Minute)
	if n := left(); n != 2 {
		b.Errorf("%d rows after the first one's time", n)
	}
	b.clock.Advance(30 * time.Minute)
	if n := left(); n != 1 {
		b.Errorf("%d rows after the second one's time", n)
	}
	b.must(b.Forget(b.Context(), "ann", 1)) // the horizon never goes back
	if acc := b.account("ann"); acc.Horizon != now {
		b.Errorf("the horizon went back to %d", acc.Horizon)
	}
	b.must(b.Forget(b.Context(), "ann", now+100))
	if acc := b.account("ann"); acc.Horizon != now {
		b.Errorf("the horizon went ahead to %d", acc.Horizon)
	}
}
