package packblob_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// overwrite puts bytes into a file behind the store's back.
func overwrite(t *testing.T, disk *vfs.Mem, name string, off int64, bytes string) {
	t.Helper()
	f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(bytes), off); err != nil {
		t.Fatal(err)
	}
}

// TestCheckFindsNothingInAGoodStore that was used in every way.
func TestCheckFindsNothingInAGoodStore(t *testing.T) {
	for seed := range uint64(6) {
		disk, c, l := new(vfs.Mem), &testclock.Clock{}, newLedger()
		o := small(disk, c)
		o.Compress = seed%2 == 1
		s := open(t, "/b", o)
		for range 4 {
			if err := l.work(s, c, rand.New(rand.NewPCG(seed, 8)), 60); err != nil && !errors.Is(err, blob.ErrNotFound) {
				t.Fatal(err)
			}
			if d, err := s.CheckAll(t.Context()); len(d) != 0 || err != nil {
				t.Fatal(d, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, "/b", o)
			if left, repaired, err := s.Repair(t.Context()); len(left)+len(repaired) != 0 || err != nil {
				t.Fatal(left, repaired, err)
			}
		}
	}
}

// TestCheckNamesEveryState breaks a store in every way and looks at what is said.
func TestCheckNamesEveryState(t *testing.T) {
	disk, c := new(vfs.Mem), &testclock.Clock{}
	s := open(t, "/b", small(disk, c))
	var refs []blob.Ref
	for i := range 40 { // seven to a segment
		refs = append(refs, mustPut(t, s, noise(i, 8000)))
	}
	large := mustPut(t, s, noise(50, 200_000))
	c.Advance(time.Hour)
	if n, err := s.DeleteOlder(t.Context(), c.Now(), refs[1]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	each := int64(8064+4095) / 4096 * 4096 // of a batch of one
	overwrite(t, disk, "/b/00000001.seg", 4096+each+1000, "rot")
	overwrite(t, disk, "/b/00000001.seg", 4096+3*each+1000, "rot")
	overwrite(t, disk, "/b/00000002.seg", 4096+2*each+20, "rot") // the header
	overwrite(t, disk, "/b/00000003.idx", 100, "rot")
	if err := disk.Remove("/b/00000004.idx"); err != nil {
		t.Fatal(err)
	}
	overwrite(t, disk, "/b/notes.txt", 0, "mine")
	overwrite(t, disk, "/b/large/"+string(large)[len("sha256-"):], 70_000, "rot")
	want := map[packblob.State]int{
		packblob.DeadDamage: 1, packblob.DamagedBlob: 3, packblob.WrongIndex: 2, packblob.Stray: 1,
	}
	count := func(list []packblob.Damage) map[packblob.State]int {
		n := map[packblob.State]int{}
		for _, d := range list {
			n[d.State]++
		}
		return n
	}
	same := func(a, b map[packblob.State]int) bool {
		for _, st := range []packblob.State{packblob.DeadDamage, packblob.DamagedBlob, packblob.WrongIndex, packblob.Stray, packblob.DamagedBytes} {
			if a[st] != b[st] {
				return false
			}
		}
		return true
	}
	for range 2 {
		list, err := s.CheckAll(t.Context())
		if err != nil || !same(count(list), want) {
			t.Fatalf("%v, %v, want %v", list, err, want)
		}
		for _, d := range list {
			if d.State == packblob.DeadDamage && (d.Ref != refs[1] || d.Segment != 1 || d.Offset != 4096+each) {
				t.Error(d)
			}
			if !strings.HasPrefix(d.String(), string(d.State)) {
				t.Error(d)
			}
		}
	}
	left, repaired, err := s.Repair(t.Context())
	if err != nil || len(repaired) != 2 || repaired[0].State != packblob.WrongIndex || repaired[0].Segment != 3 || repaired[1].Segment != 4 {
		t.Fatal(repaired, err)
	}
	delete(want, packblob.WrongIndex)
	if !same(count(left), want) {
		t.Error(left)
	}
	for i, ref := range refs {
		if _, err := read(s, ref); (err != nil) != (i == 1 || i == 3 || i == 7+2) {
			t.Errorf("blob %d: %v", i, err)
		}
	}

	// One heals, one is given up, and with that the segment can be rewritten.
	if again := mustPut(t, s, noise(3, 8000)); again != refs[3] {
		t.Fatal(again)
	}
	if n, err := s.Discard(t.Context(), refs[7+2], large, refs[0]); n != 2 || err != nil {
		t.Error(n, err)
	}
	if _, err := disk.Stat("/b/large/" + string(large)[len("sha256-"):]); err == nil {
		t.Error("the file of a blob that was given up is there")
	}
	c.Advance(time.Hour)
	for range 2 {
		if d := s.Damaged(); len(d) != 0 {
			t.Error(d)
		}
		if _, err := s.DeleteOlder(t.Context(), c.Now(), refs[:14]...); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Rewrite(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"/b/00000001.seg", "/b/00000002.seg"} {
			if _, err := disk.Stat(name); err == nil {
				t.Error(name, "is still there")
			}
		}
		s = open(t, "/b", small(disk, c))
	}
	if left, err := s.CheckAll(t.Context()); err != nil || len(left) != 1 || left[0].State != packblob.Stray {
		t.Error(left, err)
	}
}
