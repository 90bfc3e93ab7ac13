package packblob_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// TestEveryFailureIsAnError fails each operation in turn, alone or with all that
// follow, and then restarts or cuts the power.
func TestEveryFailureIsAnError(t *testing.T) {
	step := 1
	if raceEnabled {
		step = 5
	}
	for _, lasting := range []bool{false, true} {
		n := 1
		for ; ; n += step {
			disk, l, c := new(vfs.Mem), newLedger(), &testclock.Clock{}
			var mu sync.Mutex
			var failed *vfs.Op
			count := 0
			fsys := &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if count++; count == n || lasting && count > n {
					if failed == nil {
						failed = &op
					}
					return errBoom
				}
				return nil
			}}
			s, err := packblob.Open("/b", small(fsys, c))
			if err == nil {
				err = l.work(s, c, rand.New(rand.NewPCG(1, 2)), 40)
				cerr := s.Close()
				if err == nil {
					err = cerr
				}
			}
			if failed == nil {
				if err != nil && !errors.Is(err, blob.ErrNotFound) {
					t.Error(err)
				}
				break
			}
			if err != nil && !errors.Is(err, errBoom) && !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("operation %d, %+v, failed: %v", n, *failed, err)
			}
			for loss := range 4 {
				left := disk
				if loss < 3 {
					left = disk.CrashWith(vfs.Loss(loss), uint64(n))
				}
				if err := verify(left, c, l.there, l.ever); err != nil {
					t.Fatalf("operation %d, %+v, lasting %v, loss %d: %v", n, *failed, lasting, loss, err)
				}
			}
		}
		if t.Logf("%d operations failed", n/step); n < 150 {
			t.Errorf("only %d operations", n)
		}
	}
}

// TestFailedSyncEndsTheSegment: the batch was never there, the sync is not tried
// again, and the next commit goes elsewhere.
func TestFailedSyncEndsTheSegment(t *testing.T) {
	disk := new(vfs.Mem)
	fail, refused := false, false
	var mu sync.Mutex
	s := open(t, "/b", small(&vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.Name != "/b/next.tmp":
		case op.Kind == "OpenFile":
			refused = false
		case op.Kind == "SyncData" && refused:
			t.Error("a sync was tried again")
		case op.Kind == "SyncData" && fail:
			fail, refused = false, true
			return errBoom
		}
		return nil
	}}, nil))
	first := mustPut(t, s, "first")
	mu.Lock()
	fail = true
	mu.Unlock()
	if _, err := put(s, "second"); !errors.Is(err, errBoom) {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), refOf("second")); !errors.Is(err, blob.ErrNotFound) {
		t.Error("a failed batch is visible:", err)
	}
	third := mustPut(t, s, "third")
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := open(t, "/b", small(disk, nil)) // without a power cut: the cache has it all
	for _, ref := range []blob.Ref{first, third} {
		if _, err := read(after, ref); err != nil {
			t.Error(err)
		}
	}
	if _, err := after.Stat(t.Context(), refOf("second")); !errors.Is(err, blob.ErrNotFound) {
		t.Error("a failed batch came back:", err)
	}
}
