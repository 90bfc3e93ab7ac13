package packblob_test

import (
	"bytes"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// TestWhatAStartFoundIsDurable kills a process between a write and its sync. The next
// one finds the blob in the system's cache and tells of it, so it must be on the disk
// when the power goes.
func TestWhatAStartFoundIsDurable(t *testing.T) {
	disk, c := new(vfs.Mem), &testclock.Clock{}
	var dying, dead atomic.Bool
	// Behind watched, so that a sync that is refused never was: the next one does it.
	s := open(t, "/b", small(&vfs.Inject{FS: watched{disk, func(string, []byte) {}}, Before: func(op vfs.Op) error {
		if dead.Load() || dying.Load() && (op.Kind != "WriteAt" || op.Name != "/b/next.tmp") {
			return errBoom
		}
		return nil
	}}, c))
	mustPut(t, s, "first")
	dying.Store(true)
	if _, err := put(s, "second"); !errors.Is(err, errBoom) {
		t.Fatal(err)
	}
	dead.Store(true)

	s = open(t, "/b", small(disk, c))
	ref := refOf("second")
	if _, err := s.Stat(t.Context(), ref); err != nil {
		t.Fatal("the start did not find what was written:", err)
	}
	syncs := s.Stats().Syncs
	mustPut(t, s, "second")
	if s.Stats().Syncs != syncs {
		t.Fatal("it was written again, which shows nothing")
	}
	s = open(t, "/b", small(disk.Crash(), c))
	if got, err := read(s, ref); got != "second" || err != nil {
		t.Errorf("after a power cut: %q, %v", got, err)
	}
}

// youngAfter wants a blob to be as young as that, now and after a power cut.
func youngAfter(t *testing.T, s *packblob.Store, disk *vfs.Mem, c *testclock.Clock, ref blob.Ref, want time.Time) {
	t.Helper()
	if s.Stats().Rewritten == 0 {
		t.Error("nothing was rewritten")
	}
	for _, s := range []*packblob.Store{s, open(t, "/b", small(disk.Crash(), c))} {
		if info, err := s.Stat(t.Context(), ref); err != nil || info.Young.Before(want) {
			t.Errorf("young %v, want %v at least; %v", info.Young, want, err)
		}
		if n, err := s.DeleteOlder(t.Context(), want, ref); n != 0 || err != nil {
			t.Errorf("a sweep removed what was touched: %d, %v", n, err)
		}
	}
}

// many puts blobs of 4 KB, the i-th and those after it.
func many(t *testing.T, s *packblob.Store, i, n int) (refs []blob.Ref) {
	for j := range n {
		refs = append(refs, mustPut(t, s, text(i+j, 4000)))
	}
	return refs
}

// TestTouchesAreCopied rewrites a segment in which only a touch of a blob elsewhere is
// needed.
func TestTouchesAreCopied(t *testing.T) {
	disk, c := new(vfs.Mem), &testclock.Clock{}
	s := open(t, "/b", small(disk, c))
	ref := many(t, s, 0, 50)[0]
	dead := many(t, s, 1000, 50)
	c.Advance(time.Hour)
	touched := c.Now()
	if err := s.Touch(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	dead = append(dead, many(t, s, 2000, 50)...)
	many(t, s, 3000, 50)
	c.Advance(time.Second)
	if _, err := s.DeleteOlder(t.Context(), c.Now(), dead...); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	youngAfter(t, s, disk, c, ref, touched)
}

// TestACopyIsAsYoungAsTheBlob rewrites a segment with a blob and a touch of it, of which
// only the blob is copied.
func TestACopyIsAsYoungAsTheBlob(t *testing.T) {
	disk, c := new(vfs.Mem), &testclock.Clock{}
	s := open(t, "/b", small(disk, c))
	ref := mustPut(t, s, "kept")
	c.Advance(time.Hour)
	touched := c.Now()
	if err := s.Touch(t.Context(), ref); err != nil { // in the same segment
		t.Fatal(err)
	}
	dead := many(t, s, 1000, 50)
	many(t, s, 2000, 50)
	c.Advance(time.Second)
	if _, err := s.DeleteOlder(t.Context(), c.Now(), dead...); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	youngAfter(t, s, disk, c, ref, touched)
}

// watched is called with what is written, before, and with what was read, after.
type watched struct {
	vfs.FS
	see func(op string, b []byte)
}

type watchedFile struct {
	vfs.File
	see func(op string, b []byte)
}

func (w watched) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := w.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w.see}, nil
}

func (f watchedFile) WriteAt(b []byte, off int64) (int, error) {
	f.see("write", b)
	return f.File.WriteAt(b, off)
}

func (f watchedFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.see("read", b[:n])
	return n, err
}

// TestATouchBesideACopy touches a blob while its copy is written, by so little that
// the age on the disk is near enough, and when it was just read to be copied, by more.
// The copy, which has an older age, must make neither older.
func TestATouchBesideACopy(t *testing.T) {
	for op, later := range map[string]time.Duration{"write": 2 * time.Minute, "read": time.Hour} {
		t.Run(op, func(t *testing.T) {
			const body = "the one that is kept"
			disk, c := new(vfs.Mem), &testclock.Clock{}
			var armed atomic.Bool
			var s *packblob.Store
			var touched time.Time
			s = open(t, "/b", small(watched{disk, func(now string, b []byte) {
				if now == op && bytes.Contains(b, []byte(body)) && armed.CompareAndSwap(true, false) {
					c.Advance(later)
					touched = c.Now()
					if err := s.Touch(t.Context(), refOf(body)); err != nil {
						t.Error(err)
					}
				}
			}}, c))
			ref := mustPut(t, s, body)
			dead := many(t, s, 0, 50)
			many(t, s, 1000, 50)
			if err := s.Rewrite(t.Context()); err != nil { // completes what is full
				t.Fatal(err)
			}
			c.Advance(time.Second)
			armed.Store(true)
			if _, err := s.DeleteOlder(t.Context(), c.Now(), dead...); err != nil {
				t.Fatal(err)
			}
			if err := s.Rewrite(t.Context()); err != nil {
				t.Fatal(err)
			}
			if armed.Load() {
				t.Fatal("it was not copied")
			}
			youngAfter(t, s, disk, c, ref, touched)
			syncs := s.Stats().Syncs
			if err := s.Touch(t.Context(), ref); err != nil || s.Stats().Syncs != syncs {
				t.Errorf("it is not known that the age is on the disk: %v", err)
			}
		})
	}
}
