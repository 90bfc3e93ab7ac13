package packblob_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// TestRewritingIsPaced deletes most of a store that is in use, and counts what is copied
// in how much time of a clock that is moved by hand. Who commits does not wait for it.
func TestRewritingIsPaced(t *testing.T) {
	const rate = 32 << 20 // the default
	disk, c := new(vfs.Mem), &testclock.Clock{}
	s := open(t, "/b", packblob.Options{FS: disk, Clock: c, SegmentSize: 1 << 20})
	var refs []blob.Ref
	keep := map[blob.Ref]string{}
	for i := range 1000 {
		body := noise(i, 10_000)
		ref := mustPut(t, s, body)
		if refs = append(refs, ref); i%10 < 3 { // 300 KB of each segment, 3 MB in all
			keep[ref] = body
		}
	}
	// What is complete by now, before anything is dead.
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	full := s.Stats().Segments
	c.Advance(time.Hour)
	for i := 0; i < len(refs); i += 50 {
		var gone []blob.Ref
		for _, ref := range refs[i : i+50] {
			if _, ok := keep[ref]; !ok {
				gone = append(gone, ref)
			}
		}
		if _, err := s.DeleteOlder(t.Context(), c.Now(), gone...); err != nil {
			t.Fatal(err)
		}
	}
	begin, commits := c.Now(), 0
	for c.Now().Sub(begin) < time.Hour && int(s.Stats().Rewritten) < full-2 {
		// The clock stands still, so a commit that waited for it would never end.
		body := noise(10_000+commits, 1000)
		keep[mustPut(t, s, body)] = body
		commits++
		c.Advance(time.Millisecond)
	}
	took := c.Now().Sub(begin)
	copied := s.Stats().Rewritten * 290_000
	if least := time.Duration(copied-1<<20) * time.Second / rate; took < least {
		t.Errorf("%d bytes were copied in %v, want at least %v", copied, took, least)
	}
	if s.Stats().Rewritten < 5 || commits < 50 {
		t.Errorf("%d segments were rewritten beside %d commits", s.Stats().Rewritten, commits)
	}
	t.Logf("%d of %d segments rewritten in %v of the clock, beside %d commits", s.Stats().Rewritten, full, took, commits)
	if err := s.Close(); err != nil { // also in the middle of a pause
		t.Fatal(err)
	}
	s = open(t, "/b", packblob.Options{FS: disk, Clock: c, SegmentSize: 1 << 20, RewriteRate: -1})
	for ref, want := range keep {
		if got, err := read(s, ref); got != want || err != nil {
			t.Fatal(err)
		}
	}
}

// TestSmallSegmentsAreMerged makes many of them by syncs that fail.
func TestSmallSegmentsAreMerged(t *testing.T) {
	disk := new(vfs.Mem)
	var fail atomic.Bool
	s := open(t, "/b", packblob.Options{RewriteRate: -1, FS: &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if op.Kind == "SyncData" && fail.CompareAndSwap(true, false) {
			return errBoom
		}
		return nil
	}}})
	there := map[blob.Ref]string{}
	for failed := 0; failed < 60; {
		body := noise(len(there), 3000)
		there[mustPut(t, s, body)] = body
		fail.Store(true) // unless the keeper copies just now, it hits this one:
		body = noise(len(there), 2000)
		if info, err := put(s, body); err == nil {
			there[info.Ref] = body
		} else if failed++; !errors.Is(err, errBoom) {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Rewrite(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	st := s.Stats()
	if st.Segments > 18 || st.Rewritten < 40 {
		t.Errorf("%+v", st)
	}
	if err := s.Rewrite(t.Context()); err != nil || s.Stats().Rewritten != st.Rewritten {
		t.Errorf("it goes on and on: %+v, %v", s.Stats(), err)
	}
	for _, s := range []*packblob.Store{s, open(t, "/b", packblob.Options{FS: disk.Crash()})} {
		for ref, want := range there {
			if got, err := read(s, ref); got != want || err != nil {
				t.Fatal(err)
			}
		}
		if d, err := s.CheckAll(t.Context()); len(d) != 0 || err != nil {
			t.Error(d, err)
		}
	}
}

// TestACommitIsOneWriteAndOneSync counts the operations of a lone writer, with a clock
// that stands still: nothing of what happens in the background is waited for.
func TestACommitIsOneWriteAndOneSync(t *testing.T) {
	const n, record = 3000, 12288 // 10 KB and its header in whole blocks
	var mu sync.Mutex
	ops := map[string]int{}
	disk := &vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		kind := op.Kind
		switch {
		case strings.HasSuffix(op.Name, ".idx"):
			kind = "index"
		case kind == "WriteAt" && op.Len == record:
			kind = "commit"
		}
		ops[kind]++
		return nil
	}}
	s := open(t, "/b", packblob.Options{FS: disk, Clock: &testclock.Clock{}, SegmentSize: 4 << 20})
	clear(ops)
	for i := range n {
		mustPut(t, s, text(i, 10_000))
	}
	segments := s.Stats().Segments
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if t.Log(ops, segments, "segments"); ops["commit"] != n {
		t.Errorf("%d writes for %d commits", ops["commit"], n)
	}
	// Beside one for each commit, a segment is synced when its first zeros are
	// written, if that happens at all with a clock that stands still.
	if extra := ops["SyncData"] - n; extra < 0 || extra > 2*segments {
		t.Errorf("%d syncs for %d commits, %d segments", ops["SyncData"], n, segments)
	}
	// A head, a rename, and syncs of the file and the folder for each segment.
	for _, kind := range []string{"OpenFile", "WriteAt", "Sync", "SyncDir", "Rename", "Allocate", "Truncate", "index"} {
		if ops[kind] > 5*(segments+1) {
			t.Errorf("%d of %s for %d segments", ops[kind], kind, segments)
		}
	}
}
