package packblob_test

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// fill stages n small blobs in batches.
func fill(t testing.TB, s *packblob.Store, n int) {
	t.Helper()
	for i := 0; i < n; {
		var last blob.Stager
		for ; i < n && (last == nil || i%1000 != 0); i++ {
			w, err := s.Create(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last = w.(blob.Stager)
			fmt.Fprint(last, "blob ", i)
			if _, err := last.Stage(); err != nil {
				t.Fatal(err)
			}
		}
		if err := last.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenReadsIndexes counts what a start reads: the indexes, and a bounded piece
// of the segment that was written last.
func TestOpenReadsIndexes(t *testing.T) {
	n := 100_000
	if raceEnabled {
		n = 20_000
	}
	disk := new(vfs.Mem)
	s := open(t, "/b", packblob.Options{FS: disk})
	fill(t, s, n)
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	// After a kill there may be a chunk's worth of records to scan.
	for what, most := range map[string]int64{"kill": int64(n)*57 + 8<<20, "close": int64(n)*57 + 4<<20} {
		if what == "close" {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var bytes atomic.Int64
		fsys := &vfs.Inject{FS: copyDisk(t, disk), Before: func(op vfs.Op) error {
			if op.Kind == "ReadAt" {
				bytes.Add(int64(op.Len))
			}
			return nil
		}}
		again := open(t, "/b", packblob.Options{FS: fsys})
		if got := again.Stats().Blobs; got != n || bytes.Load() > most {
			t.Errorf("%s: %d blobs, read %d bytes, at most %d", what, got, bytes.Load(), most)
		}
		t.Logf("%s: read %d bytes for %d blobs", what, bytes.Load(), n)
		_ = again.Close()
	}
}

// TestMemoryOfABlob bounds the index.
func TestMemoryOfABlob(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory too")
	}
	const n = 200_000
	dir := t.TempDir()
	start := func() *packblob.Store { // without a cleanup, which would keep it
		s, err := packblob.Open(dir, packblob.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	func() {
		s := start()
		fill(t, s, n)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	heap := func() int64 {
		for range 3 { // what a pool holds survives one
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	s := start()
	each := (heap() - before) / n
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d bytes for each blob", each); each < 56 || each > 130 {
		t.Errorf("%d bytes for each blob", each)
	}
}

func TestCommitsShareSyncs(t *testing.T) {
	const n = 40
	inside, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := open(t, "/b", packblob.Options{FS: &vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) error {
		if op.Kind == "SyncData" {
			once.Do(func() {
				close(inside)
				<-leave
			})
		}
		return nil
	}}})
	var wg sync.WaitGroup
	commit := func(i int) {
		if _, err := put(s, text(i, 1000)); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { commit(n) })
	<-inside
	var staged sync.WaitGroup
	for i := range n {
		staged.Add(1)
		wg.Go(func() {
			w, err := s.Create(t.Context())
			if err == nil {
				_, err = io.WriteString(w, text(i, 1000))
			}
			if err == nil {
				_, err = w.(blob.Stager).Stage()
			}
			staged.Done()
			if err == nil {
				err = w.(blob.Stager).Wait()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	staged.Wait()
	close(leave)
	wg.Wait()
	if st := s.Stats(); st.Syncs != 2 || st.Blobs != n+1 {
		t.Errorf("%+v, want %d blobs in 2 syncs", st, n+1)
	}
}
