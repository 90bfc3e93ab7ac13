//go:build unix

package fileblob_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/blobtest"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
)

func TestConformanceShared(t *testing.T) {
	var dirs sync.Map
	blobtest.Run(t, blobtest.Options{
		New: func(t *testing.T, c mailkeel.Clock) blob.Store {
			dir := t.TempDir()
			s := open(t, dir, fileblob.Options{Clock: c, Shared: true})
			dirs.Store(s, dir)
			return s
		},
		Reopen: func(t *testing.T, s blob.Store, c mailkeel.Clock) blob.Store {
			dir, _ := dirs.Load(s)
			return open(t, dir.(string), fileblob.Options{Clock: c, Shared: true})
		},
	})
}

// keep commits a blob.
func keep(t *testing.T, s *fileblob.Store, text string) blob.Ref {
	w, err := s.Create(t.Context())
	if err != nil {
		t.Error(err)
		return ""
	}
	defer w.Close()
	if _, err := w.Write([]byte(text)); err != nil {
		t.Error(err)
	}
	i, err := w.Commit()
	if err != nil {
		t.Error(err)
	}
	return i.Ref
}

// Two handles, as two processes have them: what one makes young the other does not
// remove, in whatever moment it looks.
func TestSharedDeletesNothingYoung(t *testing.T) {
	dir, c := t.TempDir(), &testclock.Clock{}
	a, b := open(t, dir, fileblob.Options{Clock: c, Shared: true}), open(t, dir, fileblob.Options{Clock: c, Shared: true})
	ctx := context.Background()
	for round := range 100 {
		text := fmt.Sprint("text", round%4)
		ref := keep(t, a, text)
		c.Advance(time.Hour)
		before := c.Now().Add(-time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.DeleteOlder(ctx, before, ref); err != nil {
				t.Error(err)
			}
		})
		young := true
		wg.Go(func() {
			if round%2 == 0 {
				keep(t, b, text)
			} else if err := b.Touch(ctx, ref); errors.Is(err, blob.ErrNotFound) {
				young = false
			} else if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if _, err := a.Stat(ctx, ref); (err == nil) != young {
			t.Fatalf("round %d: made young: %v, but %v", round, young, err)
		}
	}
}

func TestSharedOpenLeavesOthersAlone(t *testing.T) {
	dir, c := t.TempDir(), &testclock.Clock{}
	a := open(t, dir, fileblob.Options{Clock: c, Shared: true})
	w, err := a.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 200<<10)); err != nil {
		t.Fatal(err)
	}
	temps := func() []os.DirEntry {
		es, err := os.ReadDir(filepath.Join(dir, "tmp"))
		if err != nil {
			t.Fatal(err)
		}
		return es
	}
	age := func(name string) {
		if err := os.Chtimes(filepath.Join(dir, "tmp", name), c.Now(), c.Now()); err != nil {
			t.Fatal(err)
		}
	}
	es := temps()
	if len(es) != 1 {
		t.Fatalf("%d temporary files", len(es))
	}
	age(es[0].Name())
	b := open(t, dir, fileblob.Options{Clock: c, Shared: true})
	i, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(t.Context(), i.Ref); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	age("left")
	c.Advance(25 * time.Hour)
	open(t, dir, fileblob.Options{Clock: c, Shared: true})
	if es := temps(); len(es) != 0 {
		t.Errorf("%d temporary files are left after a day", len(es))
	}
}

// Another process takes an empty folder away again when its sync of the folder above
// failed. What is written there then fails once, and not for ever.
func TestSharedFolderComesBack(t *testing.T) {
	dir, c := t.TempDir(), &testclock.Clock{}
	a := open(t, dir, fileblob.Options{Clock: c, Shared: true})
	ref := keep(t, a, "text")
	if n, err := a.DeleteOlder(t.Context(), c.Now().Add(time.Hour), ref); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := os.Remove(filepath.Join(dir, string(ref)[len("sha256-"):][:2])); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w, err := a.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("text")); err != nil {
			t.Fatal(err)
		}
		if _, err = w.Commit(); err == nil {
			return
		}
	}
	t.Error("nothing can be written any more")
}
