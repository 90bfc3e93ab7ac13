package packblob_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// files returns the files of a folder, and of large in it, whose names end so.
func files(t *testing.T, disk *vfs.Mem, suffix string) (names []string) {
	t.Helper()
	for _, dir := range []string{"/b", "/b/large"} {
		entries, err := disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !e.IsDir() && strings.HasSuffix(e.Name(), suffix) && (suffix != "" || dir == "/b/large") {
				names = append(names, filepath.Join(dir, e.Name()))
			}
		}
	}
	return names
}

// copyDisk copies the files, not what is durable of them.
func copyDisk(t *testing.T, from *vfs.Mem) *vfs.Mem {
	t.Helper()
	to := new(vfs.Mem)
	if err := to.MkdirAll("/b/large", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files(t, from, ""), append(files(t, from, ".seg"), files(t, from, ".idx")...)...) {
		src, err := from.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		dst, err := to.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fi, _ := from.Stat(name)
		if _, err := io.Copy(dst, io.NewSectionReader(src, 0, fi.Size())); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// flip inverts a bit of a file that holds something, and says where.
func flip(t *testing.T, disk *vfs.Mem, name string, rnd *rand.Rand) int64 {
	t.Helper()
	fi, err := disk.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := disk.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	off := rnd.Int64N(fi.Size())
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << rnd.IntN(8)
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	return off
}

// TestBitFlips: a store always opens, never gives wrong bytes, loses one blob at
// most, and knows that it did. Writing the blob again heals it.
func TestBitFlips(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprint("compress ", compress), func(t *testing.T) { testBitFlips(t, compress) })
	}
}

func testBitFlips(t *testing.T, compress bool) {
	disk := new(vfs.Mem)
	o := small(disk, nil)
	o.Compress = compress
	s := open(t, "/b", o)
	there := map[blob.Ref]string{}
	for i := range 60 {
		body := []func(int, int) string{text, words, noise}[i%3](i, 200+i*150+i/20*(i%2)*8000)
		there[mustPut(t, s, body)] = body
	}
	if err := errors.Join(s.Rewrite(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	flips := 200
	if raceEnabled {
		flips = 50
	}
	for _, kind := range []string{".seg", ".idx", "", "both"} {
		rnd := rand.New(rand.NewPCG(1, 2))
		lostAny, torn := 0, 0
		for range flips {
			left := copyDisk(t, disk)
			suffix := kind
			if kind == "both" { // a segment whose index cannot help
				suffix = ".seg"
				for _, name := range files(t, left, ".idx") {
					if err := left.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
			names := files(t, left, suffix)
			name := names[rnd.IntN(len(names))]
			off := flip(t, left, name, rnd)
			s, err := packblob.Open("/b", small(left, nil))
			if err != nil {
				t.Fatalf("%s at %d: %v", name, off, err)
			}
			reported, err := s.CheckAll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			told := len(reported) + s.Stats().Torn
			lost := 0
			for ref, want := range there {
				got, err := read(s, ref)
				switch {
				case err == nil && got == want:
				case err == nil:
					t.Fatalf("%s at %d: wrong bytes", name, off)
				case errors.Is(err, blob.ErrNotFound):
					lost++
					if again := mustPut(t, s, want); again != ref {
						t.Fatal(again)
					}
					if got, err := read(s, ref); got != want || err != nil {
						t.Fatalf("%s at %d: not healed: %v", name, off, err)
					}
				default:
					t.Fatalf("%s at %d: %v", name, off, err)
				}
			}
			if lost > 1 || lost > told {
				t.Fatalf("%s at %d: lost %d, reported %v", name, off, lost, reported)
			}
			lostAny += lost
			if lost > 0 && len(reported) == 0 {
				torn++
			}
			_ = s.Close()
		}
		t.Logf("%q: %d blobs lost in %d flips, %d of them taken for a write that was never finished", kind, lostAny, flips, torn)
		if kind == ".idx" && lostAny > 0 || kind == ".seg" && lostAny == 0 {
			t.Errorf("%s: lost %d", kind, lostAny)
		}
	}
}

// TestDamageIsKept: a segment with damaged bytes is not rewritten away, and what is
// damaged is told at each start.
func TestDamageIsKept(t *testing.T) {
	for _, index := range []bool{true, false} {
		disk := new(vfs.Mem)
		s := open(t, "/b", small(disk, nil))
		var refs []blob.Ref
		for i := range 20 {
			refs = append(refs, mustPut(t, s, text(i, 8000)))
		}
		if err := errors.Join(s.Rewrite(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		if !index {
			for _, name := range files(t, disk, ".idx") {
				if err := disk.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		f, err := disk.OpenFile("/b/00000001.seg", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("rot"), 4096+1000); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s = open(t, "/b", small(disk, nil))
			d, err := s.CheckAll(t.Context())
			if len(d) != 1 || d[0].Ref != refs[0] || err != nil {
				t.Fatalf("index %v: %+v, %v", index, d, err)
			}
			_, err = read(s, refs[0])
			if !errors.Is(err, packblob.ErrDamaged) || !errors.Is(err, blob.ErrNotFound) || !strings.Contains(err.Error(), "00000001.seg") {
				t.Error(err)
			}
			if err := s.Touch(t.Context(), refs[0]); !errors.Is(err, blob.ErrNotFound) {
				t.Error("a damaged blob was touched:", err)
			}
			if _, err := s.DeleteOlder(t.Context(), time.Now().Add(time.Hour), refs[1:19]...); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Rewrite(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := disk.Stat("/b/00000001.seg"); err != nil {
				t.Error("the damaged bytes were removed")
			}
		}
	}
}

// TestDamageToTheLastBatch: after a crash, nothing stands behind the last batch. A bit
// of it that is wrong is damage, and is told; a batch that was not finished is not.
func TestDamageToTheLastBatch(t *testing.T) {
	disk := new(vfs.Mem)
	s := open(t, "/b", small(disk, nil))
	first := mustPut(t, s, text(1, 1000))
	last := mustPut(t, s, text(2, 9000))
	base := copyDisk(t, disk) // as after a kill
	const at, end = 2 * 4096, 2*4096 + 64 + 9000
	after := func(what string, change func(b []byte)) (told []packblob.Damage, torn int, lost bool) {
		left := copyDisk(t, base)
		f, err := left.OpenFile("/b/00000001.seg", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, end-at)
		_, err = f.ReadAt(b, at)
		change(b)
		if _, werr := f.WriteAt(b, at); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
		s, err := packblob.Open("/b", small(left, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := read(s, first); err != nil {
			t.Errorf("%s: the one before: %v", what, err)
		}
		_, err = read(s, last)
		if err != nil && !errors.Is(err, blob.ErrNotFound) {
			t.Fatal(err)
		}
		return s.Damaged(), s.Stats().Torn, err != nil
	}
	step := 7
	if raceEnabled {
		step = 101
	}
	for i := 0; i < end-at; i += step {
		what := fmt.Sprint("a bit at ", i)
		told, torn, lost := after(what, func(b []byte) { b[i] ^= 1 << (i % 8) })
		if !lost || len(told) != 1 || torn != 0 {
			t.Errorf("%s: lost %v, told %v, %d torn", what, lost, told, torn)
		}
	}
	for i := 0; i < end-at; i += step {
		what := fmt.Sprint("written up to ", i)
		told, torn, lost := after(what, func(b []byte) { clear(b[i:]) })
		if !lost || len(told) != 0 || torn > 1 || torn == 0 && i > 0 {
			t.Errorf("%s: lost %v, told %v, %d torn", what, lost, told, torn)
		}
	}
	for i := 0; i < end-at; i += 512 {
		what := fmt.Sprint("a sector lacks at ", i)
		told, torn, lost := after(what, func(b []byte) { clear(b[i:min(i+512, len(b))]) })
		if !lost || len(told) != 0 || torn != 1 {
			t.Errorf("%s: lost %v, told %v, %d torn", what, lost, told, torn)
		}
	}
}
