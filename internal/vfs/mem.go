package vfs

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is an FS in memory that knows what a power cut would leave. The zero value
// is empty but for the root folder.
type Mem struct {
	// Capacity is how many bytes fit into all files that have a name; zero
	// means no limit. What does not fit fails with syscall.ENOSPC.
	Capacity int64

	mu   sync.Mutex
	root *node
}

var _ FS = (*Mem)(nil)

// A node is a file or a folder, and what of it is durable.
type node struct {
	dir     bool
	perm    fs.FileMode
	mtime   time.Time
	data    []byte
	synced  []byte
	writes  []write // since the last sync
	names   map[string]*node
	durable map[string]*node
	changes []change // since the last sync
}

func newDir(perm fs.FileMode) *node {
	return &node{dir: true, perm: perm, names: map[string]*node{}, durable: map[string]*node{}}
}

// lock returns the root, and how to let go of it.
func (m *Mem) lock() (*node, func()) {
	m.mu.Lock()
	if m.root == nil {
		m.root = newDir(0o755)
	}
	return m.root, m.mu.Unlock
}

func split(name string) []string {
	return strings.FieldsFunc(filepath.ToSlash(filepath.Clean(name)), func(r rune) bool { return r == '/' })
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// find returns the node at name, or what is missing.
func (n *node) find(parts []string) (*node, error) {
	for _, p := range parts {
		if p == "." {
			continue
		}
		if !n.dir {
			return nil, syscall.ENOTDIR
		}
		next := n.names[p]
		if next == nil {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

// parent returns the folder of name and its last part.
func (n *node) parent(name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	last := len(parts) - 1
	dir, err := n.find(parts[:last])
	if err == nil && !dir.dir {
		err = syscall.ENOTDIR
	}
	return dir, parts[last], err
}

func (m *Mem) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	root, unlock := m.lock()
	defer unlock()
	dir, base, err := root.parent(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n := dir.names[base]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case n == nil:
		n = &node{perm: perm, mtime: time.Now()}
		dir.change(change{to: base, node: n})
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, pathError("open", name, fs.ErrExist)
	case n.dir:
		return nil, pathError("open", name, syscall.EISDIR)
	}
	if flag&os.O_TRUNC != 0 {
		n.apply(write{size: 0})
	}
	return &memFile{m: m, n: n, name: name, write: flag&(os.O_WRONLY|os.O_RDWR) != 0}, nil
}

func (m *Mem) Rename(from, to string) error {
	root, unlock := m.lock()
	defer unlock()
	fromDir, fromBase, err := root.parent(from)
	if err != nil {
		return pathError("rename", from, err)
	}
	toDir, toBase, err := root.parent(to)
	if err != nil {
		return pathError("rename", to, err)
	}
	n := fromDir.names[fromBase]
	if n == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	if fromDir == toDir {
		fromDir.change(change{from: fromBase, to: toBase, node: n})
		return nil
	}
	fromDir.change(change{from: fromBase})
	toDir.change(change{to: toBase, node: n})
	return nil
}

func (m *Mem) Remove(name string) error {
	root, unlock := m.lock()
	defer unlock()
	dir, base, err := root.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n := dir.names[base]
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if len(n.names) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	dir.change(change{from: base})
	return nil
}

func (m *Mem) MkdirAll(name string, perm fs.FileMode) error {
	n, unlock := m.lock()
	defer unlock()
	for _, p := range split(name) {
		if p == "." {
			continue
		}
		if !n.dir {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		next := n.names[p]
		if next == nil {
			next = newDir(perm)
			n.change(change{to: p, node: next})
		}
		n = next
	}
	if !n.dir {
		return pathError("mkdir", name, syscall.ENOTDIR)
	}
	return nil
}

func (m *Mem) at(op, name string, fn func(*node) error) error {
	root, unlock := m.lock()
	defer unlock()
	n, err := root.find(split(name))
	if err == nil {
		err = fn(n)
	}
	if err != nil {
		return pathError(op, name, err)
	}
	return nil
}

func (m *Mem) SyncDir(name string) error {
	return m.at("sync", name, func(n *node) error {
		if !n.dir {
			return syscall.ENOTDIR
		}
		n.durable, n.changes = maps.Clone(n.names), nil
		return nil
	})
}

func (m *Mem) Stat(name string) (info fs.FileInfo, err error) {
	err = m.at("stat", name, func(n *node) error { info = n.info(filepath.Base(name)); return nil })
	return info, err
}

func (m *Mem) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = m.at("readdir", name, func(n *node) error {
		if !n.dir {
			return syscall.ENOTDIR
		}
		for _, base := range slices.Sorted(maps.Keys(n.names)) {
			entries = append(entries, fs.FileInfoToDirEntry(n.names[base].info(base)))
		}
		return nil
	})
	return entries, err
}

func (m *Mem) Chtimes(name string, mtime time.Time) error {
	return m.at("chtimes", name, func(n *node) error { n.mtime = mtime; return nil })
}

func (n *node) info(base string) fs.FileInfo {
	i := memInfo{base, int64(len(n.data)), n.perm, n.mtime}
	if n.dir {
		i.mode |= fs.ModeDir
	}
	return i
}

type memInfo struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.mtime }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }

type memFile struct {
	m      *Mem
	n      *node
	name   string
	pos    int64
	write  bool
	closed bool
}

// use runs fn if the file is open, for writing if asked.
func (f *memFile) use(op string, write bool, fn func() error) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	switch {
	case f.closed:
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.write:
		return pathError(op, f.name, syscall.EBADF)
	}
	return fn()
}

func (f *memFile) Write(p []byte) (n int, err error) {
	err = f.use("write", true, func() error {
		n, err = f.writeAt(p, f.pos)
		f.pos += int64(n)
		return err
	})
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.use("write", true, func() error { n, err = f.writeAt(p, off); return err })
	return n, err
}

func (f *memFile) writeAt(p []byte, off int64) (int, error) {
	size := max(off+int64(len(p)), int64(len(f.n.data)))
	if err := f.room(size); err != nil {
		return 0, err
	}
	f.n.mtime = time.Now()
	f.n.apply(write{size, off, bytes.Clone(p)})
	return len(p), nil
}

// room says whether the file may grow to size.
func (f *memFile) room(size int64) error {
	more := size - int64(len(f.n.data))
	if f.m.Capacity > 0 && more > 0 && f.m.root.used()+more > f.m.Capacity {
		return syscall.ENOSPC
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.use("read", false, func() error {
		if off < int64(len(f.n.data)) {
			n = copy(p, f.n.data[off:])
		}
		if n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (f *memFile) Sync() error {
	return f.use("sync", false, func() error {
		for _, w := range f.n.writes {
			f.n.synced = w.on(f.n.synced)
		}
		f.n.writes = nil
		return nil
	})
}

// notSynced is a Sync that failed: what was written can be read, but is not durable
// and will not be unless it is written again.
func (f *memFile) notSynced() {
	_ = f.use("sync", false, func() error { f.n.writes = nil; return nil })
}

func (f *memFile) Truncate(size int64) error {
	return f.use("truncate", true, func() error {
		if err := f.room(size); err != nil {
			return err
		}
		f.n.apply(write{size: size})
		return nil
	})
}

func (f *memFile) Close() error {
	return f.use("close", false, func() error { f.closed = true; return nil })
}
