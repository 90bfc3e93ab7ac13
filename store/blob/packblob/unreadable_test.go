package packblob_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// badSector returns a disk of which a piece of 4 KB of a file cannot be read, as long
// as bad says so.
func badSector(disk vfs.FS, name string, off int64, bad *atomic.Bool) *vfs.Inject {
	return &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if bad.Load() && op.Kind == "ReadAt" && op.Name == name && op.Off < off+4096 && off < op.Off+int64(op.Len) {
			return &fs.PathError{Op: "read", Path: name, Err: syscall.EIO}
		}
		return nil
	}}
}

// TestUnreadableSectors: with any piece of 4 KB of any file unreadable, with and
// without indexes, a store opens, serves all that can be read, tells what cannot, and
// calls nothing lost. When the disk gives it again, it is there.
func TestUnreadableSectors(t *testing.T) {
	disk := new(vfs.Mem)
	o := small(disk, nil)
	s := open(t, "/b", o)
	there := map[blob.Ref]string{}
	for i := range 40 {
		n := 2500
		if i%8 == 7 {
			n = 70_000
		}
		body := noise(i, n)
		there[mustPut(t, s, body)] = body
	}
	if err := errors.Join(s.Rewrite(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	points, failedAny := 0, 0
	for _, without := range []string{"nothing", "indexes", "records"} {
		base := copyDisk(t, disk)
		gone := files(t, base, ".idx")
		if without == "records" { // large blobs are taken back from their files
			gone = append(gone, files(t, base, ".seg")...)
		}
		for _, name := range gone {
			if without == "nothing" {
				break
			}
			if err := base.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		for _, suffix := range []string{".seg", ".idx", ""} {
			names = append(names, files(t, base, suffix)...)
		}
		for _, name := range names {
			fi, err := base.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			step := int64(4096)
			if raceEnabled {
				step *= 3
			}
			for off := int64(0); off < fi.Size(); off += step {
				points++
				what := fmt.Sprintf("%s at %d, without %s", name, off, without)
				left := copyDisk(t, base)
				var bad atomic.Bool
				bad.Store(true)
				s, err := packblob.Open("/b", small(badSector(left, name, off, &bad), nil))
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				told, err := s.CheckAll(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				failed := 0
				for ref, want := range there {
					got, err := read(s, ref)
					switch {
					case errors.Is(err, blob.ErrUnreadable) && !errors.Is(err, blob.ErrNotFound):
						failed++
					case without == "records" && errors.Is(err, blob.ErrNotFound) && len(want) < 16<<10:
					case got != want || err != nil:
						t.Fatalf("%s: %v", what, err)
					}
				}
				// Blobs of 2.5 KB each are in blocks of their own here.
				if most := 1; without != "records" && failed > most || failed > 0 && len(told) == 0 {
					t.Fatalf("%s: %d could not be read, told %+v", what, failed, told)
				}
				failedAny += failed
				if failed > 0 && points%2 == 0 { // a start meanwhile
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = open(t, "/b", small(badSector(left, name, off, &bad), nil))
				}
				bad.Store(false)
				if err := s.Rewrite(t.Context()); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				for again := range 2 {
					for ref, want := range there {
						got, err := read(s, ref)
						if without == "records" && errors.Is(err, blob.ErrNotFound) && len(want) < 16<<10 {
							continue
						}
						if got != want || err != nil {
							t.Fatalf("%s: when it can be read again: %v", what, err)
						}
					}
					if told, err := s.CheckAll(t.Context()); len(told) > 0 || err != nil {
						t.Fatalf("%s: when it can be read again: %v, %v", what, told, err)
					}
					if again == 0 {
						if err := s.Close(); err != nil {
							t.Fatalf("%s: %v", what, err)
						}
						s = open(t, "/b", small(left, nil))
					}
				}
				_ = s.Close()
			}
		}
	}
	if t.Logf("%d sectors, %d blobs could not be read", points, failedAny); failedAny == 0 {
		t.Error("all could be read: the test does not test")
	}
}

// TestReadErrorsPass: a blob for which the disk gives an error once is there again for
// who asks next; meanwhile it is counted, kept where it is, and written anew by who has
// its bytes.
func TestReadErrorsPass(t *testing.T) {
	for _, compress := range []bool{false, true} {
		for _, n := range []int{2500, 14_000, 70_000, 200_000} {
			for _, file := range []bool{false, true} { // of its own, or the segment
				if file && n < 16<<10 {
					continue
				}
				t.Run(fmt.Sprintf("%d bytes, file %v, compress %v", n, file, compress), func(t *testing.T) {
					testReadErrorPasses(t, file, n, compress)
				})
			}
		}
	}
}

func testReadErrorPasses(t *testing.T, file bool, n int, compress bool) {
	disk, c := new(vfs.Mem), &testclock.Clock{}
	var broken atomic.Bool
	o := small(&vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if broken.Load() && op.Kind == "ReadAt" && !strings.HasSuffix(op.Name, ".idx") && strings.Contains(op.Name, "/large/") == file {
			return &fs.PathError{Op: "read", Path: op.Name, Err: syscall.EIO}
		}
		return nil
	}}, c)
	o.Compress = compress
	s := open(t, "/b", o)
	body := words(1, n)
	ref := mustPut(t, s, body)
	var rest []blob.Ref // to make its segment one that is rewritten
	for i := range 40 {
		rest = append(rest, mustPut(t, s, noise(i, 9000)))
	}
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	fails := func(when string) {
		t.Helper()
		for range 2 {
			if _, err := read(s, ref); !errors.Is(err, blob.ErrUnreadable) || !errors.Is(err, syscall.EIO) || errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) {
				t.Fatalf("%s: %v", when, err)
			}
		}
		if _, err := s.Stat(t.Context(), ref); err != nil {
			t.Errorf("%s: Stat: %v", when, err)
		}
		if d := s.Damaged(); len(d) != 1 || d[0].State != packblob.UnreadableBlob || d[0].Ref != ref || s.Stats().Unreadable != 1 || s.Stats().Damaged != 0 {
			t.Errorf("%s: %+v", when, d)
		}
		if n, err := s.Discard(t.Context(), ref); n != 0 || err != nil {
			t.Error("what can be read another time was given up")
		}
	}
	reads := func(when string) {
		t.Helper()
		if got, err := read(s, ref); got != body || err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if d := s.Damaged(); len(d) != 0 || s.Stats().Unreadable != 0 {
			t.Errorf("%s: %+v", when, d)
		}
	}
	broken.Store(true)
	fails("at first")
	broken.Store(false)
	reads("at once")
	broken.Store(true)
	fails("again")
	// Its segment would be rewritten.
	if _, err := s.DeleteOlder(t.Context(), c.Now().Add(1), rest...); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	fails("after rewriting")
	broken.Store(false)
	reads("after rewriting")
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads("rewritten")
	broken.Store(true)
	fails("before it is written again")
	if again := mustPut(t, s, body); again != ref {
		t.Fatal(again)
	}
	if d := s.Damaged(); len(d) != 0 {
		t.Errorf("%+v", d)
	}
	broken.Store(false)
	reads("written again")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, "/b", o)
	reads("after a start")
}

// TestOnlyABadDiskIsDamage: what fails for want of file descriptors or memory is
// there again later, and is not parked.
func TestOnlyABadDiskIsDamage(t *testing.T) {
	disk := new(vfs.Mem)
	var broken atomic.Bool
	s := open(t, "/b", small(&vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if broken.Load() && (op.Kind == "ReadAt" || op.Kind == "OpenFile") && !strings.HasSuffix(op.Name, ".tmp") {
			return &fs.PathError{Op: "read", Path: op.Name, Err: syscall.EMFILE}
		}
		return nil
	}}, nil))
	rnd := rand.New(rand.NewPCG(1, 2))
	large := mustPut(t, s, noise(rnd.IntN(9), 50_000))
	broken.Store(true)
	if _, err := read(s, large); !errors.Is(err, syscall.EMFILE) || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("got %v, want EMFILE", err)
	}
	broken.Store(false)
	if _, err := read(s, large); err != nil || len(s.Damaged()) != 0 {
		t.Error(err, s.Damaged())
	}
}
