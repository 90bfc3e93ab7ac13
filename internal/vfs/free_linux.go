package vfs

import "syscall"

// Free returns how many bytes are left of the file system that dir is on, for those
// who are not root.
func (OS) Free(dir string) (int64, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
