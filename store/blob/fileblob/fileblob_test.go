package fileblob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/blobtest"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
)

func open(t testing.TB, dir string, o fileblob.Options) *fileblob.Store {
	t.Helper()
	s, err := fileblob.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	var dirs sync.Map
	blobtest.Run(t, blobtest.Options{
		New: func(t *testing.T, c mailkeel.Clock) blob.Store {
			dir := t.TempDir()
			s := open(t, dir, fileblob.Options{Clock: c})
			dirs.Store(s, dir)
			return s
		},
		Reopen: func(t *testing.T, s blob.Store, c mailkeel.Clock) blob.Store {
			dir, _ := dirs.Load(s)
			return open(t, dir.(string), fileblob.Options{Clock: c})
		},
	})
}

func TestConformanceInMemory(t *testing.T) {
	var disks sync.Map
	blobtest.Run(t, blobtest.Options{
		New: func(t *testing.T, c mailkeel.Clock) blob.Store {
			disk := new(vfs.Mem)
			s := open(t, "/blobs", fileblob.Options{Clock: c, FS: disk})
			disks.Store(s, disk)
			return s
		},
		Reopen: func(t *testing.T, s blob.Store, c mailkeel.Clock) blob.Store {
			disk, _ := disks.Load(s)
			return open(t, "/blobs", fileblob.Options{Clock: c, FS: disk.(*vfs.Mem).Crash()})
		},
	})
}

func put(s *fileblob.Store, text string) (blob.Info, error) {
	w, err := s.Create(context.Background())
	if err != nil {
		return blob.Info{}, err
	}
	defer w.Close()
	for i := 0; i < len(text); i += 7000 { // in pieces, as it comes over a network
		if _, err := io.WriteString(w, text[i:min(i+7000, len(text))]); err != nil {
			return blob.Info{}, err
		}
	}
	return w.Commit()
}

func read(s *fileblob.Store, ref blob.Ref) (string, error) {
	r, err := s.Open(context.Background(), ref, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

var (
	errBoom = errors.New("boom")
	small   = "Subject: small\r\n\r\n"
	large   = strings.Repeat("a large one, of more than one buffer\r\n", 1900)
)

// scenario uses every method, and returns what was promised and the first error.
// It goes on after an error, as a server does.
func scenario(disk vfs.FS, c *testclock.Clock) (promised map[blob.Ref]string, err error) {
	promised = map[blob.Ref]string{}
	s, err := fileblob.Open("/var/blobs", fileblob.Options{FS: disk, Clock: c})
	if err != nil {
		return promised, err
	}
	note := func(e error) {
		if err == nil {
			err = e
		}
	}
	for _, text := range []string{small, large, small, large, "other", "old"} {
		info, e := put(s, text)
		if e == nil {
			promised[info.Ref] = text
		}
		note(e)
	}
	c.Advance(time.Hour)
	var old blob.Ref
	for ref, text := range promised {
		_, e := read(s, ref)
		note(e)
		if text == "old" {
			old = ref
			continue
		}
		note(s.Touch(context.Background(), ref))
	}
	if old != "" {
		delete(promised, old)
		_, e := s.DeleteOlder(context.Background(), c.Now(), old)
		note(e)
	}
	for _, e := range s.List(context.Background()) {
		note(e)
	}
	return promised, err
}

// TestEveryFailureIsAnError fails each operation in turn, alone or with all that
// follow, and then cuts the power.
func TestEveryFailureIsAnError(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		for n := 1; ; n++ {
			disk := new(vfs.Mem)
			var failed *vfs.Op
			var mu sync.Mutex
			count := 0
			promised, err := scenario(&vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if count++; count == n || lasting && count > n {
					if failed == nil {
						failed = &op
					}
					return errBoom
				}
				return nil
			}}, &testclock.Clock{})
			if failed == nil {
				if n < 40 || err != nil {
					t.Errorf("%d operations, %v", n, err)
				}
				break
			}
			// Only the removal of what nobody needs may fail without a word.
			cleanup := failed.Kind == "Remove" && strings.Contains(failed.Name, "tmp") || failed.Kind == "Close"
			if err == nil && !cleanup || err != nil && !errors.Is(err, errBoom) && !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("operation %d, %+v, failed: %v", n, *failed, err)
			}
			for name, disk := range map[string]*vfs.Mem{"restart": disk, "power cut": disk.Crash()} {
				verify(t, fmt.Sprintf("operation %d, %+v, %s", n, *failed, name), disk, promised)
			}
		}
	}
}

// verify checks that what was promised is there, and nothing is there by half.
func verify(t *testing.T, what string, disk *vfs.Mem, promised map[blob.Ref]string) {
	t.Helper()
	s, err := fileblob.Open("/var/blobs", fileblob.Options{FS: disk})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for ref, want := range promised {
		if text, err := read(s, ref); text != want || err != nil {
			t.Errorf("%s: read %d of %d promised bytes, %v", what, len(text), len(want), err)
		}
	}
	for info, err := range s.List(t.Context()) {
		if err == nil {
			err = s.Check(t.Context(), info.Ref)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if left, err := disk.ReadDir("/var/blobs/tmp"); err != nil || len(left) > 0 {
		t.Errorf("%s: left %v, %v", what, left, err)
	}
}

// TestNameInDoubtIsMadeAgain: after a failed sync of a folder the kernel may say
// that the next succeeded, with the names of the first lost.
func TestNameInDoubtIsMadeAgain(t *testing.T) {
	disk := new(vfs.Mem)
	fail := false
	renames := 0
	s := open(t, "/blobs", fileblob.Options{FS: &vfs.Inject{FS: disk, Before: func(op vfs.Op) error {
		if op.Kind == "Rename" {
			renames++
		}
		if fail && op.Kind == "SyncDir" && op.Name != "/blobs" {
			return errBoom
		}
		return nil
	}}})
	fail = true
	if _, err := put(s, small); !errors.Is(err, errBoom) {
		t.Fatal(err)
	}
	fail = false
	if _, err := put(s, small); err != nil || renames != 2 {
		t.Errorf("%v after %d renames, want 2", err, renames)
	}
}

func TestKnownBytesAreNotWrittenAgain(t *testing.T) {
	writes := 0
	s := open(t, "/blobs", fileblob.Options{FS: &vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) error {
		if op.Kind == "Write" {
			writes++
		}
		return nil
	}}})
	for range 3 {
		if _, err := put(s, small); err != nil {
			t.Fatal(err)
		}
	}
	if writes != 1 {
		t.Errorf("%d writes, want one for the first", writes)
	}
}

func TestCommitsShareSyncs(t *testing.T) {
	const n = 40
	var mu sync.Mutex
	syncs := 0
	inside, leave := make(chan struct{}), make(chan struct{})
	s := open(t, "/blobs", fileblob.Options{FS: &vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) error {
		if op.Kind != "SyncDir" || filepath.Dir(op.Name) != "/blobs" {
			return nil
		}
		mu.Lock()
		syncs++
		first := syncs == 1
		mu.Unlock()
		if first {
			close(inside)
			<-leave
		}
		return nil
	}}})
	var wg sync.WaitGroup
	commit := func() {
		if _, err := put(s, small); err != nil {
			t.Error(err)
		}
	}
	wg.Go(commit)
	<-inside
	for range n {
		wg.Go(commit)
	}
	s.WaitFor(n)
	close(leave)
	wg.Wait()
	if syncs != 2 {
		t.Errorf("%d syncs, want 2", syncs)
	}
}

func TestDamageIsFound(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, fileblob.Options{})
	info, err := put(s, small)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), info.Ref); err != nil {
		t.Error(err)
	}
	hash := strings.TrimPrefix(string(info.Ref), "sha256-")
	path := filepath.Join(dir, hash[:2], hash)
	if err := os.WriteFile(path, []byte("Subject: small\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), info.Ref); !errors.Is(err, fileblob.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	// Who commits the same bytes does not get the short file.
	if _, err := put(s, small); err != nil || s.Check(t.Context(), info.Ref) != nil {
		t.Errorf("%v, %v", err, s.Check(t.Context(), info.Ref))
	}
	for _, dir := range []string{dir, filepath.Dir(path)} {
		if fi, err := os.Stat(dir); err != nil || dir != filepath.Dir(path) {
			continue
		} else if fi.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", dir, fi.Mode())
		}
	}
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, fileblob.Options{})
	info, err := put(s, small)
	if err != nil {
		t.Fatal(err)
	}
	shard := string(info.Ref)[7:9]
	for _, name := range []string{"README", shard + "/README", shard + "/" + strings.Repeat("f", 64), "zz"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for i, err := range s.List(t.Context()) {
		if n++; err != nil || i.Ref != info.Ref {
			t.Errorf("listed %+v, %v", i, err)
		}
	}
	for _, ref := range []blob.Ref{"", "sha256-", "../README", "sha256-../../../etc/passwd", info.Ref + "0", blob.Ref(strings.ToUpper(string(info.Ref)))} {
		if _, err := s.Stat(t.Context(), ref); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func TestClosedRefusesCommits(t *testing.T) {
	s := open(t, t.TempDir(), fileblob.Options{})
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err == nil {
		t.Error("committed after Close")
	}
}

// BenchmarkPut stores distinct 10 KB blobs durably.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := open(b, b.TempDir(), fileblob.Options{})
			text := strings.Repeat("0123456789abcde\n", 640)
			next := make(chan int, writers)
			go func() {
				for i := range b.N {
					next <- i
				}
				close(next)
			}()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for i := range next {
						if _, err := put(s, fmt.Sprint(i, " ", text)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// smallDisk is one that says how much of it is free.
type smallDisk struct {
	vfs.Mem
	free int64
}

func (d *smallDisk) Free(string) (int64, bool) { return d.free, true }

func TestSomeOfTheDiskIsLeftToOthers(t *testing.T) {
	disk := &smallDisk{free: 1000}
	s := open(t, "/blobs", fileblob.Options{FS: disk, MinFree: 1000})
	first, err := put(s, small)
	if err != nil {
		t.Fatal(err)
	}
	disk.free = 999
	for _, text := range []string{"another", large} {
		if _, err := put(s, text); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d bytes on a full disk: %v, want ENOSPC", len(text), err)
		}
	}
	// What takes no room goes on.
	if _, err := put(s, small); err != nil {
		t.Error(err)
	}
	if err := s.Touch(t.Context(), first.Ref); err != nil {
		t.Error(err)
	}
	disk.free = 1000
	if _, err := put(s, large); err != nil {
		t.Error(err)
	}
}

// TestFailedSyncSpoilsWhatItOverlapped: a name that came while a sync of its folder was
// under way that then failed may be lost with the others, whatever the next sync says.
func TestFailedSyncSpoilsWhatItOverlapped(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := open(t, "/blobs", fileblob.Options{FS: &vfs.Inject{FS: new(vfs.Mem), Before: func(op vfs.Op) (err error) {
		if op.Kind == "SyncDir" && filepath.Dir(op.Name) == "/blobs" {
			once.Do(func() {
				close(inside)
				<-leave
				err = errBoom
			})
		}
		return err
	}}})
	errs := make(chan error, 2)
	commit := func() {
		_, err := put(s, small)
		errs <- err
	}
	go commit()
	<-inside
	go commit()
	s.WaitFor(1)
	close(leave)
	for range 2 {
		if err := <-errs; err == nil {
			t.Error("a name in doubt was promised")
		}
	}
	if _, err := put(s, small); err != nil {
		t.Error(err)
	}
}
