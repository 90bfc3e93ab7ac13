package committer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/mailkeel/mailkeel/internal/committer"
)

// Nothing that was waited for ahead goes on after Close.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shaky is a list whose steps fail as they were told to. It holds some changes back
// until Flush, where those of some functions cannot be written.
type shaky struct {
	list
	rt    func(format string, args ...any)
	rnd   func(percent int) bool
	fails [5]int       // percent of Begin, Keep, Undo, Flush and Commit
	poor  map[int]bool // cannot be flushed
	state string       // what may come next
	come  []atomic.Bool
	in    atomic.Int32
}

var errStep = errors.New("step failed")

// step says that a step may follow the ones before.
func (s *shaky) step(name, next string, after ...string) func() {
	if s.in.Add(1) != 1 {
		s.rt("%s while another step runs", name)
	}
	if !slices.Contains(after, s.state) {
		s.rt("%s after %s", name, s.state)
	}
	s.state = next
	return func() { s.in.Add(-1) }
}

func (s *shaky) Begin() error {
	defer s.step("Begin", "begun", "")()
	if s.rnd(s.fails[0]) {
		s.state = ""
		return errStep
	}
	for range 100 { // so that others join
		runtime.Gosched()
	}
	return s.list.Begin()
}

func (s *shaky) Mark(firm bool) error {
	defer s.step("Mark", "marked", "begun")()
	return s.list.Mark(firm)
}

func (s *shaky) Keep(firm bool) error {
	defer s.step("Keep", "begun", "marked")()
	if s.rnd(s.fails[1]) || firm && slices.ContainsFunc(s.open[s.mark:], s.unwritable) {
		s.state = "marked"
		return errStep
	}
	return nil
}

func (s *shaky) unwritable(n int) bool { return s.poor[n] }

func (s *shaky) Undo(firm bool) (bool, error) {
	defer s.step("Undo", "begun", "marked")()
	if s.rnd(s.fails[2]) {
		return false, errStep
	}
	return s.list.Undo(firm)
}

func (s *shaky) Flush() error {
	defer s.step("Flush", "flushed", "begun")()
	if s.rnd(s.fails[3]) || slices.ContainsFunc(s.open, s.unwritable) {
		return errStep
	}
	return nil
}

func (s *shaky) Commit() error {
	defer s.step("Commit", "committed", "flushed")()
	for _, n := range s.open {
		if !s.come[n].Load() {
			s.rt("%d is committed before it came", n)
		}
	}
	if s.rnd(s.fails[4]) {
		return errStep
	}
	s.state = ""
	return s.list.Commit()
}

func (s *shaky) Rollback() {
	defer s.step("Rollback", "", "begun", "marked", "flushed", "committed")()
	s.list.Rollback()
}

// an is what one caller does, and how it went.
type an struct {
	fails, panics, noWait, waitFails, waitPanics, cancels, early, poor bool

	err      error
	panicked any
	ran      atomic.Int32
}

// TestEveryCallerHearsWhatHappened: of random crowds whose functions, waits, contexts
// and Target fail, each hears of success if and only if its change is committed, once;
// and where the Target does not fail, of an error only if it was its own.
func TestEveryCallerHearsWhatHappened(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		percent := rapid.SampledFrom([]int{0, 0, 0, 5, 30})
		bad := rapid.SampledFrom([]int{0, 5, 20}).Draw(rt, "bad")
		seed := rapid.Uint64().Draw(rt, "seed")
		var mu sync.Mutex
		rnd := func(p int) bool { // of the Target, which runs in any goroutine
			mu.Lock()
			defer mu.Unlock()
			seed = seed*6364136223846793005 + 1442695040888963407
			return int(seed>>33)%100 < p
		}
		var wrong []string
		s := &shaky{rnd: rnd, poor: map[int]bool{}, rt: func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}}
		for i := range s.fails {
			s.fails[i] = percent.Draw(rt, "percent")
		}
		steady := s.fails == [5]int{}
		ones := make([]*an, rapid.IntRange(1, 60).Draw(rt, "callers"))
		s.come = make([]atomic.Bool, len(ones))
		for i := range ones {
			is := func() bool { return rnd(bad) }
			ones[i] = &an{fails: is(), panics: is(), noWait: rnd(30), waitFails: is(), waitPanics: is(), cancels: is(), early: is(), poor: is()}
			s.poor[i] = ones[i].poor
		}
		c := &committer.Committer{Target: s, MaxBatch: rapid.SampledFrom([]int{0, 1, 3}).Draw(rt, "most")}
		var wg sync.WaitGroup
		for i, o := range ones {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if o.cancels {
					go cancel()
				}
				wait := func() error {
					runtime.Gosched()
					if o.waitPanics {
						panic(i)
					}
					if o.waitFails {
						return errBoom
					}
					s.come[i].Store(true)
					return nil
				}
				if o.noWait {
					wait = nil
					s.come[i].Store(true)
				}
				defer func() { o.panicked = recover() }()
				o.err = c.DoAfter(ctx, wait, func() error {
					o.ran.Add(1)
					if o.early && o.fails {
						return errBoom
					}
					err := s.add(i)
					if o.panics {
						panic(i)
					}
					if o.fails {
						err = errBoom
					}
					return err
				})
			})
		}
		wg.Wait()
		c.Close()
		for i, o := range ones {
			n := 0
			for _, m := range s.committed {
				if m == i {
					n++
				}
			}
			said := 1
			if o.err != nil || o.panicked != nil {
				said = 0
			}
			if n != said {
				rt.Errorf("%d: %v, panic %v, and it is there %d times", i, o.err, o.panicked, n)
			}
			own := o.fails || o.panics || o.poor || !o.noWait && (o.waitFails || o.waitPanics)
			cancelled := o.cancels && errors.Is(o.err, context.Canceled)
			switch {
			case cancelled && o.ran.Load() != 0:
				rt.Errorf("%d: it ran, and was told that it did not", i)
			case own && said == 1:
				rt.Errorf("%d: it failed, and was told that it did not", i)
			case steady && !own && said == 0 && !cancelled:
				rt.Errorf("%d: %v, panic %v, of another", i, o.err, o.panicked)
			case o.panicked != nil && o.panicked != i:
				rt.Errorf("%d: the panic of %v", i, o.panicked)
			}
		}
		for _, w := range wrong {
			rt.Error(w)
		}
		if s.state != "" || c.Waiting() != 0 {
			rt.Errorf("in the end: %q, %d wait", s.state, c.Waiting())
		}
	})
}
