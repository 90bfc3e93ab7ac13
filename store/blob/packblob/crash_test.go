package packblob_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// A ledger knows what was promised.
type ledger struct {
	mu    sync.Mutex
	there map[blob.Ref]string // acknowledged, and not deleted since
	ever  map[blob.Ref]string // whatever was written
}

func newLedger() *ledger { return &ledger{there: map[blob.Ref]string{}, ever: map[blob.Ref]string{}} }

func (l *ledger) wrote(ref blob.Ref, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.there[ref] = body
}

// work uses a store in every way, for a number of steps. It goes on after errors,
// as a server does, and returns the first.
func (l *ledger) work(s *packblob.Store, c *testclock.Clock, rnd *rand.Rand, steps int) (first error) {
	ctx := context.Background()
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	commit := func(i int) {
		n := []int{0, 10, 900, 5000, 9000, 15_000, 20_000, 150_000}[rnd.IntN(8)]
		body := []func(int, int) string{text, words, noise}[i%3](i, n)
		w, err := s.Create(ctx)
		note(err)
		if err != nil {
			return
		}
		defer w.Close()
		if _, err := w.Write([]byte(body)); err != nil {
			note(err)
			return
		}
		l.mu.Lock()
		l.ever[refOf(body)] = body
		l.mu.Unlock()
		info, err := w.Commit()
		note(err)
		if err == nil {
			l.wrote(info.Ref, body)
		}
	}
	some := func() (ref blob.Ref, ok bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for ref = range l.there {
			return ref, true
		}
		return ref, false
	}
	for range steps {
		switch k := rnd.IntN(12); {
		case k < 5:
			commit(rnd.IntN(1000))
		case k < 6:
			var wg sync.WaitGroup
			var mu sync.Mutex
			for range 4 {
				body := text(rnd.IntN(1000), 1000+rnd.IntN(3000))
				l.mu.Lock()
				l.ever[refOf(body)] = body
				l.mu.Unlock()
				wg.Go(func() {
					info, err := put(s, body)
					if err == nil {
						l.wrote(info.Ref, body)
					}
					mu.Lock()
					note(err)
					mu.Unlock()
				})
			}
			wg.Wait()
		case k < 7:
			c.Advance(time.Duration(rnd.IntN(10)) * time.Minute)
			if ref, ok := some(); ok {
				note(s.Touch(ctx, ref))
			}
		case k < 10:
			c.Advance(10 * time.Minute)
			var gone []blob.Ref
			for range 3 {
				if ref, ok := some(); ok {
					l.mu.Lock()
					delete(l.there, ref)
					l.mu.Unlock()
					gone = append(gone, ref)
				}
			}
			_, err := s.DeleteOlder(ctx, c.Now(), gone...)
			note(err)
		case k < 11:
			note(s.Rewrite(ctx))
		default:
			for _, err := range s.List(ctx) {
				note(err)
			}
			if ref, ok := some(); ok {
				_, err := read(s, ref)
				note(err)
			}
		}
	}
	return first
}

// verify opens what is left and compares it with what was promised.
func verify(disk *vfs.Mem, c *testclock.Clock, there, ever map[blob.Ref]string) error {
	s, err := packblob.Open("/b", small(disk, c))
	if err != nil {
		return err
	}
	defer s.Close()
	for ref, want := range there {
		if got, err := read(s, ref); got != want || err != nil {
			return fmt.Errorf("%s: read %d of %d promised bytes, %w", ref, len(got), len(want), err)
		}
	}
	for info, err := range s.List(context.Background()) {
		if err != nil {
			return err
		}
		if _, ok := there[info.Ref]; ok {
			continue // read already
		}
		want, ok := ever[info.Ref]
		if got, err := read(s, info.Ref); !ok || got != want || err != nil {
			return fmt.Errorf("%s came back with %d bytes, %w", info.Ref, len(got), err)
		}
	}
	all, err := s.CheckAll(context.Background())
	for _, d := range all {
		if _, ok := there[d.Ref]; ok || d.State != packblob.DamagedBlob {
			return fmt.Errorf("reported %v", d)
		}
	}
	return err
}

// TestPowerCutAtEveryOperation cuts the power before every operation of a long
// workload, in three ways, and once more during the start that follows. Rounds
// begin with what a power cut left to the round before.
func TestPowerCutAtEveryOperation(t *testing.T) {
	rounds, least := 7, 3000
	if raceEnabled {
		rounds, least = 3, 500
	} else if os.Getenv("MAILKEEL_LONG") != "" {
		rounds, least = 70, 30_000
	}
	points, ops := 0, 0
	disk, l, c := new(vfs.Mem), newLedger(), &testclock.Clock{}
	for round := range rounds {
		if round%7 == 0 { // or each start would take longer than the last
			disk, l, c = new(vfs.Mem), newLedger(), &testclock.Clock{}
		}
		rnd := rand.New(rand.NewPCG(uint64(round), 7))
		var mu sync.Mutex
		stopped := false
		before := func(vfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if stopped {
				return nil
			}
			ops++
			l.mu.Lock()
			there, ever := maps.Clone(l.there), maps.Clone(l.ever)
			var left [3]*vfs.Mem
			for loss := range left {
				left[loss] = disk.CrashWith(vfs.Loss(loss), uint64(ops))
			}
			l.mu.Unlock()
			for loss, disk := range left {
				err := verify(disk, c, there, ever)
				if points++; err == nil && ops%8 == loss {
					points++ // the power goes again, after a start
					err = verify(disk.CrashWith(vfs.Loss(loss), uint64(ops)), c, there, ever)
				}
				if err != nil {
					t.Errorf("round %d, operation %d, loss %d: %v", round, ops, loss, err)
					stopped = true
				}
			}
			return nil
		}
		o := small(&vfs.Inject{FS: disk, Before: onlyChanges(before)}, c)
		o.Compress = round%2 == 1
		s, err := packblob.Open("/b", o)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.work(s, c, rnd, 30); err != nil && !errors.Is(err, blob.ErrNotFound) {
			t.Fatal(err)
		}
		mu.Lock()
		stopped = true
		mu.Unlock()
		if t.Failed() {
			return
		}
		if round%3 == 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := verify(disk.Crash(), c, l.there, l.ever); err != nil {
				t.Fatal("after Close:", err)
			}
		}
		cut := disk.CrashWith(vfs.Loss(round%3), uint64(round))
		_ = s.Close()
		disk = cut
	}
	t.Logf("%d operations, %d power cuts", ops, points)
	if points < least || ops < 200 {
		t.Errorf("only %d power cuts at %d operations", points, ops)
	}
}

// onlyChanges asks before what changes something.
func onlyChanges(fn func(vfs.Op) error) func(vfs.Op) error {
	return func(op vfs.Op) error {
		switch op.Kind {
		case "ReadAt", "Stat", "ReadDir", "Close":
			return nil
		}
		return fn(op)
	}
}
