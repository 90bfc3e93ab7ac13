package queuetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/queue"
)

func testHeldByRoute(b *bench) {
	n := &next{b: b, answers: map[string]error{"far@z": delivery.Hold("no route configured")}}
	b.deliver(envelope("m", "bob@y", "far@z"))
	pass := b.run(n)
	pass(10 * day)
	held := b.list(queue.Query{})
	if len(held) != 1 || !held[0].Held || held[0].Last != "no route configured" || len(n.seen("")) != 2 {
		b.Fatalf("held %+v after %d transactions", held, len(n.seen("")))
	}
	// What waited for longer than it may has its time again.
	n.answers["far@z"] = later
	b.must(b.q.Release(b.Context(), "m/1"))
	pass(time.Minute)
	if items := b.list(queue.Query{}); len(items) < 1 || items[0].Held || !items[0].Expires.After(b.clock.Now().Add(4*day)) {
		b.Errorf("released %+v", items)
	}
	n.answers = nil
	b.must(b.q.Retry(b.Context(), "m/1"))
	pass(0)
	if left := b.list(queue.Query{ID: "m"}); len(left) != 0 {
		b.Errorf("left %+v", left)
	}
}

func testManage(b *bench) {
	n := &next{b: b}
	b.deliver(envelope("m", "bob@y", "cat@y", "dan@y"))
	b.must(b.q.Hold(b.Context(), "m/0", "wait"))
	b.must(b.q.Reroute(b.Context(), "m/1", "backup"))
	if gone, err := b.q.Drop(b.Context(), "m/2", "unknown/0"); err != nil || len(gone) != 1 || gone[0] != "m/2" {
		b.Errorf("dropped %q, %v", gone, err)
	}
	for name, err := range map[string]error{
		"Hold": b.q.Hold(b.Context(), "x/0", ""), "Release": b.q.Release(b.Context(), "x/0"), "Retry": b.q.Retry(b.Context(), "x/0"),
		"Reroute": b.q.Reroute(b.Context(), "x/0", ""), "GiveBack": b.q.GiveBack(b.Context(), "x/0", ""),
	} {
		if !errors.Is(err, queue.ErrNotFound) {
			b.Errorf("%s of an unknown item: %v", name, err)
		}
	}
	if c, err := b.q.Count(b.Context(), queue.Query{}); err != nil || c.Items != 2 || c.Held != 1 || !c.Oldest.Equal(start) {
		b.Errorf("counted %+v, %v", c, err)
	}
	b.run(n)(day)
	all := n.seen("m")
	if len(all) != 1 || len(all[0].env.Rcpts) != 1 || all[0].env.Rcpts[0].Addr != "cat@y" || all[0].env.Rcpts[0].Via != "backup" {
		b.Errorf("delivered %+v, want cat by way of backup", all)
	}
	if held := b.list(queue.Query{}); len(held) != 1 || held[0].Last != "wait" {
		b.Errorf("left %+v", held)
	}
}

func testGiveBack(b *bench) {
	n := &next{b: b}
	b.deliver(envelope("m", "bob@y"))
	b.must(b.q.GiveBack(b.Context(), "m/0", "the recipient left"))
	b.deliver(envelope("m", "bob@y")) // again
	b.run(n)(day)
	all := n.seen("")
	if len(all) != 1 || all[0].env.ID != "m.bounce.0" || len(b.list(queue.Query{})) != 0 {
		b.Fatalf("delivered %+v, want one bounce", all)
	}
	b.contains(b.parts(all[0])[1], "Action: failed\r\nStatus: 5.0.0\r\n", "the recipient left\r\n")
}

func testLeasedStays(b *bench) {
	b.deliver(envelope("m", "bob@y"))
	errs := make(chan error, 3)
	trying := false
	b.run(mailkeel.HandlerFunc(func(ctx context.Context, _ *mailkeel.Envelope, _ mailkeel.Content) error {
		trying = b.q.Trying("m/0")
		errs <- b.q.Hold(ctx, "m/0", "")
		errs <- b.q.GiveBack(ctx, "m/0", "")
		gone, err := b.q.Drop(ctx, "m/0")
		if err == nil && len(gone) == 0 {
			err = queue.ErrLeased
		}
		errs <- err
		return nil
	}))(0)
	if !trying || b.q.Trying("m/0") {
		b.Error("Trying is wrong")
	}
	for range 3 {
		if err := <-errs; !errors.Is(err, queue.ErrLeased) {
			b.Errorf("an item that is being tried: %v", err)
		}
	}
	if len(b.list(queue.Query{})) != 0 {
		b.Error("it was delivered and is still there")
	}
}

// leases counts what a backend leases, and how.
type leases struct {
	queue.Backend
	queue.LeasingPutter
	leased, handed atomic.Int64
}

func (l *leases) Lease(ctx context.Context, w queue.Want) (queue.Lease, error) {
	got, err := l.Backend.Lease(ctx, w)
	l.leased.Add(int64(len(got.Items)))
	return got, err
}

func (l *leases) PutLeased(ctx context.Context, w queue.Want, items ...queue.Item) ([]queue.Lease, error) {
	ls, err := l.LeasingPutter.PutLeased(ctx, w, items...)
	for _, got := range ls {
		l.handed.Add(int64(len(got.Items)))
	}
	return ls, err
}

func testHanded(b *bench) {
	l := &leases{Backend: b.Backend, LeasingPutter: b.leaser()}
	b.q.Backend = l
	n := &next{b: b}
	b.deliver(envelope("before", "bob@y"))
	pass := b.run(n)
	pass(0)
	for i := range 10 {
		b.deliver(envelope(fmt.Sprint("m", i), "bob@y", "cat@z"))
		pass(0)
	}
	env := envelope("late", "bob@y")
	env.NotBefore = b.clock.Now().Add(time.Hour)
	b.deliver(env)
	pass(2 * time.Hour)
	if l.leased.Load() != 2 || l.handed.Load() != 20 || len(n.seen("")) != 22 || len(b.list(queue.Query{})) != 0 {
		b.Errorf("%d leased, %d handed over, %d delivered; want 2, 20, 22", l.leased.Load(), l.handed.Load(), len(n.seen("")))
	}
}

// testHandedLimits: fresh mail keeps to the limits of routes and workers too.
func testHandedLimits(b *bench) {
	l := &leases{Backend: b.Backend, LeasingPutter: b.leaser()}
	b.q.Backend, b.q.Workers, b.q.PerRoute = l, 4, 2
	var now, most, slow, mostSlow atomic.Int64
	release := make(chan struct{})
	pass := b.run(mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error {
		most.Store(max(most.Load(), now.Add(1)))
		if env.Rcpts[0].Addr == "bob@slow" {
			mostSlow.Store(max(mostSlow.Load(), slow.Add(1)))
		}
		<-release
		if env.Rcpts[0].Addr == "bob@slow" {
			slow.Add(-1)
		}
		now.Add(-1)
		return nil
	}))
	b.must(b.q.Settled(b.Context()))
	for i := range 12 {
		b.deliver(envelope(fmt.Sprint("s", i), "bob@slow"))
		b.deliver(envelope(fmt.Sprint("m", i), fmt.Sprintf("bob@y%d", i)))
	}
	close(release)
	pass(0)
	// One more than the limits: a Lease that is asked for while a message is handed
	// over knows nothing of it.
	if most.Load() > 5 || mostSlow.Load() > 3 || len(b.list(queue.Query{})) != 0 {
		b.Errorf("%d at once, %d to one route, %d left", most.Load(), mostSlow.Load(), len(b.list(queue.Query{})))
	}
}

func testReclaimAtStart(b *bench) {
	if _, ok := b.Backend.(queue.Reclaimer); !ok {
		b.Skip("no Reclaim")
	}
	b.deliver(envelope("m", "bob@y"))
	b.lease(start, "m/0") // and then the process died
	b.q.Sole = true
	n := &next{b: b}
	b.run(n)(0)
	if len(n.seen("m")) != 1 {
		b.Error("what a crash held was not tried at once")
	}
}
