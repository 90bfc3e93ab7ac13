package vfs_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// each runs a test on every FS, in a folder that is empty.
func each(t *testing.T, fn func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Run("OS", func(t *testing.T) { fn(t, vfs.OS{}, t.TempDir()) })
	t.Run("Mem", func(t *testing.T) {
		m := new(vfs.Mem)
		if err := m.MkdirAll("/a/b", 0o700); err != nil {
			t.Fatal(err)
		}
		fn(t, m, "/a/b")
	})
	t.Run("Inject", func(t *testing.T) {
		fn(t, &vfs.Inject{FS: vfs.OS{}, Before: func(vfs.Op) error { return nil }}, t.TempDir())
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, fsys vfs.FS, name, text string) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	must(t, err)
	_, err = io.WriteString(f, text)
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

func read(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	must(t, err)
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	must(t, err)
	return string(b)
}

func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		must(t, err)
		for _, s := range []string{"hello ", "world"} {
			_, err := io.WriteString(f, s)
			must(t, err)
		}
		_, err = f.WriteAt([]byte("W"), 6)
		must(t, err)
		_, err = f.WriteAt([]byte("!"), 12)
		must(t, err)
		if got := read(t, fsys, name); got != "hello World\x00!" {
			t.Errorf("read %q", got)
		}
		must(t, f.Truncate(5))
		must(t, f.Truncate(7))
		if got := read(t, fsys, name); got != "hello\x00\x00" {
			t.Errorf("read %q after Truncate", got)
		}
		b := make([]byte, 10)
		if n, err := f.ReadAt(b, 3); n != 4 || err != io.EOF {
			t.Errorf("ReadAt = %d, %v", n, err)
		}
		must(t, f.Close())
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if _, err := f.Write(b); err == nil {
			t.Error("wrote to a closed file")
		}
		ro, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		must(t, err)
		defer ro.Close()
		if _, err := ro.Write(b); err == nil {
			t.Error("wrote to a file that was opened to read")
		}
		if _, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("O_EXCL: %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		in := func(name string) string { return filepath.Join(dir, name) }
		must(t, fsys.MkdirAll(in("x/y"), 0o700))
		must(t, fsys.MkdirAll(in("x/y"), 0o700))
		write(t, fsys, in("x/b"), "b")
		write(t, fsys, in("x/a"), "a")
		open, err := fsys.OpenFile(in("x/b"), os.O_RDONLY, 0)
		must(t, err)
		defer open.Close()
		must(t, fsys.Rename(in("x/a"), in("x/b")))
		must(t, fsys.SyncDir(in("x")))
		b := make([]byte, 1)
		if _, err := open.ReadAt(b, 0); err != nil || string(b) != "b" {
			t.Errorf("a replaced file that is open reads %q, %v", b, err)
		}
		if got := read(t, fsys, in("x/b")); got != "a" {
			t.Errorf("after Rename: %q", got)
		}
		at := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
		must(t, fsys.Chtimes(in("x/b"), at))
		fi, err := fsys.Stat(in("x/b"))
		must(t, err)
		if fi.Name() != "b" || fi.Size() != 1 || !fi.ModTime().Equal(at) || fi.IsDir() || fi.Mode() != 0o600 {
			t.Errorf("Stat: %v", fi)
		}
		entries, err := fsys.ReadDir(in("x"))
		must(t, err)
		if len(entries) != 2 || entries[0].Name() != "b" || entries[1].Name() != "y" || !entries[1].IsDir() {
			t.Errorf("ReadDir: %v", entries)
		}
		for what, err := range map[string]error{
			"Rename": fsys.Rename(in("no"), in("no2")), "Remove": fsys.Remove(in("no")), "Chtimes": fsys.Chtimes(in("no"), at),
			"SyncDir": fsys.SyncDir(in("no")), "Rename into": fsys.Rename(in("x/b"), in("no/b")),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, statErr := fsys.Stat(in("no"))
		_, openErr := fsys.OpenFile(in("no/f"), os.O_WRONLY|os.O_CREATE, 0o600)
		_, dirErr := fsys.ReadDir(in("no"))
		for _, err := range []error{statErr, openErr, dirErr} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
		if fsys.Remove(in("x")) == nil || fsys.MkdirAll(in("x/b/z"), 0o700) == nil {
			t.Error("removed a folder that is not empty, or made one in a file")
		}
		must(t, fsys.Remove(in("x/b")))
		must(t, fsys.Remove(in("x/y")))
		must(t, fsys.Remove(in("x")))
	})
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	m := new(vfs.Mem)
	must(t, vfs.MkdirDurably(m, "/d/e", 0o700))
	write(t, m, "/d/e/named", "synced")
	must(t, m.SyncDir("/d/e"))
	f, err := m.OpenFile("/d/e/named", os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("SY"), 0)
	must(t, err)
	write(t, m, "/d/e/unnamed", "synced")
	must(t, m.Rename("/d/e/named", "/d/e/other"))
	must(t, m.MkdirAll("/d/lost", 0o700))
	after := m.Crash()
	if got := read(t, after, "/d/e/named"); got != "synced" {
		t.Errorf("read %q", got)
	}
	for _, name := range []string{"/d/e/unnamed", "/d/e/other", "/d/lost"} {
		if _, err := after.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := read(t, m, "/d/e/other"); got != "SYnced" {
		t.Errorf("the crash changed the past: %q", got)
	}
	must(t, m.SyncDir("/d/e"))
	if got := read(t, m.Crash(), "/d/e/other"); got != "synced" {
		t.Errorf("after the rename was synced: %q", got)
	}
}

func TestInjectFails(t *testing.T) {
	boom := errors.New("boom")
	var fail string
	var ops []string
	m := new(vfs.Mem)
	i := &vfs.Inject{FS: m, Before: func(op vfs.Op) error {
		ops = append(ops, op.Kind)
		if op.Kind == fail {
			return boom
		}
		return nil
	}}
	all := func() (err error) {
		note := func(e error) { err = errors.Join(err, e) }
		note(i.MkdirAll("/d", 0o700))
		f, e := i.OpenFile("/d/f", os.O_RDWR|os.O_CREATE, 0o600)
		note(e)
		if e == nil {
			_, e = f.Write([]byte("four"))
			note(e)
			_, e = f.WriteAt([]byte("last"), 4)
			note(e)
			_, e = f.ReadAt(make([]byte, 2), 0)
			note(e)
			note(errors.Join(f.Truncate(6), f.Sync(), f.Close()))
		}
		note(i.Chtimes("/d/f", time.Time{}))
		_, e = i.Stat("/d/f")
		note(e)
		_, e = i.ReadDir("/d")
		note(e)
		note(i.Rename("/d/f", "/d/g"))
		note(i.SyncDir("/d"))
		note(i.Remove("/d/g"))
		return err
	}
	must(t, all())
	kinds := ops
	for _, fail = range kinds {
		if err := all(); !errors.Is(err, boom) {
			t.Errorf("%s: %v", fail, err)
		}
		if fail == "Remove" {
			must(t, m.Remove("/d/g"))
		}
		if fail == "Rename" {
			must(t, m.Remove("/d/f"))
		}
	}
	if len(kinds) != 14 {
		t.Errorf("%d operations: %s", len(kinds), strings.Join(kinds, " "))
	}
	fail = "Write"
	f, err := i.OpenFile("/d/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	if n, err := f.Write([]byte("12345678")); n != 4 || !errors.Is(err, boom) || read(t, m, "/d/f") != "1234" {
		t.Errorf("%d, %v: %q", n, err, read(t, m, "/d/f"))
	}
}
