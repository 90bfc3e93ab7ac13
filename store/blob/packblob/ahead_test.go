package packblob_test

import (
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
)

// TestNeighboursAreReadTogether: who reads blobs as they lie asks the disk seldom, and
// who reads them in another order reads nothing else. What is written meanwhile, and what
// is wrong with a neighbour, makes no difference.
func TestNeighboursAreReadTogether(t *testing.T) {
	const n, size = 300, 2500
	var reads, read, bad atomic.Int64
	disk := &vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) error {
		if op.Kind != "ReadAt" {
			return nil
		}
		if at := bad.Load(); at > 0 && op.Off <= at && at < op.Off+int64(op.Len) {
			return &fs.PathError{Op: "read", Path: op.Name, Err: syscall.EIO}
		}
		reads.Add(1)
		read.Add(int64(op.Len))
		return nil
	}}
	o := small(disk, nil)
	o.SegmentSize = 4 << 20
	s := open(t, "/b", o)
	var refs []blob.Ref
	there := map[blob.Ref]string{}
	for i := range n {
		body := noise(i, size)
		refs = append(refs, mustPut(t, s, body))
		there[refs[i]] = body
	}
	look := func(refs []blob.Ref) (failed int) {
		t.Helper()
		reads.Store(0)
		read.Store(0)
		for i, ref := range refs {
			got, err := s.Append(t.Context(), nil, ref, 0, -1)
			switch {
			case bad.Load() > 0 && err != nil:
				failed++
			case err != nil || string(got) != there[ref]:
				t.Fatalf("blob %d: %d bytes, %v", i, len(got), err)
			}
		}
		return failed
	}
	look(refs)
	// The race detector has pools forget things.
	if r, b := reads.Load(), read.Load(); !raceEnabled && (r > n/8 || b > 3*n*size) {
		t.Errorf("in their order: %d reads of %d bytes for %d blobs", r, b, n)
	}
	mixed := slices.Clone(refs)
	rand.New(rand.NewPCG(1, 1)).Shuffle(n, func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	look(mixed)
	if b := read.Load(); b > 2*n*(size+100) {
		t.Errorf("in another order: %d bytes for %d blobs of %d", b, n, size)
	}
	back := slices.Clone(refs)
	slices.Reverse(back)
	look(back)

	// A byte of one cannot be read: each begins with a block here.
	bad.Store(48<<12 + 1000)
	if failed := look(refs); failed != 1 {
		t.Errorf("%d blobs cannot be read because of one byte", failed)
	}
	bad.Store(0)
	look(refs)

	// Some read while others write.
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for i, ref := range refs {
				if got, err := s.Append(t.Context(), nil, ref, 0, -1); err != nil || string(got) != there[ref] {
					t.Errorf("blob %d: %v", i, err)
				}
			}
		})
	}
	var fresh []blob.Ref
	for i := range 50 {
		body := noise(n+i, size)
		info, err := put(s, body)
		if err != nil {
			t.Fatal(err)
		}
		fresh = append(fresh, info.Ref)
		got, err := s.Append(t.Context(), nil, info.Ref, 0, -1)
		if err != nil || string(got) != body {
			t.Fatalf("new blob %d: %v", i, err)
		}
	}
	all.Wait()
	for i, ref := range fresh {
		there[ref] = noise(n+i, size)
	}
	look(append(refs, fresh...))
}
