package packblob_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// badSector returns a disk of which a piece of 4 KB of a file cannot be read.
func badSector(disk vfs.FS, name string, off int64) *vfs.Inject {
	return &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if op.Kind == "ReadAt" && op.Name == name && op.Off < off+4096 && off < op.Off+int64(op.Len) {
			return &fs.PathError{Op: "read", Path: name, Err: syscall.EIO}
		}
		return nil
	}}
}

// TestUnreadableSectors: with any piece of 4 KB of any file unreadable, with and
// without indexes, a store opens, serves all that can be read, and tells what cannot.
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
	points, lostAny := 0, 0
	for _, indexes := range []bool{true, false} {
		base := copyDisk(t, disk)
		if !indexes {
			for _, name := range files(t, base, ".idx") {
				if err := base.Remove(name); err != nil {
					t.Fatal(err)
				}
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
				left := copyDisk(t, base)
				s, err := packblob.Open("/b", small(badSector(left, name, off), nil))
				if err != nil {
					t.Fatalf("%s at %d, indexes %v: %v", name, off, indexes, err)
				}
				told, err := s.CheckAll(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				lost := 0
				for ref, want := range there {
					got, err := read(s, ref)
					if errors.Is(err, blob.ErrNotFound) {
						lost++
					} else if got != want || err != nil {
						t.Fatalf("%s at %d, indexes %v: %v", name, off, indexes, err)
					}
				}
				// Blobs of 2.5 KB each are in blocks of their own here.
				if lost > 1 || lost > len(told) {
					t.Fatalf("%s at %d, indexes %v: lost %d, told %+v", name, off, indexes, lost, told)
				}
				lostAny += lost
				if err := errors.Join(s.Rewrite(t.Context()), s.Close()); err != nil {
					t.Fatalf("%s at %d, indexes %v: %v", name, off, indexes, err)
				}
			}
		}
	}
	if t.Logf("%d sectors, %d blobs lost", points, lostAny); lostAny == 0 {
		t.Error("nothing was lost: the test does not test")
	}
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
