package packblob_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/blobtest"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

func open(t testing.TB, dir string, o packblob.Options) *packblob.Store {
	t.Helper()
	s, err := packblob.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// small is for stores that seal and rewrite often.
func small(fsys vfs.FS, c mailkeel.Clock) packblob.Options {
	return packblob.Options{FS: fsys, Clock: c, SegmentSize: 64 << 10, LargeSize: 16 << 10, RewriteRate: -1}
}

func TestConformance(t *testing.T) {
	var dirs sync.Map
	blobtest.Run(t, blobtest.Options{
		New: func(t *testing.T, c mailkeel.Clock) blob.Store {
			dir := t.TempDir()
			s := open(t, dir, packblob.Options{Clock: c})
			dirs.Store(s, dir)
			return s
		},
		// As after a kill: the files as the system has them.
		Reopen: func(t *testing.T, s blob.Store, c mailkeel.Clock) blob.Store {
			dir, _ := dirs.Load(s)
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir.(string))); err != nil {
				t.Fatal(err)
			}
			return open(t, copied, packblob.Options{Clock: c})
		},
	})
}

func TestConformanceInMemory(t *testing.T) {
	for _, loss := range []vfs.Loss{vfs.LoseAll, vfs.LoseHalf, vfs.LoseTail} {
		t.Run(fmt.Sprint("loss ", loss), func(t *testing.T) {
			var disks sync.Map
			blobtest.Run(t, blobtest.Options{
				New: func(t *testing.T, c mailkeel.Clock) blob.Store {
					disk := new(vfs.Mem)
					s := open(t, "/blobs", small(disk, c))
					disks.Store(s, disk)
					return s
				},
				Reopen: func(t *testing.T, s blob.Store, c mailkeel.Clock) blob.Store {
					disk, _ := disks.Load(s)
					return open(t, "/blobs", small(disk.(*vfs.Mem).CrashWith(loss, 1), c))
				},
			})
		})
	}
}

func put(s *packblob.Store, text string) (blob.Info, error) {
	w, err := s.Create(context.Background())
	if err != nil {
		return blob.Info{}, err
	}
	defer w.Close()
	for i := 0; i < len(text); i += 7000 { // in pieces, as it comes over a network
		if _, err := io.WriteString(w, text[i:min(i+7000, len(text))]); err != nil {
			return blob.Info{}, err
		}
	}
	return w.Commit()
}

func mustPut(t testing.TB, s *packblob.Store, text string) blob.Ref {
	t.Helper()
	info, err := put(s, text)
	if err != nil {
		t.Fatal(err)
	}
	return info.Ref
}

func read(s *packblob.Store, ref blob.Ref) (string, error) {
	r, err := s.Open(context.Background(), ref, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// text is a blob of n bytes, different for each i.
func text(i, n int) string { return strings.Repeat(fmt.Sprintf("%07d\n", i), n/8+1)[:n] }

var errBoom = errors.New("boom")

func TestWhatIsReadStaysReadable(t *testing.T) {
	for _, n := range []int{100, 15_000, 200_000} {
		disk, c := new(vfs.Mem), &testclock.Clock{}
		s := open(t, "/b", packblob.Options{FS: disk, Clock: c, SegmentSize: 64 << 10, LargeSize: 128 << 10, RewriteRate: -1})
		ref := mustPut(t, s, text(1, n))
		for i := range 20 { // so that its segment is complete
			mustPut(t, s, text(100+i, 10_000))
		}
		r, err := s.Open(t.Context(), ref, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Hour)
		var all []blob.Ref
		for info := range s.List(t.Context()) {
			all = append(all, info.Ref)
		}
		if k, err := s.DeleteOlder(t.Context(), c.Now(), all...); k != 21 || err != nil {
			t.Fatal(k, err)
		}
		if err := s.Rewrite(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != text(1, n) || err != nil {
			t.Errorf("%d bytes: read %d, %v", n, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Rewritten == 0 || st.Segments > 2 {
			t.Errorf("%+v", st)
		}
	}
}

func TestStageThenWait(t *testing.T) {
	disk := new(vfs.Mem)
	s := open(t, "/b", small(disk, nil))
	var ws []blob.Stager
	for i := range 3 {
		w, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st := w.(blob.Stager)
		if _, err := io.WriteString(st, text(i/2, 100)); err != nil {
			t.Fatal(err)
		}
		if err := st.Wait(); err == nil {
			t.Error("Wait before Stage")
		}
		info, err := st.Stage()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), info.Ref); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("staged and there: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		ws = append(ws, st)
	}
	for _, w := range ws {
		if err := w.Wait(); err != nil {
			t.Error(err)
		}
	}
	if st := s.Stats(); st.Syncs != 1 || st.Blobs != 2 {
		t.Errorf("%+v, want 2 blobs in 1 sync", st)
	}
	after := open(t, "/b", small(disk.Crash(), nil))
	if after.Stats().Blobs != 2 {
		t.Errorf("%+v", after.Stats())
	}
}

// TestAgesAreNeverOlder: a stamp may be less than five minutes behind.
func TestAgesAreNeverOlder(t *testing.T) {
	disk, c := new(vfs.Mem), &testclock.Clock{}
	s := open(t, "/b", small(disk, c))
	ref := mustPut(t, s, "x")
	for i := range 40 {
		c.Advance(time.Duration(i) * 17 * time.Second)
		syncs := s.Stats().Syncs
		if err := s.Touch(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if i == 1 && s.Stats().Syncs != syncs {
			t.Error("a blob that was young was noted again")
		}
		after := open(t, "/b", small(disk.Crash(), c))
		info, err := after.Stat(t.Context(), ref)
		if err != nil || info.Young.Before(c.Now()) || info.Young.After(c.Now().Add(5*time.Minute)) {
			t.Errorf("young %v at %v, %v", info.Young, c.Now(), err)
		}
		if i%10 == 9 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, "/b", small(disk, c))
			if err := s.Touch(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFullDiskRecovers(t *testing.T) {
	for _, minFree := range []int64{-1, 100_000} {
		t.Run(fmt.Sprint("least ", minFree), func(t *testing.T) { testFullDisk(t, minFree) })
	}
}

func testFullDisk(t *testing.T, minFree int64) {
	disk, c := &vfs.Mem{Capacity: 2 << 20}, &testclock.Clock{}
	s := open(t, "/b", packblob.Options{FS: disk, Clock: c, LargeSize: 32 << 10, RewriteRate: -1, MinFree: minFree})
	there := map[blob.Ref]string{}
	var full error
	for i := 0; full == nil; i++ {
		body := text(i, 10_000+i%4*20_000)
		info, err := put(s, body)
		if full = err; err == nil {
			there[info.Ref] = body
		}
	}
	if !strings.Contains(full.Error(), "no space") || len(there) < 30 {
		t.Fatalf("%v after %d blobs", full, len(there))
	}
	if free, _ := disk.Free("/"); free < minFree {
		t.Errorf("%d bytes are left to others, want %d", free, minFree)
	}
	for ref, want := range there {
		if got, err := read(s, ref); got != want || err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(time.Hour)
	n := 0
	for ref := range there {
		k, err := s.DeleteOlder(t.Context(), c.Now(), ref)
		if err != nil {
			t.Fatal("deleting on a full disk:", err)
		}
		if n += k; n > len(there)*3/4 {
			break
		}
	}
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal("rewriting on a full disk:", err)
	}
	for i := range 20 {
		mustPut(t, s, text(10_000+i, 10_000))
	}
}

func TestClosed(t *testing.T) {
	s := open(t, t.TempDir(), packblob.Options{})
	ref := mustPut(t, s, text(1, 100_000))
	r, err := s.Open(t.Context(), ref, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := s.Create(t.Context())
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, werr := w.Commit()
	_, serr := s.Stat(t.Context(), ref)
	_, derr := s.DeleteOlder(t.Context(), time.Now(), ref)
	for _, err := range []error{werr, serr, derr, s.Touch(t.Context(), ref)} {
		if !errors.Is(err, packblob.ErrClosed) {
			t.Error(err)
		}
	}
	got, err := io.ReadAll(r)
	if string(got) != text(1, 100_000) || err != nil || r.Close() != nil {
		t.Error("a blob that was being read at Close:", err)
	}
}

func refOf(body string) blob.Ref {
	return blob.Ref(fmt.Sprintf("sha256-%x", sha256.Sum256([]byte(body))))
}
