package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, o Options) *Home {
	t.Helper()
	h, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestOneProcessOwnsADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	h := open(t, dir, Options{})
	_, err := Open(t.Context(), dir, Options{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("%s belongs to process %d", dir, os.Getpid())) {
		t.Errorf("a second Open: %v", err)
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	open(t, dir, Options{})
}

func TestTheDirectoryIsPrivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir, Options{})
	if _, err := h.Secret("x", func() []byte { return []byte("y") }); err != nil {
		t.Fatal(err)
	}
	if _, err := h.TLS("localhost"); err != nil {
		t.Fatal(err)
	}
	fill(t, h)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, fi.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestOnlyOurDirectoriesAreMadePrivate: a slip with the name of the directory must not
// shut others out of one that they use.
func TestOnlyOurDirectoriesAreMadePrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permissions are not in the mode")
	}
	for _, tt := range []struct {
		mode, want fs.FileMode
		file       string
		err        error
	}{
		{0o755, 0o755, "letters.txt", ErrForeign},
		{0o701, 0o701, "VERSION", ErrForeign},
		{0o700, 0o700, "server.toml", nil},
		{0o755, 0o700, "LOCK", nil},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, tt.file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		h, err := Open(t.Context(), dir, Options{})
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.file, err, tt.err)
		}
		if h != nil {
			h.Close()
		}
		entries, _ := os.ReadDir(dir)
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != tt.want || tt.err != nil && len(entries) != 1 {
			t.Errorf("%s: afterwards %v, %d files, %v", tt.file, fi.Mode(), len(entries), err)
		}
	}
}

// fill makes an account with a message, and queues the same.
func fill(t *testing.T, h *Home) (id mailkeel.AccountID) {
	t.Helper()
	ctx := t.Context()
	w, err := h.Blobs.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "Subject: hello\r\n\r\n")
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Accounts.PutDomain(ctx, accounts.Domain{Name: "x.test"}); err != nil {
		t.Fatal(err)
	}
	acc, err := h.Accounts.CreateAccount(ctx, accounts.Account{Address: "ann@x.test"}, "")
	if err != nil {
		t.Fatal(err)
	}
	st := &store.Store{Backend: h.Store, Blobs: h.Blobs}
	out, err := st.Deliver(ctx, store.Delivery{Blob: info, Targets: []store.Target{{Account: acc.ID}}})
	if err != nil || out[0].Err != nil {
		t.Fatal(out, err)
	}
	now := info.Young
	err = h.Queue.Put(ctx, queue.Item{
		ID: "m/0", Envelope: mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "zoe@y.test"}}},
		Blob: info, Route: "y.test", Queued: now, Due: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return acc.ID
}

func TestAllIsThereAfterAReopen(t *testing.T) {
	dir := t.TempDir()
	clock := &testclock.Clock{}
	h := open(t, dir, Options{Clock: clock})
	id := fill(t, h)
	conf, err := h.TLS("mx.x.test")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := h.Secret("pw", func() []byte { return []byte("first") })
	if err != nil || string(secret) != "first" {
		t.Fatal(secret, err)
	}
	keys, err := h.Keys.Keys(t.Context(), "x.test")
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	// A process that crashes while it delivers leaves a lease behind.
	l, err := h.Queue.Lease(t.Context(), queue.Want{Now: clock.Now(), TTL: 1 << 40, Max: 10})
	if err != nil || len(l.Items) != 1 {
		t.Fatal(l, err)
	}
	h.Close()

	h = open(t, dir, Options{Clock: clock, MustExist: true})
	if acc, err := h.Accounts.Account(t.Context(), "ann@x.test"); err != nil || acc.ID != id {
		t.Error(acc, err)
	}
	st := &store.Store{Backend: h.Store, Blobs: h.Blobs}
	f, err := st.As(id).Folder(t.Context(), "INBOX")
	if err != nil || f.Messages != 1 {
		t.Error(f, err)
	}
	if l, err := h.Queue.Lease(t.Context(), queue.Want{Now: clock.Now(), TTL: 1, Max: 10}); err != nil || len(l.Items) != 1 {
		t.Errorf("what was leased by a crashed process waits: %v, %v", l, err)
	}
	again, err := h.TLS("mx.x.test")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := leaf(t, conf), leaf(t, again); a != b {
		t.Error("the next start made another certificate")
	}
	for i, k := range keys {
		if now, err := h.Keys.Keys(t.Context(), "x.test"); err != nil || now[i].Name() != k.Name() || now[i].Record() != k.Record() {
			t.Errorf("the next start has the keys %v, %v, want %v", now, err, keys)
		}
	}
	if none, err := h.Keys.Keys(t.Context(), "y.test"); len(none) > 0 || err != nil {
		t.Errorf("keys of a domain that is not ours: %v, %v", none, err)
	}
	for _, fresh := range []func() []byte{nil, func() []byte { return []byte("second") }} {
		if b, err := h.Secret("pw", fresh); err != nil || string(b) != "first" {
			t.Errorf("the secret is %q, %v", b, err)
		}
	}
	if b, err := h.Secret("none", nil); b != nil || err != nil {
		t.Errorf("a secret out of nothing: %q, %v", b, err)
	}
	if faults, err := h.Damage(t.Context()); len(faults) > 0 || err != nil {
		t.Error(faults, err)
	}
	var c server.Config
	h.Fill(&c)
	c.Hostname = "mx.x.test"
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	open(t, dir, Options{}) // the Server closed it
}

func leaf(t *testing.T, c *tls.Config) string {
	cert, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(cert.Leaf.Raw)
}

func TestWhatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(t.Context(), filepath.Join(dir, "none"), Options{MustExist: true}); !errors.Is(err, ErrNoHome) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("it was made")
	}
	later := filepath.Join(dir, "later")
	open(t, later, Options{}).Close()
	os.WriteFile(filepath.Join(later, "VERSION"), []byte("3\n"), 0o600)
	if _, err := Open(t.Context(), later, Options{}); !errors.Is(err, ErrVersion) {
		t.Errorf("a later layout: %v", err)
	}
	os.WriteFile(filepath.Join(later, "VERSION"), []byte("2\n"), 0o600)
	os.WriteFile(filepath.Join(later, "mail.db"), []byte(strings.Repeat("this is no database", 100)), 0o600)
	if _, err := Open(t.Context(), later, Options{}); err == nil {
		t.Error("a damaged database was opened")
	}
	os.Remove(filepath.Join(later, "mail.db"))
	open(t, later, Options{}) // the failures left no lock behind
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Open(t.Context(), file, Options{}); err == nil {
		t.Error("a file was opened")
	}
}

// TestSmallFilesAreReplacedWhole fails and cuts off every operation of a write.
func TestSmallFilesAreReplacedWhole(t *testing.T) {
	for n := 1; ; n++ {
		mem := &vfs.Mem{}
		if err := vfs.MkdirDurably(mem, "d", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := write(mem, "d", "f", []byte("old")); err != nil {
			t.Fatal(err)
		}
		ops, broken := 0, errors.New("broken")
		err := write(&vfs.Inject{FS: mem, Before: func(vfs.Op) error {
			if ops++; ops == n {
				return broken
			}
			return nil
		}}, "d", "f", []byte("new"))
		for _, fsys := range []vfs.FS{mem, mem.Crash()} {
			b, err2 := read(fsys, "d", "f")
			if s := string(b); err2 != nil || s != "old" && s != "new" || err == nil && s != "new" {
				t.Fatalf("operation %d: %v, then the file has %q, %v", n, err, b, err2)
			}
		}
		if ops < n {
			break
		}
		if !errors.Is(err, broken) {
			t.Errorf("operation %d failed, and write says %v", n, err)
		}
		if err := write(mem, "d", "f", []byte("next")); err != nil {
			t.Errorf("after operation %d failed: %v", n, err)
		}
	}
}
