package vfs

// SyncData makes the bytes of a file durable, and of what is known about it only
// what reading them needs: its length, but not its time. Where a file cannot do
// so it is synced whole. After an error the same holds as for Sync.
func SyncData(f File) error {
	if d, ok := f.(interface{ SyncData() error }); ok {
		return d.SyncData()
	}
	return f.Sync()
}

// Allocate gives a file the length of size, at least, and the room on the disk
// if the system can promise it. New bytes read as zeros.
func Allocate(f File, size int64) error {
	if a, ok := f.(interface{ Allocate(int64) error }); ok {
		return a.Allocate(size)
	}
	return f.Truncate(size)
}

// Free returns how many bytes this process may still write to the file system
// that holds a folder, and false if that is not known.
func Free(fsys FS, dir string) (n int64, ok bool) {
	if f, can := fsys.(Freer); can {
		return f.Free(dir)
	}
	return 0, false
}
