package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/store"
)

var flagRunTests = []test{
	{"FlagsOfManyAgreeWithAModel", testFlagRuns},
	{"FlagsOfManyTouchNoTombstones", testFlagRunsLive},
	{"FlagsThatAreKnown", testKnownFlags},
	{"FlagsOfManyGoWithTheAccount", testFlagRunsDrop},
}

// fill files n messages in a mailbox.
func (b *bench) fill(a *store.Access, id store.MailboxID, n int) {
	b.Helper()
	for n > 0 {
		ms := make([]store.Append, min(n, 500))
		for i := range ms {
			ms[i] = store.Append{Blob: hello}
		}
		_, err := a.Append(b.Context(), id, ms...)
		b.must(err)
		n -= len(ms)
	}
}

func uidRange(first, last store.UID) (uids []store.UID) {
	for u := first; u <= last; u++ {
		uids = append(uids, u)
	}
	return uids
}

// testFlagRuns changes flags of many and of few, moves and expunges, and compares
// all ways to read them with what they should be.
func testFlagRuns(b *bench) {
	const n = 3000
	rnd := rand.New(rand.NewPCG(3, 4))
	ann := b.As("ann")
	id, other := b.box("ann", "Big").ID, b.box("ann", "Other").ID
	b.fill(ann, id, n)
	type state struct {
		flags string
		seq   store.ModSeq
	}
	want := map[store.UID]state{}
	for _, m := range b.messages(id, false) {
		want[m.UID] = state{"", m.ModSeq}
	}
	long := strings.Repeat("k", 60)
	var feed []store.ModSeq
	for step := range 60 {
		feed = append(feed, b.account("ann").ModSeq)
		f := []string{`\Flagged`, `\Seen`, "work", fmt.Sprint(long, step%7)}[rnd.IntN(4)]
		add := rnd.IntN(3) > 0
		var uids []store.UID
		switch rnd.IntN(6) {
		case 0, 1: // a stretch
			first := store.UID(1 + rnd.IntN(n))
			uids = uidRange(first, min(n, first+store.UID(rnd.IntN(1500))))
		case 2: // here and there, so that runs are many
			for u := store.UID(1 + rnd.IntN(3)); u <= n; u += store.UID(2 + rnd.IntN(3)) {
				uids = append(uids, u)
			}
		case 3:
			uids = []store.UID{store.UID(1 + rnd.IntN(n)), store.UID(1 + rnd.IntN(n))}
		case 4:
			u := store.UID(1 + rnd.IntN(n))
			_, err := ann.Expunge(b.Context(), id, u, u+1)
			b.must(err)
			delete(want, u)
			delete(want, u+1)
			continue
		case 5:
			u := store.UID(1 + rnd.IntN(n))
			was := want[u]
			moved, err := ann.Move(b.Context(), id, other, u)
			b.must(err)
			if len(moved) > 0 {
				delete(want, u)
				m, err := b.byID("ann", moved[0].ID)
				b.must(err)
				if got := strings.Join(m.Flags, " "); got != was.flags {
					b.Fatalf("%d had flags %q and was moved with %q", u, was.flags, got)
				}
			}
			continue
		}
		c := store.FlagChange{Add: []string{f}}
		if !add {
			c = store.FlagChange{Remove: []string{f}}
		}
		changed, _, err := ann.SetFlags(b.Context(), id, c, uids...)
		b.must(err)
		for _, m := range changed {
			want[m.UID] = state{strings.Join(m.Flags, " "), m.ModSeq}
		}
		if step%6 != 0 {
			continue
		}
		after := feed[rnd.IntN(len(feed))]
		if step%4 == 0 {
			after = 0
		}
		lo := store.UID(rnd.IntN(n))
		hi := lo + store.UID(rnd.IntN(n))
		check := func(how string, got []store.Message, first, last store.UID) {
			b.Helper()
			seen := 0
			for _, m := range got {
				if m.Expunged || m.Mailbox != id {
					continue
				}
				if w, ok := want[m.UID]; !ok || w.seq != m.ModSeq || w.flags != strings.Join(m.Flags, " ") {
					b.Fatalf("step %d, %s after %d: %d is %q at %d, want %+v", step, how, after, m.UID, m.Flags, m.ModSeq, w)
				}
				seen++
			}
			for u, w := range want {
				if w.seq > after && u >= first && u <= last {
					seen--
				}
			}
			if seen != 0 {
				b.Fatalf("step %d, %s after %d: %d too many", step, how, after, seen)
			}
		}
		for i := range 4 {
			dead, brief := i&1 > 0, i&2 > 0
			var got []store.Message
			b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
				got = nil
				for m, err := range tx.Messages(id, store.Query{Since: store.Since{After: after, Tombstones: dead}, First: lo, Last: hi, Brief: brief}) {
					if err != nil {
						return err
					}
					got = append(got, m)
				}
				return nil
			}))
			if !slices.IsSortedFunc(got, func(a, b store.Message) int { return int(a.UID) - int(b.UID) }) {
				b.Fatal("not in order of UID")
			}
			check("Messages", got, lo, hi)
		}
		var got []store.Message
		b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
			got = nil
			for m, err := range tx.Changed("ann", after) {
				if err != nil {
					return err
				}
				got = append(got, m)
			}
			return nil
		}))
		if !slices.IsSortedFunc(got, func(a, b store.Message) int { return int(a.ModSeq) - int(b.ModSeq) }) {
			b.Fatal("not in order of ModSeq")
		}
		check("Changed", got, 0, 1<<31)
	}
	for _, m := range b.messages(id, false)[:50] {
		one, err := b.byID("ann", m.ID)
		b.must(err)
		if one.ModSeq != m.ModSeq || !slices.Equal(one.Flags, m.Flags) {
			b.Fatalf("by ID %+v, in its mailbox %+v", one, m)
		}
	}
	b.recount("ann")
}

func (b *bench) byID(id store.AccountID, mid store.MessageID) (m store.Message, err error) {
	err = b.Backend.View(b.Context(), func(tx store.Tx) (err error) {
		m, err = tx.MessageByID(id, mid)
		return err
	})
	return m, err
}

func testFlagRunsLive(b *bench) {
	b.Keep = 1 << 40
	ann, id := b.As("ann"), b.box("ann", "Big").ID
	b.fill(ann, id, 100)
	_, err := ann.Expunge(b.Context(), id, 10, 20, 30)
	b.must(err)
	at := b.mailbox(id).ModSeq
	before := b.messages(id, true)
	_, _, err = ann.SetKnownFlags(b.Context(), id, at, store.FlagChange{Add: []string{`\Seen`}}, []store.KnownRun{{FlagRun: store.FlagRun{First: 1, Last: 100}, N: 97}})
	b.must(err)
	for i, m := range b.messages(id, true) {
		if was := before[i]; m.Expunged && (m.ModSeq != was.ModSeq || !slices.Equal(m.Flags, was.Flags)) || !m.Expunged && (m.ModSeq != at+1 || !slices.Equal(m.Flags, []string{`\Seen`})) {
			b.Errorf("%+v was %+v", m, was)
		}
	}
	var gone []store.UID
	b.must(b.Backend.View(b.Context(), func(tx store.Tx) (err error) {
		gone, err = tx.Vanished(id, at)
		return err
	}))
	if len(gone) != 0 {
		b.Errorf("%v vanished again", gone)
	}
	_, err = ann.Expunge(b.Context(), id, 40)
	b.must(err)
	if ms := b.messages(id, true); !ms[39].Expunged || ms[39].ModSeq != at+2 || !slices.Equal(ms[39].Flags, []string{`\Seen`}) {
		b.Errorf("expunged %+v", ms[39])
	}
	b.fill(ann, id, 1)
	if ms := b.messages(id, false); len(ms[len(ms)-1].Flags) != 0 {
		b.Errorf("a new message is %+v", ms[len(ms)-1])
	}
	b.recount("ann")
}

func testKnownFlags(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	id := b.box("ann", "Big").ID
	b.fill(ann, id, 50)
	b.must(ann.Grant(b.Context(), id, "bob", store.AllRights))
	at := b.mailbox(id).ModSeq
	run := func(first, last store.UID, flags ...string) []store.KnownRun {
		return []store.KnownRun{{FlagRun: store.FlagRun{First: first, Last: last, Flags: flags}, N: int(last-first) + 1}}
	}
	add := func(f ...string) store.FlagChange { return store.FlagChange{Add: f} }
	changed, mb, err := ann.SetKnownFlags(b.Context(), id, at, add("WORK", `\deleted`), run(1, 40))
	b.must(err)
	if mb != b.mailbox(id) || mb.ModSeq != at+1 || mb.Marked != 40 || mb.Unseen != 50 || len(changed) != 1 || !slices.Equal(changed[0].Flags, []string{"WORK", `\Deleted`}) {
		b.Errorf("changed %+v of %+v, there is %+v", changed, mb, b.mailbox(id))
	}
	b.recount("ann")
	before := b.state()
	for what, err := range map[string]error{
		"out of date": func() error {
			_, _, err := ann.SetKnownFlags(b.Context(), id, at, add(`\Seen`), run(1, 40))
			return err
		}(),
		"of another": func() error {
			_, _, err := bob.SetKnownFlags(b.Context(), id, mb.ModSeq, add(`\Seen`), run(1, 40))
			return err
		}(),
	} {
		b.is(err, store.ErrStale, what)
	}
	_, _, err = b.As("eve").SetKnownFlags(b.Context(), id, mb.ModSeq, add(`\Seen`), run(1, 40))
	b.is(err, store.ErrNotFound, "of a stranger")
	_, _, err = ann.SetKnownFlags(b.Context(), id, mb.ModSeq, add(`\Nonesuch`), run(1, 40))
	b.is(err, store.ErrInvalid, "a bad flag")
	changed, same, err := ann.SetKnownFlags(b.Context(), id, mb.ModSeq, add("work"), run(1, 40, "WORK", `\Deleted`))
	if err != nil || len(changed) != 0 || same != mb {
		b.Errorf("what is so already: %+v, %+v, %v", changed, same, err)
	}
	b.unchanged(before, "SetKnownFlags")
	if seen, err := ann.Keywords(b.Context(), id); err != nil || !slices.Equal(seen, []string{"WORK"}) {
		b.Errorf("keywords %q, %v", seen, err)
	}
	if got, err := ann.ExpungeMarked(b.Context(), id, uidRange(1, 50)...); err != nil || len(got) != 40 {
		b.Errorf("expunged %d, %v", len(got), err)
	}
	b.recount("ann")
}

func testFlagRunsDrop(b *bench) {
	ann, id := b.As("ann"), b.box("ann", "Big").ID
	b.fill(ann, id, 100)
	_, _, err := ann.SetFlags(b.Context(), id, store.FlagChange{Add: []string{`\Seen`}}, uidRange(1, 100)...)
	b.must(err)
	b.must(ann.Delete(b.Context(), id))
	b.must(b.Forget(b.Context(), "ann", b.account("ann").ModSeq))
	id = b.box("ann", "Big").ID
	b.fill(ann, id, 100)
	_, _, err = ann.SetFlags(b.Context(), id, store.FlagChange{Add: []string{`\Seen`}}, uidRange(1, 100)...)
	b.must(err)
	left := 1
	for range 100 {
		b.must(b.Backend.Update(b.Context(), func(tx store.Tx) (err error) {
			if _, err := tx.Accounts("ann"); err != nil {
				return err
			}
			left, err = tx.Drop("ann", 10)
			return err
		}))
		if left < 10 {
			break
		}
	}
	if left >= 10 {
		b.Error("something is left")
	}
	b.raw = true
}
