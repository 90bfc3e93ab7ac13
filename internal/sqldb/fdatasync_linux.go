package sqldb

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	zs "zombiezen.com/go/sqlite"
)

// osVFS is SQLite's own "unix" layer with one difference: it syncs with fdatasync.
// SQLite as it is translated for us was told that there is no such call and makes do
// with fsync, which on a file that is written over again, as the log is, also commits
// its time stamp to the journal of the file system.
//
// Everything else stays SQLite's: the order of syncs, what a failed one means, and
// the sync of the folder of a new file.
const osVFS = "mailkeel-unix"

// unix is what SQLite's layer has, to be called from here. SQLite keeps its list of
// layers for the process, so this is one for the process, too.
var unix struct {
	once sync.Once
	err  error
	open func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32

	mu sync.Mutex
	// own has for each sqlite3_io_methods, of which there are a few, one that
	// differs in xSync.
	own  map[uintptr]uintptr
	sync func(*libc.TLS, uintptr, int32) int32
}

// registerVFS makes SQLite know osVFS.
func registerVFS() (string, error) {
	unix.once.Do(func() { unix.err = register() })
	return osVFS, unix.err
}

func register() error {
	// SQLite sets itself up at the first use, which is not to happen twice at a time.
	c, err := zs.OpenConn(":memory:", zs.OpenReadWrite|zs.OpenMemory)
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		return fmt.Errorf("sqldb: %w", err)
	}
	tls := libc.NewTLS()
	defer tls.Close()
	name, err := libc.CString(osVFS) // what is allocated here is for ever
	if err != nil {
		return fmt.Errorf("sqldb: %w", err)
	}
	unixName, err := libc.CString("unix") // whatever the default is: its files are TunixFiles
	if err != nil {
		return fmt.Errorf("sqldb: %w", err)
	}
	base := lib.Xsqlite3_vfs_find(tls, unixName)
	own := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
	if base == 0 || own == 0 {
		return errors.New("sqldb: no unix layer, or no memory")
	}
	v := at[lib.Tsqlite3_vfs](own)
	*v = *at[lib.Tsqlite3_vfs](base)
	unix.open = *(*func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32)(unsafe.Pointer(&struct{ uintptr }{v.FxOpen}))
	v.FzName, v.FpNext = name, 0
	open := openFile
	v.FxOpen = *(*uintptr)(unsafe.Pointer(&open))
	if rc := lib.Xsqlite3_vfs_register(tls, own, 0); rc != lib.SQLITE_OK {
		return fmt.Errorf("sqldb: register: %w", zs.ResultCode(rc).ToError())
	}
	return nil
}

// openFile opens a file as SQLite does, and exchanges how it is synced. SQLite calls
// it from many goroutines.
func openFile(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32 {
	rc := unix.open(tls, vfs, name, file, flags, out)
	if f := at[lib.TunixFile](file); rc == lib.SQLITE_OK && f.FpMethod != 0 {
		f.FpMethod = ownMethods(tls, f.FpMethod)
	}
	return rc
}

// ownMethods returns the same methods but for xSync. SQLite has some for files with
// locks, and others for those without, such as the log.
func ownMethods(tls *libc.TLS, theirs uintptr) uintptr {
	unix.mu.Lock()
	defer unix.mu.Unlock()
	if own := unix.own[theirs]; own != 0 {
		return own
	}
	own := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_io_methods{})))
	if own == 0 {
		return theirs
	}
	m := at[lib.Tsqlite3_io_methods](own)
	*m = *at[lib.Tsqlite3_io_methods](theirs)
	if unix.sync == nil {
		unix.sync = *(*func(*libc.TLS, uintptr, int32) int32)(unsafe.Pointer(&struct{ uintptr }{m.FxSync}))
		unix.own = map[uintptr]uintptr{}
	}
	sync := syncFile
	m.FxSync = *(*uintptr)(unsafe.Pointer(&sync))
	unix.own[theirs] = own
	return own
}

// dirSync is the flag of a new file, whose folder is synced too.
const dirSync = lib.UNIXFILE_DIRSYNC

func syncFile(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := at[lib.TunixFile](file)
	if f.FctrlFlags&dirSync != 0 {
		unix.mu.Lock()
		theirs := unix.sync
		unix.mu.Unlock()
		return theirs(tls, file, flags)
	}
	for {
		err := syscall.Fdatasync(int(f.Fh))
		if err == nil {
			return lib.SQLITE_OK
		}
		if no, _ := err.(syscall.Errno); no != syscall.EINTR {
			f.FlastErrno = int32(no)
			return lib.SQLITE_IOERR_FSYNC
		}
	}
}

// at is what lies at an address that is not Go's.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }
