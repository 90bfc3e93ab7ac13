package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/queue"
)

var errCrash = errors.New("crashed")

// crash is a Backend whose process dies at one of its calls: before the call did
// anything or after it did all, but before its answer was heard.
type crash struct {
	queue.Backend
	at    int // the call, counted from 1
	after bool

	mu    sync.Mutex
	calls int
	dead  bool
}

func (c *crash) call(fn func() error) error {
	c.mu.Lock()
	c.calls++
	now, dead := c.calls == c.at, c.dead
	c.dead = c.dead || now
	c.mu.Unlock()
	if dead || now && !c.after {
		return errCrash
	}
	if err := fn(); err != nil || !now {
		return err
	}
	return errCrash
}

func (c *crash) died() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

func (c *crash) Put(ctx context.Context, items ...queue.Item) error {
	return c.call(func() error { return c.Backend.Put(ctx, items...) })
}

func (c *crash) Lease(ctx context.Context, w queue.Want) (l queue.Lease, err error) {
	err = c.call(func() error { l, err = c.Backend.Lease(ctx, w); return err })
	if err != nil {
		return queue.Lease{}, err
	}
	return l, nil
}

func (c *crash) Extend(ctx context.Context, lease string, until time.Time) error {
	return c.call(func() error { return c.Backend.Extend(ctx, lease, until) })
}

func (c *crash) Settle(ctx context.Context, lease string, s queue.Settlement) error {
	return c.call(func() error { return c.Backend.Settle(ctx, lease, s) })
}

// leasingCrash is one of a LeasingPutter.
type leasingCrash struct{ *crash }

func (c leasingCrash) PutLeased(ctx context.Context, w queue.Want, items ...queue.Item) (ls []queue.Lease, err error) {
	p := c.Backend.(queue.LeasingPutter)
	err = c.call(func() error { ls, err = p.PutLeased(ctx, w, items...); return err })
	if err != nil {
		return nil, err
	}
	return ls, nil
}

// testCrashes lets the process die at every call of the backend in the life of a
// message, and another go on: every recipient has its fate, each report is sent, and
// none is sent twice but for one that was on its way when the process died.
func testCrashes(b *bench) {
	for _, after := range []bool{false, true} {
		for at := 1; b.crash(at, after); at++ {
			if at > 200 || b.Failed() {
				b.Fatalf("still failing at call %d, after %v", at, after)
			}
		}
	}
}

// crash is one life with one crash. It reports whether there were so many calls.
func (b *bench) crash(at int, after bool) bool {
	id := fmt.Sprintf("m-%d-%v", at, after)
	n := &next{b: b, answers: map[string]error{"no@y": no, "later@y": later}}
	begin := b.clock.Now()
	queueOver := func(be queue.Backend) *queue.Queue {
		return &queue.Queue{Backend: be, Blobs: b.q.Blobs, Next: n, Clock: b.clock, Hostname: "mx.test",
			Backoff: func(int) time.Duration { return 48 * time.Hour }}
	}
	c := &crash{Backend: b.Backend, at: at, after: after}
	first := queueOver(c)
	if _, ok := b.Backend.(queue.LeasingPutter); ok {
		first.Backend = leasingCrash{c}
	}
	env := envelope(id, "ok@y", "no@y", "later@y")
	accepted := false
	b.live(first, begin.Add(6*day), c.died, func() {
		accepted = mailkeel.Deliver(b.Context(), first, env, message)[0].Err == nil
	})
	crashed := c.died()
	if crashed {
		// The client comes again if it was not told yes, and here even if it was.
		second := queueOver(b.Backend)
		b.live(second, begin.Add(12*day), func() bool { return false }, func() {
			if r := mailkeel.Deliver(b.Context(), second, env, message)[0]; r.Err != nil {
				b.Errorf("%s: %v", id, r.Err)
			}
		})
	} else if !accepted {
		b.Errorf("%s was not accepted", id)
	}
	if left := b.list(queue.Query{}); len(left) > 0 {
		b.Errorf("%s: left %+v", id, left)
	}
	times := map[string]int{}
	filed := 0
	for _, g := range n.seen(id) {
		if g.env.ID != id {
			times[g.env.ID[len(id):]]++
		} else if slices.ContainsFunc(g.env.Rcpts, func(r mailkeel.Recipient) bool { return r.Addr == "ok@y" }) {
			filed++
		}
	}
	twice := max(filed-1, 0)
	for _, n := range times {
		twice += n - 1
	}
	if filed == 0 || len(times) != 3 || times[".bounce.1"] == 0 || times[".delay.2"] == 0 || times[".bounce.2"] == 0 || twice > 1 || twice > 0 && !crashed {
		b.Errorf("%s: delivered %d times, reports %v", id, filed, times)
	}
	return crashed
}

// live runs a queue until a time of the clock, or until over says so, and calls do at
// the start.
func (b *bench) live(q *queue.Queue, until time.Time, over func() bool, do func()) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	settled := func() {
		ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second) // of real time
		defer cancel()
		b.must(q.Settled(ctx))
	}
	settled()
	do()
	for settled(); !over() && b.clock.Step(until); settled() {
	}
	stop()
	if err := <-done; err != nil {
		b.Errorf("Run returned %v", err)
	}
	if now := b.clock.Now(); !over() && now.Before(until) {
		b.clock.Advance(until.Sub(now))
	}
}
