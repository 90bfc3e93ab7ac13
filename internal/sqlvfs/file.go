package sqlvfs

import (
	"errors"
	"io"
	"path/filepath"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// A cFile is what SQLite holds of a file.
type cFile struct {
	methods uintptr
	h       uintptr
}

// A file is open.
type file struct {
	v       *VFS
	fs      vfs.FS
	f       vfs.File
	name    string
	syncDir bool // with the next sync
	remove  bool // when closed

	// Under v.mu.
	shared *shared // of a database
	level  int32   // of the lock
	mapped bool    // uses the shared memory
	held   [2]uint // locks of the log: shared ones, exclusive ones
}

func fileOf(p uintptr) *file { return handle((*cFile)(at(p)).h).(*file) }

// ioMethods are what SQLite calls on files.
func ioMethods() lib.Tsqlite3_io_methods {
	return lib.Tsqlite3_io_methods{
		FiVersion: 2, FxClose: call(xClose), FxRead: call(xRead), FxWrite: call(xWrite), FxTruncate: call(xTruncate), FxSync: call(xSync),
		FxFileSize: call(xFileSize), FxLock: call(xLock), FxUnlock: call(xUnlock), FxCheckReservedLock: call(xCheckReservedLock),
		FxFileControl: call(xFileControl), FxSectorSize: call(xSectorSize), FxDeviceCharacteristics: call(xDeviceCharacteristics),
		FxShmMap: call(xShmMap), FxShmLock: call(xShmLock), FxShmBarrier: call(xShmBarrier), FxShmUnmap: call(xShmUnmap),
	}
}

func xClose(tls *libc.TLS, p uintptr) int32 {
	f := fileOf(p)
	freeHandle((*cFile)(at(p)).h)
	f.v.mu.Lock()
	if f.shared != nil {
		f.unlock(lib.SQLITE_LOCK_NONE)
		f.unmap(tls)
		if f.shared.files--; f.shared.files == 0 {
			delete(f.v.paths, f.name)
		}
	}
	f.v.open--
	f.v.mu.Unlock()
	err := f.f.Close()
	if f.remove {
		_ = f.fs.Remove(f.name)
	}
	if err != nil {
		return lib.SQLITE_IOERR_CLOSE
	}
	return lib.SQLITE_OK
}

func xRead(_ *libc.TLS, p, buf uintptr, n int32, off int64) int32 {
	b := unsafe.Slice((*byte)(at(buf)), n)
	got, err := fileOf(p).f.ReadAt(b, off)
	switch {
	case got == len(b):
		return lib.SQLITE_OK
	case err != nil && !errors.Is(err, io.EOF):
		return lib.SQLITE_IOERR_READ
	}
	clear(b[got:])
	return lib.SQLITE_IOERR_SHORT_READ
}

func xWrite(_ *libc.TLS, p, buf uintptr, n int32, off int64) int32 {
	_, err := fileOf(p).f.WriteAt(unsafe.Slice((*byte)(at(buf)), n), off)
	return code(err, lib.SQLITE_IOERR_WRITE)
}

func xTruncate(_ *libc.TLS, p uintptr, size int64) int32 {
	return code(fileOf(p).f.Truncate(size), lib.SQLITE_IOERR_TRUNCATE)
}

func xSync(_ *libc.TLS, p uintptr, flags int32) int32 {
	f := fileOf(p)
	sync := f.f.Sync
	if flags&lib.SQLITE_SYNC_DATAONLY != 0 {
		sync = func() error { return vfs.SyncData(f.f) }
	}
	if sync() != nil {
		return lib.SQLITE_IOERR_FSYNC
	}
	if f.syncDir {
		_ = f.fs.SyncDir(filepath.Dir(f.name)) // as on Unix
		f.syncDir = false
	}
	return lib.SQLITE_OK
}

func xFileSize(_ *libc.TLS, p, out uintptr) int32 {
	f := fileOf(p)
	fi, err := f.fs.Stat(f.name)
	if err != nil {
		return lib.SQLITE_IOERR_FSTAT
	}
	*(*int64)(at(out)) = fi.Size()
	return lib.SQLITE_OK
}

func xFileControl(*libc.TLS, uintptr, int32, uintptr) int32 { return lib.SQLITE_NOTFOUND }

func xSectorSize(*libc.TLS, uintptr) int32 { return 4096 }

func xDeviceCharacteristics(*libc.TLS, uintptr) int32 { return lib.SQLITE_IOCAP_POWERSAFE_OVERWRITE }

// code is what SQLite calls an error.
func code(err error, other int32) int32 {
	switch {
	case err == nil:
		return lib.SQLITE_OK
	case errors.Is(err, syscall.ENOSPC):
		return lib.SQLITE_FULL
	}
	return other
}
