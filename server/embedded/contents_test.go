package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// layout1 returns a directory as the former layout kept it, and its contents. One of
// them is damaged.
func layout1(t *testing.T) (disk *vfs.Mem, whole map[blob.Ref]string, damaged blob.Ref) {
	t.Helper()
	disk, whole = &vfs.Mem{}, map[blob.Ref]string{}
	if err := vfs.MkdirDurably(disk, "d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := write(disk, "d", versionFile, []byte("1\n")); err != nil {
		t.Fatal(err)
	}
	s, err := fileblob.Open("d/blobs", fileblob.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	texts := []string{"", "to be damaged", strings.Repeat("large ", 40_000)}
	for i := range 12 {
		texts = append(texts, strings.Repeat(fmt.Sprint(i), i*i*50))
	}
	for i, text := range texts {
		w, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
		info, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		whole[info.Ref] = text
		if i == 1 {
			damaged = info.Ref
			delete(whole, damaged)
			hash := string(damaged)[len("sha256-"):]
			f, err := disk.OpenFile(filepath.Join("d", "blobs", hash[:2], hash), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteAt([]byte("X"), 3)
			f.Sync()
			f.Close()
		}
	}
	return disk, whole, damaged
}

// isLayout2 opens a directory that has been interrupted at most, and looks at it.
func isLayout2(t *testing.T, fsys vfs.FS, whole map[blob.Ref]string, damaged blob.Ref) error {
	t.Helper()
	s, err := openBlobs(t.Context(), "d", Options{fs: fsys})
	if err != nil {
		return err
	}
	defer s.Close()
	for ref, text := range whole {
		r, err := s.Open(t.Context(), ref, 0, -1)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(b) != text {
			return fmt.Errorf("%s has %d bytes, %v, want %d", ref, len(b), err, len(text))
		}
	}
	if _, err := s.Stat(t.Context(), damaged); !errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("the damaged one: %v", err)
	}
	if _, err := fsys.Stat("d/damaged/" + string(damaged)[len("sha256-"):]); err != nil {
		return err
	}
	if _, err := fsys.Stat("d/blobs"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the files are still there: %v", err)
	}
	if v, err := readVersion(fsys, "d"); v != "2" {
		return fmt.Errorf("layout %q, %v", v, err)
	}
	return nil
}

func TestContentsMoveFromFilesIntoPacks(t *testing.T) {
	disk, whole, damaged := layout1(t)
	var log bytes.Buffer
	s, err := openBlobs(t.Context(), "d", Options{fs: disk, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !strings.Contains(log.String(), "contents=14 ") || !strings.Contains(log.String(), "damaged=1") || !strings.Contains(log.String(), string(damaged)) {
		t.Errorf("the log says %s", &log)
	}
	if err := isLayout2(t, disk, whole, damaged); err != nil {
		t.Error(err)
	}
}

// TestAMoveIntoPacksIsTakenUpAgain fails every operation of a move, and cuts the power
// after each.
func TestAMoveIntoPacksIsTakenUpAgain(t *testing.T) {
	base, whole, damaged := layout1(t)
	points, step, least := 0, 1, 400
	if raceEnabled {
		step, least = 9, 40
	}
	for n := 1; ; n += step {
		disk := base.Crash()
		var mu sync.Mutex
		ops, kind := 0, vfs.Op{}
		s, err := openBlobs(t.Context(), "d", Options{fs: &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			// Packs do some things when they want; the others come in order.
			if op.Name == filepath.Join("d", "packs", "spare.tmp") {
				return nil
			}
			if ops++; ops == n {
				kind = op
			}
			if ops >= n {
				return syscall.ENOSPC
			}
			return nil
		}}})
		left := []*vfs.Mem{disk.Crash(), disk.CrashWith(vfs.LoseHalf, uint64(n)), disk.CrashWith(vfs.LoseTail, uint64(n))}
		if err == nil {
			s.Close()
		}
		for i, fsys := range append(left, disk) {
			points++
			if err := isLayout2(t, fsys, whole, damaged); err != nil {
				t.Fatalf("operation %d (%v) failed, variant %d: %v", n, kind, i, err)
			}
		}
		if mu.Lock(); ops < n {
			mu.Unlock()
			break
		}
		mu.Unlock()
	}
	if points < least {
		t.Errorf("only %d points", points)
	}
	t.Logf("%d points", points)
}

func TestContentsCanBeCompressed(t *testing.T) {
	for _, compress := range []bool{false, true} {
		h := open(t, t.TempDir(), Options{Compress: compress})
		w, err := h.Blobs.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, strings.Repeat("the same again\r\n", 1000))
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		if n := h.Blobs.Stats().OnDisk; (n < 8000) != compress {
			t.Errorf("compress %v: 16 KB take %d bytes", compress, n)
		}
	}
}

func TestAnUnreadableFileIsSetAside(t *testing.T) {
	disk, whole, damaged := layout1(t)
	var bad blob.Ref
	for ref, text := range whole {
		if len(text) == 50*9 {
			bad = ref
		}
	}
	delete(whole, bad)
	hash := string(bad)[len("sha256-"):]
	fsys := &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if op.Kind == "ReadAt" && filepath.Base(op.Name) == hash {
			return syscall.EIO
		}
		return nil
	}}
	if err := isLayout2(t, fsys, whole, damaged); err != nil {
		t.Error(err)
	}
	if _, err := disk.Stat("d/damaged/" + hash); err != nil {
		t.Error(err)
	}
}

// TestAFileThatIsUnreadableOnce is taken over.
func TestAFileThatIsUnreadableOnce(t *testing.T) {
	disk, whole, damaged := layout1(t)
	failed := map[string]bool{}
	fsys := &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if op.Kind == "ReadAt" && strings.HasPrefix(op.Name, "d/blobs") && !failed[op.Name] {
			failed[op.Name] = true
			return syscall.EIO
		}
		return nil
	}}
	if err := isLayout2(t, fsys, whole, damaged); err != nil || len(failed) < 10 {
		t.Error(len(failed), err)
	}
	set, err := disk.ReadDir("d/damaged")
	if len(set) != 1 || err != nil {
		t.Error(set, err)
	}
}

// TestAHomeOfTheFormerLayoutOpens does so on a real disk.
func TestAHomeOfTheFormerLayoutOpens(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, Options{})
	fill(t, h)
	h.Close()
	if err := os.RemoveAll(filepath.Join(dir, "packs")); err != nil {
		t.Fatal(err)
	}
	s, err := fileblob.Open(filepath.Join(dir, "blobs"), fileblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "Subject: hello\r\n\r\n")
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, versionFile), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir, Options{})
	if err := h.Blobs.Check(t.Context(), info.Ref); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "blobs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("blobs: %v", err)
	}
	if got := h.Blobs.Stats(); got != (packblob.Stats{}) && got.Blobs != 1 {
		t.Errorf("%+v", got)
	}
}

// VERSION may be gone, empty or wrong: that is no reason to let contents go.
func TestContentsMoveWhateverVersionSays(t *testing.T) {
	for name, lose := range map[string]func(vfs.FS) error{
		"gone":  func(fsys vfs.FS) error { return fsys.Remove(filepath.Join("d", versionFile)) },
		"empty": func(fsys vfs.FS) error { return write(fsys, "d", versionFile, nil) },
		"wrong": func(fsys vfs.FS) error { return write(fsys, "d", versionFile, []byte("2\n")) },
	} {
		t.Run(name, func(t *testing.T) {
			disk, whole, damaged := layout1(t)
			if err := lose(disk); err != nil {
				t.Fatal(err)
			}
			if err := isLayout2(t, disk, whole, damaged); err != nil {
				t.Error(err)
			}
		})
	}
}

// Without packs/ a directory is not opened as if it were new: somebody forgot to mount
// or to copy it.
func TestAHomeWithoutItsPacksIsDamaged(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{}).Close()
	packs := filepath.Join(dir, packsDir)
	if err := os.Rename(packs, packs+".away"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), dir, Options{})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), packs) || !strings.Contains(Hint(err), "BACKUP/packs") {
		t.Errorf("%v\n%s", err, Hint(err))
	}
	if err := os.Rename(packs+".away", packs); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{}).Close()
}
