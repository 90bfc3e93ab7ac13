package queuetest

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob"
)

// complete has a value in every field of an Item.
func complete() queue.Item {
	return queue.Item{
		ID: "id/7", Blob: blob.Info{Ref: "sha256-01", Size: 1 << 40, Young: start.Add(-time.Hour)},
		Prefix: []byte("Received: by x\r\n\x00\xff"), Route: "y", Queued: start, Due: start, Expires: start.Add(time.Hour),
		Attempts: 3, Held: true, DelayNotified: true, Last: "450 später\x00",
		Envelope: mailkeel.Envelope{
			ID: "id", From: "änn@x", UTF8: true, EightBit: true, RequireTLS: true, Return: "FULL", EnvelopeID: "QQ\n1",
			NotBefore: start.Add(-time.Minute), Submitter: "a1",
			Rcpts: []mailkeel.Recipient{{
				Addr: "bob@y", Given: "b@z", Orcpt: "rfc822;b@z", Notify: mailkeel.NotifyDelay, Account: "b2",
				Index: 7, Mailbox: "Büro/x", Junk: true, Via: "backup",
			}},
			Origin: &mailkeel.Origin{
				Addr: netip.MustParseAddrPort("[2001:db8::1]:25"), Hello: "h\xff", TLS: true, Identity: "a3", Time: start.Add(-time.Second),
			},
		},
	}
}

// zeros returns the paths of the zero fields in v.
func zeros(v reflect.Value, path string) (zs []string) {
	switch {
	case v.IsZero():
		return []string{path}
	case v.Kind() == reflect.Pointer:
		return zeros(v.Elem(), path)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		return zeros(v.Index(0), path)
	case v.Kind() != reflect.Struct || v.Type().PkgPath() == "time" || v.Type().PkgPath() == "net/netip":
		return nil
	}
	for i := range v.NumField() {
		zs = append(zs, zeros(v.Field(i), path+"."+v.Type().Field(i).Name)...)
	}
	return zs
}

// utc gives the times in it one form, and drops Young, which need not be kept.
func utc(it queue.Item) queue.Item {
	origin := *it.Envelope.Origin
	origin.Time = origin.Time.UTC()
	it.Envelope.Origin = &origin
	it.Blob.Young = time.Time{}
	for _, t := range []*time.Time{&it.Queued, &it.Due, &it.Expires, &it.Envelope.NotBefore} {
		*t = t.UTC()
	}
	return it
}

func testFields(b *bench) {
	want := complete()
	if zs := zeros(reflect.ValueOf(want), "Item"); len(zs) > 0 {
		b.Fatalf("the suite has no value for %v", zs)
	}
	b.must(b.Put(b.Context(), want))
	if b.o.Reopen != nil {
		b.Backend = b.o.Reopen(b.T, b.Backend)
	}
	items := b.list(queue.Query{})
	if len(items) != 1 || !reflect.DeepEqual(utc(items[0]), utc(want)) {
		b.Errorf("listed %+v\nwant   %+v", items, want)
	}
	b.must(b.Change(b.Context(), start, want.ID, func(it *queue.Item) error {
		if !reflect.DeepEqual(utc(*it), utc(want)) {
			b.Errorf("changed %+v\nwant    %+v", it, want)
		}
		it.Held, it.Envelope.Rcpts[0].Via = false, "other"
		return nil
	}))
	l := b.lease(start, want.ID)
	want.Held, want.Attempts, want.Envelope.Rcpts[0].Via = false, 4, "other"
	if !reflect.DeepEqual(utc(l.Items[0]), utc(want)) {
		b.Errorf("leased %+v\nwant   %+v", l.Items[0], want)
	}
}

func testList(b *bench) {
	for i, id := range []string{"a", "b", "c"} {
		it := item(id+"/0", "y", start.Add(-time.Duration(i)*time.Minute))
		it.Envelope.ID, it.Envelope.From, it.Held = id, "ann@x", i == 1
		b.must(b.Put(b.Context(), it))
	}
	b.must(b.Put(b.Context(), item("a/1", "z", start)))
	for _, tt := range []struct {
		q    queue.Query
		want string
	}{
		{queue.Query{}, "[c/0 b/0 a/0 a/1]"},
		{queue.Query{Limit: 2}, "[c/0 b/0]"},
		{queue.Query{ID: "b/0"}, "[b/0]"},
		{queue.Query{ID: "a"}, "[a/0]"}, // a/1 is the item's own envelope ID here
		{queue.Query{ID: "a/1"}, "[a/1]"},
		{queue.Query{HeldOnly: true}, "[b/0]"},
		{queue.Query{Sender: "ann@x", Limit: 9}, "[c/0 b/0 a/0]"},
		{queue.Query{Recipient: "x@z"}, "[a/1]"},
		{queue.Query{Route: "y", Recipient: "x@z"}, "[]"},
	} {
		got := []string{}
		for _, it := range b.list(tt.q) {
			got = append(got, it.ID)
		}
		if fmt.Sprint(got) != tt.want {
			b.Errorf("%+v selects %v, want %s", tt.q, got, tt.want)
		}
	}
}

func testPutHeld(b *bench) {
	it := item("a", "y", start)
	it.Held, it.Last = true, "no route"
	b.must(b.Put(b.Context(), it))
	l, err := b.Lease(b.Context(), queue.Want{Now: start.Add(time.Hour), TTL: time.Minute, Max: 9})
	if err != nil || len(l.Items) != 0 || !l.Next.IsZero() {
		b.Errorf("leased %+v, %v", l, err)
	}
}

func testTurns(b *bench) {
	// Items that come back are behind those that were due before.
	for i := range 6 {
		b.must(b.Put(b.Context(), item(fmt.Sprint(i), fmt.Sprint("r", i%2), start.Add(time.Duration(i)*time.Second))))
	}
	got := ""
	now := start.Add(time.Minute)
	for range 6 {
		l, err := b.Lease(b.Context(), queue.Want{Now: now, TTL: time.Minute, Max: 1})
		b.must(err)
		if len(l.Items) != 1 {
			b.Fatalf("leased %+v", l)
		}
		got += l.Items[0].ID
		b.must(b.Settle(b.Context(), l.ID, queue.Settlement{Now: now, Retry: []queue.Retry{{ID: l.Items[0].ID, Due: now}}}))
	}
	if got != "012345" {
		b.Errorf("leased in the order %s", got)
	}
}

// leaser returns the backend's optional power, or skips the test.
func (b *bench) leaser() queue.LeasingPutter {
	p, ok := b.Backend.(queue.LeasingPutter)
	if !ok {
		b.Skip("no PutLeased")
	}
	return p
}

func testPutLeased(b *bench) {
	p := b.leaser()
	b.put("old")
	l := b.lease(start, "old")
	b.must(b.Settle(b.Context(), l.ID, queue.Settlement{Now: start, Done: []string{"old"}}))
	b.put("known")
	held := item("held", "y", start)
	held.Held = true
	ls, err := p.PutLeased(b.Context(), queue.Want{Now: start, TTL: time.Minute, Max: 2, Skip: []string{"busy"}},
		item("old", "y", start), item("known", "y", start), held, item("later", "y", start.Add(time.Hour)),
		item("1", "y", start), item("2", "z", start), item("3", "y", start), item("4", "y", start), item("5", "busy", start))
	b.must(err)
	got := map[string]queue.Lease{}
	for _, l := range ls {
		ids := ""
		for _, it := range l.Items {
			ids += it.ID
			if it.Attempts != 1 || it.Route != l.Items[0].Route || !l.Until.Equal(start.Add(time.Minute)) {
				b.Errorf("lease %+v", l)
			}
		}
		got[ids] = l
	}
	if len(got) != 2 || got["13"].ID == "" || got["2"].ID == "" || got["13"].ID == got["2"].ID {
		b.Fatalf("leased %+v, want 1 and 3, and 2", ls)
	}
	if n := len(b.list(queue.Query{})); n != 8 {
		b.Errorf("%d items, want 8", n)
	}
	b.must(b.Extend(b.Context(), got["2"].ID, start.Add(time.Hour)))
	b.must(b.Settle(b.Context(), got["13"].ID, queue.Settlement{Now: start, Done: []string{"1"}, Put: []queue.Item{item("1.b", "x", start)}}))
	if n := len(b.list(queue.Query{Route: "y"})); n != 5 { // known held later 3 4
		b.Errorf("%d items of y, want 5", n)
	}
	ls, err = p.PutLeased(b.Context(), queue.Want{Now: start, TTL: time.Minute, Max: 2}, item("1", "y", start), item("2", "z", start))
	if err != nil || len(ls) != 0 {
		b.Errorf("a repeat leased %+v, %v", ls, err)
	}
}

func testPutLeasedRunsOut(b *bench) {
	p := b.leaser()
	ls, err := p.PutLeased(b.Context(), queue.Want{Now: start, TTL: time.Minute, Max: 9}, item("a", "y", start))
	b.must(err)
	if b.o.Reopen != nil {
		b.Backend = b.o.Reopen(b.T, b.Backend)
	}
	b.lease(start.Add(59 * time.Second))
	if it := b.lease(start.Add(time.Minute), "a").Items[0]; it.Attempts != 2 {
		b.Errorf("Attempts = %d, want 2", it.Attempts)
	}
	if err := b.Settle(b.Context(), ls[0].ID, queue.Settlement{Now: start, Done: []string{"a"}}); err == nil {
		b.Error("the lease that ran out still holds")
	}
}

func testReclaim(b *bench) {
	r, ok := b.Backend.(queue.Reclaimer)
	if !ok {
		b.Skip("no Reclaim")
	}
	b.put("a")
	old := b.lease(start, "a")
	b.must(r.Reclaim(b.Context()))
	if err := b.Settle(b.Context(), old.ID, queue.Settlement{Now: start, Done: []string{"a"}}); err == nil {
		b.Error("the old lease still holds")
	}
	b.lease(start, "a")
}
