package committer_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/internal/committer"
)

// one is a function that adds n, and what it waits for.
type one struct {
	n    int
	wait func() error
	err  error
}

// crowdAfter runs them so that they share a batch.
func crowdAfter(t *testing.T, c *committer.Committer, l *list, ones ...one) (errs []error, panics []any) {
	t.Helper()
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Do(t.Context(), func() error { close(inside); <-leave; return nil }) })
	<-inside
	errs, panics = make([]error, len(ones)), make([]any, len(ones))
	for i, o := range ones {
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			errs[i] = c.DoAfter(t.Context(), o.wait, func() error { return errors.Join(l.add(o.n), o.err) })
		})
	}
	c.WaitFor(len(ones))
	close(leave)
	wg.Wait()
	return errs, panics
}

// came counts calls.
func came(n *atomic.Int32) func() error { return func() error { n.Add(1); return nil } }

// strict is a list that commits only what has come.
type strict struct {
	list
	t    *testing.T
	come [50]atomic.Bool
}

func (s *strict) Commit() error {
	for _, n := range s.open {
		if !s.come[n].Load() {
			s.t.Errorf("%d was committed before it came", n)
		}
	}
	return s.list.Commit()
}

func TestWaitsForAllBeforeTheCommit(t *testing.T) {
	l := &strict{t: t}
	c := &committer.Committer{Target: l}
	ones := make([]one, len(l.come))
	for i := range ones {
		ones[i] = one{n: i, wait: func() error { l.come[i].Store(true); return nil }}
	}
	errs, _ := crowdAfter(t, c, &l.list, ones...)
	if err := errors.Join(errs...); err != nil || l.commits != 2 || len(l.committed) != 50 {
		t.Errorf("%d committed in %d commits, %v", len(l.committed), l.commits, err)
	}
}

// ahead is a list whose first commit lasts until what the next batch waits for has
// come.
type ahead struct {
	list
	come chan struct{}
}

func (a *ahead) Commit() error { <-a.come; return a.list.Commit() }

func TestWaitsWhileTheBatchBeforeIsCommitted(t *testing.T) {
	l := &ahead{come: make(chan struct{})}
	c := &committer.Committer{Target: l}
	once := sync.OnceFunc(func() { close(l.come) })
	errs, _ := crowdAfter(t, c, &l.list, one{n: 1}, one{n: 2, wait: func() error { once(); return nil }})
	if err := errors.Join(errs...); err != nil || len(l.committed) != 2 {
		t.Error(l.committed, err)
	}
}

func TestFailedWaitLeavesNeighboursAlone(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	var good atomic.Int32
	errs, panics := crowdAfter(t, c, l,
		one{n: 1, wait: came(&good)},
		one{n: 2, wait: func() error { return errBoom }},
		one{n: 3},
		one{n: 4, wait: func() error { panic("mine") }},
		one{n: 5, wait: came(new(atomic.Int32)), err: errBoom}, // fails by itself
		one{n: 6, wait: came(&good)},
	)
	slices.Sort(l.committed)
	if !slices.Equal(l.committed, []int{1, 3, 6}) {
		t.Errorf("committed %v, want 1, 3 and 6", l.committed)
	}
	for i, want := range []error{nil, errBoom, nil, nil, errBoom, nil} {
		if !errors.Is(errs[i], want) || (want == nil) != (errs[i] == nil) {
			t.Errorf("%d: %v, want %v", i+1, errs[i], want)
		}
	}
	if n := good.Load(); panics[3] != "mine" || n < 2 {
		t.Errorf("panics %v; %d good waits", panics, n)
	}
}

func TestLoneFailedWaitKeepsNothing(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	runs := 0
	err := c.DoAfter(t.Context(), func() error { return errBoom }, func() error { runs++; return l.add(1) })
	if !errors.Is(err, errBoom) || runs != 1 || len(l.committed) != 0 || l.commits != 0 {
		t.Errorf("%v after %d runs and %d commits, committed %v", err, runs, l.commits, l.committed)
	}
	var waits atomic.Int32
	if err := c.DoAfter(t.Context(), came(&waits), func() error { return l.add(2) }); err != nil || waits.Load() != 1 || !slices.Equal(l.committed, []int{2}) {
		t.Errorf("afterwards: %v, %v", err, l.committed)
	}
}

func TestExitInAWaitLeavesTheOthersAnswered(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.DoAfter(context.Background(), func() error { runtime.Goexit(); return nil }, func() error { return l.add(1) })
	}()
	<-done
	if err := c.Do(t.Context(), func() error { return l.add(2) }); err != nil || !slices.Equal(l.committed, []int{2}) {
		t.Error(err, l.committed)
	}
}

// TestLoneWriterNeedsNoOther shows that all happens in the caller's goroutine.
func TestLoneWriterNeedsNoOther(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	me := func() string {
		buf := make([]byte, 64)
		return string(buf[:runtime.Stack(buf, false)][:20])
	}
	mine := me()
	err := c.DoAfter(t.Context(), func() error {
		if me() != mine {
			t.Error("wait ran in another goroutine")
		}
		return nil
	}, func() error {
		if me() != mine {
			t.Error("the function ran in another goroutine")
		}
		return l.add(1)
	})
	if err != nil || l.commits != 1 {
		t.Error(err, l.commits)
	}
}

func TestManyWaitsUnderRace(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l, MaxBatch: 7}
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			var came atomic.Bool
			err := c.DoAfter(t.Context(), func() error {
				if i%5 == 2 {
					return errBoom
				}
				came.Store(true)
				return nil
			}, func() error {
				if i%7 == 3 {
					return errors.Join(l.add(-1), errBoom)
				}
				return l.add(i)
			})
			if (err != nil) != (i%7 == 3 || i%5 == 2) || err == nil && !came.Load() {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 300 {
		if slices.Contains(l.committed, i) != (i%7 != 3 && i%5 != 2) {
			t.Errorf("%d is wrongly there or not", i)
		}
	}
}
