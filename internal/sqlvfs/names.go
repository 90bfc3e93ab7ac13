package sqlvfs

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// maxPath is how long a name may be, in bytes.
const maxPath = 1024

// methods are what SQLite calls on names.
func (v *VFS) methods() lib.Tsqlite3_vfs {
	return lib.Tsqlite3_vfs{
		FiVersion: 2, FszOsFile: int32(unsafe.Sizeof(cFile{})), FmxPathname: maxPath, FzName: v.text, FpAppData: v.h,
		FxOpen: call(xOpen), FxDelete: call(xDelete), FxAccess: call(xAccess), FxFullPathname: call(xFullPathname),
		FxRandomness: call(xRandomness), FxSleep: call(xSleep), FxCurrentTime: call(xCurrentTime),
		FxGetLastError: call(xGetLastError), FxCurrentTimeInt64: call(xCurrentTimeInt64),
	}
}

func vfsOf(c uintptr) *VFS { return handle((*lib.Tsqlite3_vfs)(at(c)).FpAppData).(*VFS) }

// xOpen opens a file, of its own and without a name if it has none.
func xOpen(_ *libc.TLS, c, zName, zFile uintptr, flags int32, out uintptr) int32 {
	v := vfsOf(c)
	cf := (*cFile)(at(zFile))
	*cf = cFile{} // without methods it is not closed
	f := &file{v: v, fs: v.fs, name: "/temporary"}
	if zName != 0 {
		f.name = libc.GoString(zName)
	} else {
		f.fs = new(vfs.Mem)
	}
	mode := os.O_RDONLY
	if flags&lib.SQLITE_OPEN_READWRITE != 0 {
		mode = os.O_RDWR
	}
	if flags&lib.SQLITE_OPEN_CREATE != 0 {
		mode |= os.O_CREATE
	}
	if flags&lib.SQLITE_OPEN_EXCLUSIVE != 0 {
		mode |= os.O_EXCL
	}
	var err error
	f.f, err = f.fs.OpenFile(f.name, mode, 0o600)
	if err != nil && mode&os.O_RDWR != 0 {
		flags = flags&^(lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_CREATE) | lib.SQLITE_OPEN_READONLY
		f.f, err = f.fs.OpenFile(f.name, os.O_RDONLY, 0)
	}
	if err != nil {
		return lib.SQLITE_CANTOPEN
	}
	f.syncDir = mode&os.O_CREATE != 0 && flags&(lib.SQLITE_OPEN_SUPER_JOURNAL|lib.SQLITE_OPEN_MAIN_JOURNAL|lib.SQLITE_OPEN_WAL) != 0
	f.remove = flags&lib.SQLITE_OPEN_DELETEONCLOSE != 0
	v.mu.Lock()
	v.open++
	if flags&lib.SQLITE_OPEN_MAIN_DB != 0 {
		f.shared = v.paths[f.name]
		if f.shared == nil {
			f.shared = &shared{}
			v.paths[f.name] = f.shared
		}
		f.shared.files++
	}
	v.mu.Unlock()
	if out != 0 {
		*(*int32)(at(out)) = flags
	}
	*cf = cFile{methods: v.io, h: newHandle(f)}
	return lib.SQLITE_OK
}

func xDelete(_ *libc.TLS, c, zName uintptr, syncDir int32) int32 {
	v, name := vfsOf(c), libc.GoString(zName)
	err := v.fs.Remove(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lib.SQLITE_IOERR_DELETE_NOENT
	case err != nil:
		return lib.SQLITE_IOERR_DELETE
	case syncDir&1 != 0 && v.fs.SyncDir(filepath.Dir(name)) != nil:
		return lib.SQLITE_IOERR_DIR_FSYNC
	}
	return lib.SQLITE_OK
}

// xAccess says of an empty file that it is not there.
func xAccess(_ *libc.TLS, c, zName uintptr, flags int32, out uintptr) int32 {
	fi, err := vfsOf(c).fs.Stat(libc.GoString(zName))
	yes := err == nil && (flags != lib.SQLITE_ACCESS_EXISTS || fi.IsDir() || fi.Size() > 0)
	*(*int32)(at(out)) = libc.Bool32(yes)
	return lib.SQLITE_OK
}

func xFullPathname(_ *libc.TLS, _, zName uintptr, size int32, out uintptr) int32 {
	name := filepath.Clean(libc.GoString(zName))
	if len(name) >= int(size) {
		return lib.SQLITE_CANTOPEN
	}
	b := unsafe.Slice((*byte)(at(out)), size)
	b[copy(b, name)] = 0
	return lib.SQLITE_OK
}

func xRandomness(_ *libc.TLS, _ uintptr, n int32, out uintptr) int32 {
	_, _ = rand.Read(unsafe.Slice((*byte)(at(out)), n)) // never fails
	return n
}

// xSleep lets others run; SQLite asks for it while it waits for a lock.
func xSleep(_ *libc.TLS, _ uintptr, micros int32) int32 {
	if micros == 0 {
		runtime.Gosched()
	}
	time.Sleep(time.Duration(micros) * time.Microsecond)
	return micros
}

// julian is the beginning of 1970 in days of the Julian calendar.
const julian = 2440587.5

func xCurrentTime(_ *libc.TLS, _, out uintptr) int32 {
	*(*float64)(at(out)) = julian + float64(time.Now().UnixMilli())/86_400_000
	return lib.SQLITE_OK
}

func xCurrentTimeInt64(_ *libc.TLS, _, out uintptr) int32 {
	*(*int64)(at(out)) = int64(julian*86_400_000) + time.Now().UnixMilli()
	return lib.SQLITE_OK
}

func xGetLastError(*libc.TLS, uintptr, int32, uintptr) int32 { return 0 }
