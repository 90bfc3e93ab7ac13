package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

var quotaTests = []test{
	{"MessagesAreLimitedAtEveryDoor", testMessageLimit},
	{"RacesDoNotPassTheLimit", testLimitRace},
	{"RoomIsAskedBefore", testRoom},
}

func (b *bench) limit(q mailkeel.Quota) {
	b.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) { return q, nil }
}

func testMessageLimit(b *bench) {
	ann := b.As("ann")
	box, other := b.box("ann", "Box").ID, b.box("ann", "Other").ID
	b.limit(mailkeel.Quota{Messages: 3})
	_, err := ann.Append(b.Context(), box, store.Append{Blob: hello}, store.Append{Blob: hello})
	b.must(err)
	_, err = ann.Append(b.Context(), box, store.Append{Blob: hello}, store.Append{Blob: hello})
	b.is(err, store.ErrOverQuota, "two where one has room")
	_, err = ann.Copy(b.Context(), box, other, 1, 2)
	b.is(err, store.ErrOverQuota, "two copies where one has room")
	if n := b.account("ann").Messages; n != 2 {
		b.Errorf("refused, and there are %d messages", n)
	}
	_, err = ann.Move(b.Context(), box, other, 1, 2)
	b.must(err) // needs no room
	b.deliver("", "ann")
	out, err := b.Deliver(b.Context(), store.Delivery{Blob: hello, Targets: []store.Target{{Account: "ann"}}})
	b.must(err)
	b.is(out[0].Err, store.ErrOverQuota, "a delivery to who is at the limit")
	b.Keep = 1 << 40
	_, err = ann.Expunge(b.Context(), other, 1)
	b.must(err)
	b.deliver("", "ann")
	_, err = ann.Restore(b.Context(), other, 1)
	b.is(err, store.ErrOverQuota, "restoring at the limit")
	b.limit(mailkeel.Quota{Messages: 2}) // fewer than there are
	_, err = ann.Append(b.Context(), box, store.Append{Blob: hello})
	b.is(err, store.ErrOverQuota, "above the limit")
	if u, err := b.Usage(b.Context(), "ann"); err != nil || u != (store.Usage{Bytes: 15, Messages: 3, MaxMessages: 2}) {
		b.Errorf("usage %+v, %v", u, err)
	}
	b.recount("ann")
}

// T21: twenty at the same time where there is room for one, in batches too.
func testLimitRace(b *bench) {
	for _, tt := range []struct {
		q    mailkeel.Quota
		each int // messages at a time
		want int
	}{
		{mailkeel.Quota{Messages: 4}, 1, 4},
		{mailkeel.Quota{Bytes: 20}, 1, 4},
		{mailkeel.Quota{Messages: 6}, 2, 5}, // 3 and one batch
		{mailkeel.Quota{Bytes: 34, Messages: 100}, 3, 6},
	} {
		b.Limit = nil
		id := store.AccountID("ann" + string(rune('a'+tt.each)) + string(rune('a'+tt.want)) + string(rune('a'+min(tt.q.Bytes, 25))))
		a := b.As(id)
		box := b.box(id, "Box").ID
		for range 3 {
			_, err := a.Append(b.Context(), box, store.Append{Blob: hello})
			b.must(err)
		}
		b.limit(tt.q)
		var wg sync.WaitGroup
		var filed atomic.Int64
		for range 20 {
			wg.Go(func() {
				ms := make([]store.Append, tt.each)
				for i := range ms {
					ms[i].Blob = hello
				}
				_, err := a.Append(b.Context(), box, ms...)
				switch {
				case err == nil:
					filed.Add(int64(tt.each))
				case !errors.Is(err, store.ErrOverQuota):
					b.Error(err)
				}
			})
		}
		wg.Wait()
		if acc := b.account(id); acc.Messages != tt.want || int64(acc.Messages) != 3+filed.Load() {
			b.Errorf("%+v by %d: %d messages of which %d were acknowledged, want %d", tt.q, tt.each, acc.Messages, 3+filed.Load(), tt.want)
		}
		b.recount(id)
	}
}

func testRoom(b *bench) {
	b.limit(mailkeel.Quota{Bytes: 12, Messages: 2})
	ann, bob := b.As("ann"), b.As("bob")
	box := b.box("ann", "Box").ID
	room := func(a *store.Access, size int64, n int, want error) {
		b.Helper()
		b.is(a.Room(b.Context(), box, size, n), want, "room")
	}
	room(ann, 12, 2, nil)
	room(ann, 13, 1, store.ErrOverQuota)
	room(ann, 1, 3, store.ErrOverQuota)
	room(ann, 1<<62, 1<<30, store.ErrOverQuota)
	room(bob, 1, 1, store.ErrNotFound)
	b.must(ann.Grant(b.Context(), box, "bob", "lr"))
	room(bob, 1, 1, store.ErrDenied)
	b.must(ann.Grant(b.Context(), box, "bob", "i"))
	room(bob, 12, 2, nil) // that of the owner
	_, err := bob.Append(b.Context(), box, store.Append{Blob: hello})
	b.must(err)
	room(bob, 8, 1, store.ErrOverQuota)
	room(bob, 7, 1, nil)
	b.is(b.Store.Room(b.Context(), "ann", 7), nil, "room in the account")
	b.is(b.Store.Room(b.Context(), "ann", 8), store.ErrOverQuota, "room in the account")
	b.deliver("", "ann")
	b.is(b.Store.Room(b.Context(), "ann", 0), store.ErrOverQuota, "any room")
	b.Limit = limits(map[store.AccountID]int64{"ann": 0})
	b.is(b.Store.Room(b.Context(), "nobody", 1), store.ErrNotFound, "room of nobody")
	_, err = b.Usage(b.Context(), "nobody")
	b.is(err, store.ErrNotFound, "usage of nobody")
}
