//go:build unix

package fileblob

import (
	"os"
	"syscall"
)

func lock(f *os.File) error   { return flock(f, syscall.LOCK_EX) }
func unlock(f *os.File) error { return flock(f, syscall.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}
