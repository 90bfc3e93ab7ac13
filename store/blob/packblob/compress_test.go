package packblob_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/blobtest"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

func compressing(fsys vfs.FS, c mailkeel.Clock) packblob.Options {
	o := small(fsys, c)
	o.Compress = true
	return o
}

// noise is a blob of n bytes that cannot be compressed, different for each i.
func noise(i, n int) string {
	rnd := rand.New(rand.NewPCG(uint64(i), 3))
	b := make([]byte, n)
	for j := range b {
		b[j] = byte(rnd.Uint32())
	}
	return string(b)
}

// words is a blob of n bytes like text: about half of it can be saved.
func words(i, n int) string {
	rnd := rand.New(rand.NewPCG(uint64(i), 4))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %d ", []string{"mail", "kept", "letter", "stone", "keel"}[rnd.IntN(5)], rnd.IntN(1000))
	}
	return b.String()[:n]
}

func TestConformanceCompressed(t *testing.T) {
	var disks sync.Map
	blobtest.Run(t, blobtest.Options{
		New: func(t *testing.T, c mailkeel.Clock) blob.Store {
			disk := new(vfs.Mem)
			s := open(t, "/b", compressing(disk, c))
			disks.Store(s, disk)
			return s
		},
		Reopen: func(t *testing.T, s blob.Store, c mailkeel.Clock) blob.Store {
			disk, _ := disks.Load(s)
			return open(t, "/b", compressing(disk.(*vfs.Mem).Crash(), c))
		},
	})
}

// TestCompressing stores what can be compressed and what cannot, small and large, and
// reads it in ranges, also without the option and after it was copied.
func TestCompressing(t *testing.T) {
	disk := new(vfs.Mem)
	there := map[blob.Ref]string{}
	o := compressing(disk, nil)
	o.LargeSize, o.SegmentSize = 128<<10, 1<<20
	s := open(t, "/b", o)
	plain := 0
	for i, n := range []int{0, 100, 300, 5000, 64 << 10, 100_000, 128 << 10, 128<<10 + 1, 200_000, 256 << 10, 700_000} {
		for _, body := range []string{words(i, n), noise(i, n), words(i, n/2) + noise(i, n-n/2), noise(i, n/2) + words(i, n-n/2)} {
			there[mustPut(t, s, body)] = body
			plain += len(body)
		}
	}
	onDisk := 0
	for _, name := range files(t, disk, "") {
		fi, err := disk.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		onDisk += int(fi.Size())
	}
	if st := s.Stats(); int(st.Bytes) > plain || int(st.OnDisk)+onDisk > plain*8/10 {
		t.Errorf("%d bytes take %d in segments and %d in files", plain, st.OnDisk, onDisk)
	}
	look := func(s *packblob.Store) {
		t.Helper()
		rnd := rand.New(rand.NewPCG(5, 6))
		for ref, want := range there {
			if info, err := s.Stat(t.Context(), ref); err != nil || info.Size != int64(len(want)) {
				t.Fatal(info, err)
			}
			if err := s.Check(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				off := rnd.IntN(len(want) + 1)
				n := rnd.IntN(len(want) - off + 1)
				r, err := s.Open(t.Context(), ref, int64(off), int64(n))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r)
				if err = errors.Join(err, r.Close()); string(b) != want[off:off+n] || err != nil {
					t.Fatalf("%d bytes of %d from %d: got %d, %v", n, len(want), off, len(b), err)
				}
			}
		}
	}
	look(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Compress = false
	s = open(t, "/b", o)
	look(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files(t, disk, ".seg"), files(t, disk, ".idx")...) {
		if strings.HasSuffix(name, ".idx") {
			if err := disk.Remove(name); err != nil { // a scan finds the same
				t.Fatal(err)
			}
		}
	}
	s = open(t, "/b", o)
	look(s)
	_ = s.Close()
}

// TestALargeFileIsEnough: without its record a large blob is found by its file, also
// when that is compressed.
func TestALargeFileIsEnough(t *testing.T) {
	for _, compress := range []bool{false, true} {
		disk := new(vfs.Mem)
		o := small(disk, nil)
		o.Compress = compress
		s := open(t, "/b", o)
		bodies := []string{words(1, 300_000), noise(2, 300_000), words(3, 70_000) + noise(3, 70_000), words(4, 128<<10)}
		for _, body := range bodies {
			mustPut(t, s, body)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(files(t, disk, ".seg"), files(t, disk, ".idx")...) {
			if err := disk.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, "/b", small(disk, nil))
		for _, body := range bodies {
			if got, err := read(s, refOf(body)); got != body || err != nil {
				t.Errorf("compress %v: read %d of %d bytes, %v", compress, len(got), len(body), err)
			}
		}
		if d := s.Damaged(); len(d) != 0 {
			t.Error(d)
		}
		// One that is damaged too is told.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(files(t, disk, ".seg"), files(t, disk, ".idx")...) {
			if err := disk.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join("/b/large", string(refOf(bodies[0]))[len("sha256-"):])
		f, err := disk.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("rot"), 20_000); err != nil {
			t.Fatal(err)
		}
		s = open(t, "/b", small(disk, nil))
		if d := s.Damaged(); len(d) != 1 || d[0].Ref != refOf(bodies[0]) {
			t.Errorf("compress %v: %+v", compress, d)
		}
		_ = s.Close()
	}
}

// TestRangesOfLargeBlobsReadLittle counts what is read for a part of a large blob.
func TestRangesOfLargeBlobsReadLittle(t *testing.T) {
	for _, compress := range []bool{false, true} {
		var bytes atomic.Int64
		o := small(&vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) error {
			if op.Kind == "ReadAt" {
				bytes.Add(int64(op.Len))
			}
			return nil
		}}, nil)
		o.Compress = compress
		s := open(t, "/b", o)
		body := words(1, 2<<20)
		ref := mustPut(t, s, body)
		bytes.Store(0)
		r, err := s.Open(t.Context(), ref, 1<<20+5, 1000)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if string(b) != body[1<<20+5:][:1000] || err != nil || bytes.Load() > 100_000 {
			t.Errorf("compress %v: read %d bytes for 1000, %v", compress, bytes.Load(), err)
		}
		_ = r.Close()
		bytes.Store(0)
		if got, err := read(s, ref); got != body || err != nil || bytes.Load() > 2<<20+100_000 {
			t.Errorf("compress %v: read %d bytes for all, %v", compress, bytes.Load(), err)
		}
	}
}
