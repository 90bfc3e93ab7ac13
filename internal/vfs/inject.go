package vfs

import (
	"io/fs"
	"time"
)

// An Op is one operation that is about to happen.
type Op struct {
	// Kind is the name of the method: "OpenFile", "Write", "Sync", "Rename".
	Kind string
	Name string
	Len  int   // of a Read or Write
	Off  int64 // of a ReadAt or WriteAt
}

// Inject is an FS that asks before every operation on it and its files.
type Inject struct {
	FS FS
	// Before may return an error, and then the operation does not happen and
	// fails with it; but half of a Write is written, as by a full disk, a
	// Close does close, and what a Sync did not make durable no later one will
	// (of a Mem), because Linux takes it for written. It is called from many
	// goroutines.
	Before func(Op) error
}

var _ FS = (*Inject)(nil)

func (i *Inject) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := i.Before(Op{Kind: "OpenFile", Name: name}); err != nil {
		return nil, err
	}
	f, err := i.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &injectFile{f, i, name}, nil
}

func (i *Inject) Rename(from, to string) error {
	if err := i.Before(Op{Kind: "Rename", Name: to}); err != nil {
		return err
	}
	return i.FS.Rename(from, to)
}

func (i *Inject) Remove(name string) error {
	if err := i.Before(Op{Kind: "Remove", Name: name}); err != nil {
		return err
	}
	return i.FS.Remove(name)
}

func (i *Inject) MkdirAll(name string, perm fs.FileMode) error {
	if err := i.Before(Op{Kind: "MkdirAll", Name: name}); err != nil {
		return err
	}
	return i.FS.MkdirAll(name, perm)
}

func (i *Inject) SyncDir(name string) error {
	if err := i.Before(Op{Kind: "SyncDir", Name: name}); err != nil {
		return err
	}
	return i.FS.SyncDir(name)
}

func (i *Inject) Stat(name string) (fs.FileInfo, error) {
	if err := i.Before(Op{Kind: "Stat", Name: name}); err != nil {
		return nil, err
	}
	return i.FS.Stat(name)
}

func (i *Inject) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := i.Before(Op{Kind: "ReadDir", Name: name}); err != nil {
		return nil, err
	}
	return i.FS.ReadDir(name)
}

func (i *Inject) Chtimes(name string, mtime time.Time) error {
	if err := i.Before(Op{Kind: "Chtimes", Name: name}); err != nil {
		return err
	}
	return i.FS.Chtimes(name, mtime)
}

// Free asks nobody: it changes nothing, and may fail anyway.
func (i *Inject) Free(dir string) (int64, bool) { return Free(i.FS, dir) }

type injectFile struct {
	f    File
	i    *Inject
	name string
}

func (f *injectFile) Write(p []byte) (int, error) {
	if err := f.i.Before(Op{Kind: "Write", Name: f.name, Len: len(p)}); err != nil {
		n, _ := f.f.Write(p[:len(p)/2])
		return n, err
	}
	return f.f.Write(p)
}

func (f *injectFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.i.Before(Op{"WriteAt", f.name, len(p), off}); err != nil {
		n, _ := f.f.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.f.WriteAt(p, off)
}

func (f *injectFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.i.Before(Op{"ReadAt", f.name, len(p), off}); err != nil {
		return 0, err
	}
	return f.f.ReadAt(p, off)
}

func (f *injectFile) Sync() error {
	if err := f.i.Before(Op{Kind: "Sync", Name: f.name}); err != nil {
		f.notSynced()
		return err
	}
	return f.f.Sync()
}

func (f *injectFile) notSynced() {
	if m, ok := f.f.(*memFile); ok {
		m.notSynced()
	}
}

func (f *injectFile) SyncData() error {
	if err := f.i.Before(Op{Kind: "SyncData", Name: f.name}); err != nil {
		f.notSynced()
		return err
	}
	return SyncData(f.f)
}

func (f *injectFile) Allocate(size int64) error {
	if err := f.i.Before(Op{Kind: "Allocate", Name: f.name}); err != nil {
		return err
	}
	return Allocate(f.f, size)
}

func (f *injectFile) Truncate(size int64) error {
	if err := f.i.Before(Op{Kind: "Truncate", Name: f.name}); err != nil {
		return err
	}
	return f.f.Truncate(size)
}

func (f *injectFile) Close() error {
	err := f.i.Before(Op{Kind: "Close", Name: f.name})
	if cerr := f.f.Close(); err == nil {
		err = cerr
	}
	return err
}
