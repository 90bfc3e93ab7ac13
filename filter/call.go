package filter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/mailkeel/mailkeel"
)

// answer is what a filter's method returned.
type answer[T any] struct {
	v    T
	err  error
	took time.Duration
	none bool // nothing came
}

// errExited is that of a filter that ended its goroutine.
var errExited = errors.New("filter: called runtime.Goexit")

// panicked is the error of a filter that did.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("filter: panic: %v", p.value) }

// start runs a filter's method by itself, so that nothing it does can hold up or
// bring down who asked.
func start[T any](c *Chain, fn func() (T, error)) <-chan answer[T] {
	ch := make(chan answer[T], 1)
	go func() {
		a := answer[T]{err: errExited}
		defer func() { ch <- a }()
		a = run(c, fn)
	}()
	return ch
}

// run calls a filter's method, and survives what it does.
func run[T any](c *Chain, fn func() (T, error)) (a answer[T]) {
	clock := mailkeel.ClockOr(c.Clock)
	begin := clock.Now()
	defer func() {
		if p := recover(); p != nil {
			a = answer[T]{err: &panicked{p, debug.Stack()}}
		}
		a.took = clock.Now().Sub(begin)
	}()
	a.v, a.err = fn()
	return a
}

// A waiter waits for several answers, for all together no longer than the timeout.
type waiter struct {
	timer mailkeel.Timer
	limit time.Duration
	over  bool
	late  func() // called when time is up, if set
}

func (c *Chain) waiter() *waiter {
	d := c.timeout()
	return &waiter{timer: mailkeel.ClockOr(c.Clock).NewTimer(d), limit: d}
}

func (w *waiter) stop() { w.timer.Stop() }

// wait returns an answer, or an error if none came in time. One that is there
// counts even when time is up.
func wait[T any](ctx context.Context, w *waiter, ch <-chan answer[T]) answer[T] {
	select {
	case a := <-ch:
		return a
	default:
	}
	if !w.over {
		select {
		case a := <-ch:
			return a
		case <-w.timer.C():
			w.over = true
			if w.late != nil {
				w.late()
			}
		case <-ctx.Done():
			return answer[T]{err: context.Cause(ctx), none: true}
		}
	}
	return answer[T]{err: fmt.Errorf("filter: no answer in %v: %w", w.limit, context.DeadlineExceeded), took: w.limit, none: true}
}

func (c *Chain) log(ctx context.Context, l slog.Level, msg string, attrs ...slog.Attr) {
	if c.Logger != nil {
		c.Logger.LogAttrs(ctx, l, msg, attrs...)
	}
}
