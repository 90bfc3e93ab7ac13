package queuetest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob"
)

// extends tells when a lease is extended, and what to answer instead. Its Queue sets
// no timers of its own, so that all are those of leases.
type extends struct {
	queue.Backend
	done chan struct{}
	err  error
}

func (e *extends) Lease(ctx context.Context, w queue.Want) (queue.Lease, error) {
	l, err := e.Backend.Lease(ctx, w)
	l.Next = time.Time{}
	return l, err
}

func (e *extends) Extend(ctx context.Context, lease string, until time.Time) error {
	err := e.err
	if err == nil {
		err = e.Backend.Extend(ctx, lease, until)
	}
	e.done <- struct{}{}
	return err
}

// ticking is a clock that says when a timer was begun.
type ticking struct {
	*testclock.Clock
	begun chan struct{}
}

func (c ticking) NewTimer(d time.Duration) mailkeel.Timer {
	t := c.Clock.NewTimer(d)
	c.begun <- struct{}{}
	return t
}

// long starts the queue with a minute for leases and an attempt that fn makes. The
// function that fn gets lets half a minute pass and waits for the extension.
func (b *bench) long(extend error, fn func(ctx context.Context, half func()) error) {
	c := ticking{b.clock, make(chan struct{}, 1000)}
	e := &extends{Backend: b.Backend, done: make(chan struct{}, 1000), err: extend}
	b.q.Backend, b.q.TTL, b.q.Clock = e, time.Minute, c
	b.deliver(envelope("m", "bob@y"))
	b.run(mailkeel.HandlerFunc(func(ctx context.Context, _ *mailkeel.Envelope, _ mailkeel.Content) error {
		return fn(ctx, func() {
			<-c.begun
			b.clock.Advance(30 * time.Second)
			<-e.done
		})
	}))(0)
	if left := b.list(queue.Query{}); len(left) != 0 {
		b.Errorf("left %+v", left)
	}
}

func testLongAttempt(b *bench) {
	tries := 0
	b.long(nil, func(ctx context.Context, half func()) error {
		tries++
		for range 10 {
			half()
		}
		l, err := b.Backend.Lease(ctx, queue.Want{Now: b.clock.Now(), TTL: time.Minute, Max: 10})
		if err != nil || len(l.Items) != 0 {
			b.Errorf("another leased %+v, %v", l.Items, err)
		}
		return ctx.Err()
	})
	if tries != 1 {
		b.Errorf("%d tries, want 1", tries)
	}
}

func testLostLease(b *bench) {
	tries := 0
	b.long(queue.ErrLeaseLost, func(ctx context.Context, half func()) error {
		if tries++; tries > 1 {
			return nil
		}
		half()
		<-ctx.Done() // somebody else tries it
		return &mailkeel.Error{Code: 450, Message: "interrupted"}
	})
	if tries != 2 {
		b.Errorf("%d tries, want 2", tries)
	}
}

// unsettled fails to settle a number of times.
type unsettled struct {
	queue.Backend
	left atomic.Int64
}

func (u *unsettled) Settle(ctx context.Context, lease string, s queue.Settlement) error {
	if u.left.Add(-1) >= 0 {
		return errors.New("disk full")
	}
	return u.Backend.Settle(ctx, lease, s)
}

// testSettleFails: what the next hop took is not sent again because we could not
// write that down at once.
func testSettleFails(b *bench) {
	u := &unsettled{Backend: b.Backend}
	u.left.Store(100)
	b.q.Backend, b.q.TTL = u, time.Minute
	n := &next{b: b, answers: map[string]error{"no@y": no}}
	b.deliver(envelope("m", "bob@y", "no@y"))
	b.run(n)(time.Hour)
	if all := n.seen("m"); len(all) != 2 || len(n.seen("m.bounce.")) != 1 || len(b.list(queue.Query{})) != 0 {
		b.Errorf("%d transactions, want one and a bounce; left %+v", len(all), b.list(queue.Query{}))
	}
}

// testSettleFailsForLong: a report that waits for a backend which cannot write is not
// swept meanwhile.
func testSettleFailsForLong(b *bench) {
	u := &unsettled{Backend: b.Backend}
	u.left.Store(3*60 + 30)
	b.q.Backend = u
	n := &next{b: b, answers: map[string]error{"no@y": no}}
	b.deliver(envelope("m", "no@y"))
	pass := b.run(n)
	for range 5 {
		pass(time.Minute)
		if _, err := blob.Sweep(b.Context(), b.q.Blobs, b.clock.Now(), 2*time.Minute, b.q); err != nil {
			b.Fatal(err)
		}
	}
	if len(n.seen("m.bounce.")) != 1 || len(b.list(queue.Query{})) != 0 {
		b.Errorf("%d bounces, want 1; left %+v", len(n.seen("m.bounce.")), b.list(queue.Query{}))
	}
}
