// Package vfs is the part of a file system that durable storage needs, so that
// tests can fail and cut off every single operation.
//
// What is durable is what a careful reading of POSIX promises and no more: the
// bytes of a file after its Sync, and the names in a folder, which are those of
// its files, folders and renames, after a SyncDir of it. All that keeps mail in
// files goes through here.
package vfs

import (
	"io"
	"io/fs"
	"time"
)

// An FS is used by many goroutines. Names are as for package os; errors are
// *fs.PathError or the like, for errors.Is with fs.ErrNotExist and fs.ErrExist.
type FS interface {
	// OpenFile takes the flags of os.OpenFile, but for O_APPEND.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename replaces what stands at to, in one step.
	Rename(from, to string) error
	// Remove removes a file or an empty folder. An open file stays readable.
	Remove(name string) error
	MkdirAll(name string, perm fs.FileMode) error
	// SyncDir makes the names in a folder durable.
	SyncDir(name string) error
	Stat(name string) (fs.FileInfo, error)
	// ReadDir returns what is in a folder, by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Chtimes sets the time of the last change.
	Chtimes(name string, mtime time.Time) error
}

// A File is used by one goroutine at a time, but for ReadAt. After an error of
// Sync nothing is known of what was written since the last: the file is to be
// given up, and the Sync not tried again.
type File interface {
	io.Writer // at its own position, which begins at 0
	io.WriterAt
	io.ReaderAt
	Sync() error
	Truncate(size int64) error
	Close() error
}

// A Freer may be implemented by an FS that can say how much room is left.
type Freer interface {
	// Free returns how many bytes may still be written below a folder that is
	// there, and false if that is not known.
	Free(dir string) (int64, bool)
}
