// Package sqlvfs keeps the files of SQLite in a vfs.FS, so that tests can cut the
// power and fail operations under the database and everything beside it at once.
//
// It does what SQLite's own "unix" layer does with a local file system, its
// weaknesses included: a new journal or log gets its folder synced with its first
// sync, and a failure of that goes unnoticed; a file that cannot be opened to write
// is opened to read. Bytes beside those of a write stay as they are when the power
// goes (vfs.Mem sees to that), which is what SQLite believes of Unix too.
//
// Locks and the shared memory of the log are those of one process.
package sqlvfs

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"zombiezen.com/go/sqlite"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

// ErrInUse is returned by Close while a file is open.
var ErrInUse = errors.New("sqlvfs: a file is open")

// handles are what SQLite, which takes no pointers into Go's memory, calls back
// with: numbers of VFSs and of open files.
var handles struct {
	sync.Mutex
	last uintptr
	of   map[uintptr]any
}

func newHandle(v any) uintptr {
	handles.Lock()
	defer handles.Unlock()
	if handles.of == nil {
		handles.of = map[uintptr]any{}
	}
	handles.last++
	handles.of[handles.last] = v
	return handles.last
}

func handle(h uintptr) any {
	handles.Lock()
	defer handles.Unlock()
	return handles.of[h]
}

func freeHandle(h uintptr) {
	handles.Lock()
	defer handles.Unlock()
	delete(handles.of, h)
}

// A VFS is a file system that SQLite knows by name.
type VFS struct {
	name string
	fs   vfs.FS
	tls  *libc.TLS
	h    uintptr
	c    uintptr // the sqlite3_vfs
	io   uintptr // its sqlite3_io_methods
	text uintptr // its name

	mu    sync.Mutex
	open  int
	paths map[string]*shared // the databases that are open
}

// Register makes SQLite know a file system, until Close.
func Register(fsys vfs.FS) (*VFS, error) {
	// SQLite sets itself up when it is used first, which is not to happen twice
	// at the same time.
	c, err := sqlite.OpenConn(":memory:", sqlite.OpenReadWrite|sqlite.OpenMemory)
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("sqlvfs: %w", err)
	}
	v := &VFS{fs: fsys, tls: libc.NewTLS(), paths: map[string]*shared{}}
	v.h = newHandle(v)
	v.name = fmt.Sprintf("mailkeel-%d", v.h)
	if v.text, err = libc.CString(v.name); err != nil {
		v.free()
		return nil, fmt.Errorf("sqlvfs: %w", err)
	}
	v.io = libc.Xcalloc(v.tls, 1, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_io_methods{})))
	v.c = libc.Xcalloc(v.tls, 1, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
	if v.io == 0 || v.c == 0 {
		v.free()
		return nil, errors.New("sqlvfs: out of memory")
	}
	*(*lib.Tsqlite3_io_methods)(at(v.io)) = ioMethods()
	*(*lib.Tsqlite3_vfs)(at(v.c)) = v.methods()
	if rc := lib.Xsqlite3_vfs_register(v.tls, v.c, 0); rc != lib.SQLITE_OK {
		v.free()
		return nil, fmt.Errorf("sqlvfs: register: %w", sqlite.ResultCode(rc).ToError())
	}
	return v, nil
}

// Name is what SQLite knows it by, such as in the vfs parameter of a URI.
func (v *VFS) Name() string { return v.name }

// Close makes SQLite forget it. All databases must be closed.
func (v *VFS) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open > 0 {
		return fmt.Errorf("%w: %d of them", ErrInUse, v.open)
	}
	if v.c == 0 {
		return nil
	}
	rc := lib.Xsqlite3_vfs_unregister(v.tls, v.c)
	v.free()
	if rc != lib.SQLITE_OK {
		return fmt.Errorf("sqlvfs: unregister: %w", sqlite.ResultCode(rc).ToError())
	}
	return nil
}

func (v *VFS) free() {
	for _, p := range []uintptr{v.text, v.io, v.c} {
		if p != 0 {
			libc.Xfree(v.tls, p)
		}
	}
	v.text, v.io, v.c = 0, 0, 0
	freeHandle(v.h)
	v.tls.Close()
}

// at is the memory at an address that is not Go's.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// call is the address of a function of the package, as code that was C calls it.
func call[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }
