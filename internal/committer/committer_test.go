package committer_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/internal/committer"
)

// list is a Target that commits to a slice. It can undo only when firm, like a
// database.
type list struct {
	committed, open []int
	mark            int
	commits, undone int
	fail            error // of the next Commit
}

func (l *list) Begin() error    { l.open = slices.Clone(l.committed); return nil }
func (l *list) Mark(bool) error { l.mark = len(l.open); return nil }
func (l *list) Keep(bool) error { return nil }
func (l *list) Flush() error    { return nil }
func (l *list) Rollback()       { l.open = nil }

func (l *list) Undo(firm bool) (bool, error) {
	if !firm && len(l.open) > l.mark {
		return false, nil
	}
	l.undone++
	l.open = l.open[:l.mark]
	return true, nil
}

func (l *list) Commit() error {
	if err := l.fail; err != nil {
		l.fail = nil
		return err
	}
	l.committed = l.open
	l.commits++
	return nil
}

func (l *list) add(n int) error { l.open = append(l.open, n); return nil }

// crowd runs fns so that they share one batch: they join while another runs.
func crowd(t *testing.T, c *committer.Committer, fns ...func() error) []error {
	t.Helper()
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.Do(t.Context(), func() error { close(inside); <-leave; return nil })
	})
	<-inside
	errs := make([]error, len(fns))
	for i, fn := range fns {
		wg.Go(func() { errs[i] = c.Do(t.Context(), fn) })
	}
	c.WaitFor(len(fns))
	close(leave)
	wg.Wait()
	return errs
}

var errBoom = errors.New("boom")

func TestCrowdSharesACommit(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	fns := make([]func() error, 50)
	for i := range fns {
		fns[i] = func() error { return l.add(i) }
	}
	for _, err := range crowd(t, c, fns...) {
		if err != nil {
			t.Error(err)
		}
	}
	if len(l.committed) != 50 || l.commits != 2 {
		t.Errorf("%d functions in %d commits, want 50 in 2", len(l.committed), l.commits)
	}
}

func TestMaxBatchBoundsACommit(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l, MaxBatch: 10}
	fns := make([]func() error, 50)
	for i := range fns {
		fns[i] = func() error { return l.add(i) }
	}
	for _, err := range crowd(t, c, fns...) {
		if err != nil {
			t.Error(err)
		}
	}
	if len(l.committed) != 50 || l.commits < 6 {
		t.Errorf("%d functions in %d commits, want 50 in 6 or more", len(l.committed), l.commits)
	}
}

func TestFailureLeavesNeighboursAlone(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	errs := crowd(t, c,
		func() error { return l.add(1) },
		func() error { return errors.Join(l.add(2), errBoom) },
		func() error { return l.add(3) },
		func() error { return errBoom },
	)
	slices.Sort(l.committed)
	if !slices.Equal(l.committed, []int{1, 3}) {
		t.Errorf("committed %v, want 1 and 3", l.committed)
	}
	if errs[0] != nil || !errors.Is(errs[1], errBoom) || errs[2] != nil || !errors.Is(errs[3], errBoom) {
		t.Errorf("errors %v", errs)
	}
}

func TestPanicGoesToItsCaller(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	caught := make(chan any, 1)
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Do(t.Context(), func() error { close(inside); <-leave; return nil }) })
	<-inside
	wg.Go(func() {
		defer func() { caught <- recover() }()
		_ = c.Do(t.Context(), func() error { _ = l.add(1); panic("mine") })
	})
	wg.Go(func() {
		if err := c.Do(t.Context(), func() error { return l.add(2) }); err != nil {
			t.Error(err)
		}
	})
	c.WaitFor(2)
	close(leave)
	wg.Wait()
	if p := <-caught; p != "mine" || !slices.Equal(l.committed, []int{2}) {
		t.Errorf("caught %v, committed %v", p, l.committed)
	}
}

func TestLoneFailureRunsOnce(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	runs := 0
	err := c.Do(t.Context(), func() error { runs++; return errors.Join(l.add(1), errBoom) })
	if !errors.Is(err, errBoom) || runs != 1 || len(l.committed) != 0 {
		t.Errorf("%v after %d runs, committed %v", err, runs, l.committed)
	}
}

func TestFailedCommitFailsAll(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	fns := []func() error{
		func() error { l.fail = errBoom; return l.add(1) },
		func() error { return l.add(2) },
	}
	for _, err := range crowd(t, c, fns...) {
		if !errors.Is(err, errBoom) {
			t.Errorf("got %v", err)
		}
	}
	if err := c.Do(t.Context(), func() error { return l.add(3) }); err != nil || !slices.Equal(l.committed, []int{3}) {
		t.Errorf("afterwards: %v, %v", err, l.committed)
	}
}

// lost is a list that cannot undo, as a database that ended the transaction by itself
// because the disk is full.
type lost struct{ list }

var errNoSavepoint = errors.New("no such savepoint")

func (l *lost) Undo(firm bool) (bool, error) {
	if firm {
		return false, errNoSavepoint
	}
	return false, nil
}

func TestAllHearWhyNothingCouldBeUndone(t *testing.T) {
	l := &lost{}
	c := &committer.Committer{Target: l}
	errs := crowd(t, c, func() error { return l.add(1) }, func() error { return errors.Join(l.add(2), errBoom) }, func() error { return l.add(3) })
	for i, err := range errs {
		if !errors.Is(err, errBoom) || i != 1 && !errors.Is(err, errNoSavepoint) {
			t.Errorf("%d: %v", i+1, err)
		}
	}
	if len(l.committed) != 0 {
		t.Error(l.committed)
	}
}

func TestCancelledWhileWaitingNeverRuns(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Do(t.Context(), func() error { close(inside); <-leave; return nil }) })
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- c.Do(ctx, func() error { return l.add(1) }) }()
	c.WaitFor(1)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(leave)
	wg.Wait()
	if err := c.Do(t.Context(), func() error { return l.add(2) }); err != nil || !slices.Equal(l.committed, []int{2}) {
		t.Errorf("committed %v, %v", l.committed, err)
	}
}

func TestExitingGoroutineLeavesTheOthersAnswered(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Do(t.Context(), func() error { runtime.Goexit(); return nil })
	}()
	<-done
	if err := c.Do(t.Context(), func() error { return l.add(1) }); err != nil {
		t.Error(err)
	}
}

func TestCloseRefusesNewAndFinishesOld(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l}
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Do(t.Context(), func() error { close(inside); <-leave; return l.add(1) }); err != nil {
			t.Error(err)
		}
	})
	<-inside
	wg.Go(c.Close)
	c.WaitClosed()
	if err := c.Do(t.Context(), func() error { return nil }); !errors.Is(err, committer.ErrClosed) {
		t.Errorf("got %v", err)
	}
	close(leave)
	wg.Wait()
	if !slices.Equal(l.committed, []int{1}) {
		t.Errorf("committed %v", l.committed)
	}
}

func TestManyUnderRace(t *testing.T) {
	l := &list{}
	c := &committer.Committer{Target: l, MaxBatch: 7}
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%5 == 0 {
				go cancel()
			}
			defer cancel()
			err := c.Do(ctx, func() error {
				if i%7 == 3 {
					return errors.Join(l.add(-1), errBoom)
				}
				return l.add(i)
			})
			if i%5 != 0 && (err != nil) != (i%7 == 3) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 300 {
		if i%5 != 0 && slices.Contains(l.committed, i) != (i%7 != 3) {
			t.Errorf("%d is wrongly there or not", i)
		}
	}
	if slices.Contains(l.committed, -1) {
		t.Error("a failed function left something")
	}
}
