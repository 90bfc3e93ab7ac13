//go:build !linux

package vfs

// Free is not known here.
func (OS) Free(string) (int64, bool) { return 0, false }
