package vfs_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// TestCrashKinds: whatever is lost, what was synced is there, and blocks are old or
// new.
func TestCrashKinds(t *testing.T) {
	m := new(vfs.Mem)
	must(t, vfs.MkdirDurably(m, "/d", 0o700))
	write(t, m, "/d/f", strings.Repeat("a", 8192))
	must(t, m.SyncDir("/d"))
	f, err := m.OpenFile("/d/f", os.O_RDWR, 0)
	must(t, err)
	for off := int64(8192); off < 10*4096; off += 4096 {
		_, err = f.WriteAt([]byte(strings.Repeat("b", 4096)), off)
		must(t, err)
	}
	for _, name := range []string{"1", "2", "3", "4", "5", "6"} {
		write(t, m, "/d/"+name, "x")
		must(t, m.Rename("/d/"+name, "/d/r"+name))
	}
	lengths, names := map[int]bool{}, map[int]bool{}
	for seed := range uint64(50) {
		for _, loss := range []vfs.Loss{vfs.LoseAll, vfs.LoseHalf, vfs.LoseTail} {
			left := m.CrashWith(loss, seed)
			got := read(t, left, "/d/f")
			if got[:8192] != strings.Repeat("a", 8192) || len(got) > 10*4096 {
				t.Fatalf("loss %d: %d bytes, or not those that were synced", loss, len(got))
			}
			for off := 8192; off+4096 <= len(got); off += 4096 {
				if b := got[off : off+4096]; loss != vfs.LoseTail && strings.Trim(b, "b") != "" && strings.Trim(b, "\x00") != "" {
					t.Fatalf("loss %d: a block of both", loss)
				}
			}
			entries, err := left.ReadDir("/d")
			must(t, err)
			switch loss {
			case vfs.LoseAll:
				if len(got) != 8192 || len(entries) != 1 {
					t.Errorf("%d bytes, %d names survived", len(got), len(entries))
				}
			case vfs.LoseTail:
				if _, err := left.Stat("/d/6"); err != nil || len(entries) != 7 || len(got) < 9*4096 || len(got) >= 10*4096 {
					t.Errorf("%d bytes, %v, %v", len(got), entries, err)
				}
				lengths[len(got)] = true
			default:
				names[len(entries)] = true
			}
			if again := read(t, left.Crash(), "/d/f"); again != got {
				t.Error("what survived was not durable")
			}
		}
	}
	if len(lengths) < 10 || len(names) < 4 {
		t.Errorf("%d lengths, %d sets of names: no chance", len(lengths), len(names))
	}
}

func TestAllocate(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f, err := fsys.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		defer f.Close()
		must(t, vfs.Allocate(f, 10_000))
		_, err = f.WriteAt([]byte("x"), 9_000)
		must(t, err)
		must(t, vfs.SyncData(f))
		if got := read(t, fsys, dir+"/f"); len(got) != 10_000 || strings.Trim(got, "\x00") != "x" {
			t.Errorf("%d bytes", len(got))
		}
	})
}

func TestCapacity(t *testing.T) {
	m := &vfs.Mem{Capacity: 100}
	f, err := m.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, vfs.Allocate(f, 60))
	if n, ok := vfs.Free(m, "/"); n != 40 || !ok {
		t.Errorf("%d free, %v", n, ok)
	}
	_, err = f.WriteAt(make([]byte, 41), 60)
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(vfs.Allocate(f, 101), syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	_, err = f.WriteAt(make([]byte, 60), 40)
	must(t, err)
	must(t, m.Remove("/f"))
	if n, _ := vfs.Free(m, "/"); n != 100 {
		t.Errorf("%d free", n)
	}
	if n, ok := vfs.Free(vfs.OS{}, t.TempDir()); ok && n <= 0 {
		t.Errorf("%d free", n)
	}
}

func TestSyncDataIsInjected(t *testing.T) {
	boom := errors.New("boom")
	i := &vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) error {
		if op.Kind == "SyncData" || op.Kind == "Allocate" {
			return boom
		}
		return nil
	}}
	f, err := i.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	for _, err := range []error{vfs.SyncData(f), vfs.Allocate(f, 10)} {
		if !errors.Is(err, boom) {
			t.Error(err)
		}
	}
}

// TestAFailedSyncIsNotMadeUpFor: the next one does not make durable what it did not.
func TestAFailedSyncIsNotMadeUpFor(t *testing.T) {
	fail := false
	m := new(vfs.Mem)
	i := &vfs.Inject{FS: m, Before: func(op vfs.Op) error {
		if fail && op.Kind == "Sync" {
			return syscall.EIO
		}
		return nil
	}}
	write(t, i, "/f", "aaaa")
	must(t, i.SyncDir("/"))
	f, err := i.OpenFile("/f", os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("b"), 1)
	must(t, err)
	fail = true
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	fail = false
	_, err = f.WriteAt([]byte("cc"), 3)
	must(t, errors.Join(err, f.Sync()))
	if now, left := read(t, m, "/f"), read(t, m.Crash(), "/f"); now != "abacc" || left != "aaacc" {
		t.Errorf("it reads %q, and %q after a power cut", now, left)
	}
}
