package sqldb

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	lib "modernc.org/sqlite/lib"
)

// TestLogIsSyncedWithFdatasync: both kinds of files have our methods, that of the
// database and that of the log, which SQLite opens without locks.
func TestLogIsSyncedWithFdatasync(t *testing.T) {
	db, err := OpenSQLite(filepath.Join(t.TempDir(), "db with ? and %"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(context.Background(), func(c Conn) error { return c.Exec("CREATE TABLE t (k INTEGER)") }); err != nil {
		t.Fatal(err)
	}
	unix.mu.Lock()
	defer unix.mu.Unlock()
	if len(unix.own) < 2 {
		t.Errorf("%d kinds of files are ours, want 2", len(unix.own))
	}
	for theirs, own := range unix.own {
		a, b := *at[lib.Tsqlite3_io_methods](theirs), *at[lib.Tsqlite3_io_methods](own)
		if a.FxSync == b.FxSync {
			t.Error("SQLite's own sync is in place")
		}
		if b.FxSync = a.FxSync; a != b {
			t.Error("more than the sync differs")
		}
	}
}

func TestFailedFdatasyncIsAnError(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe() // which cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, tt := range []struct {
		fd    uintptr
		rc    int32
		errno syscall.Errno
	}{
		{f.Fd(), lib.SQLITE_OK, 0},
		{w.Fd(), lib.SQLITE_IOERR_FSYNC, syscall.EINVAL},
	} {
		file := &lib.TunixFile{Fh: int32(tt.fd)}
		rc := syncFile(nil, uintptr(unsafe.Pointer(file)), lib.SQLITE_SYNC_FULL)
		if rc != tt.rc || syscall.Errno(file.FlastErrno) != tt.errno {
			t.Errorf("returned %d, errno %d, want %d and %d", rc, file.FlastErrno, tt.rc, tt.errno)
		}
		runtime.KeepAlive(file)
	}
}
