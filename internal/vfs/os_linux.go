package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// osFile adds to an *os.File what only Linux has.
type osFile struct{ *os.File }

func (f osFile) SyncData() error { return f.retry("fdatasync", syscall.Fdatasync) }

func (f osFile) Allocate(size int64) error {
	err := f.retry("fallocate", func(fd int) error { return syscall.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// retry runs a system call on the descriptor until no signal interrupts it.
func (f osFile) retry(op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		for {
			if err = call(int(fd)); err != syscall.EINTR {
				return
			}
		}
	})
	if err == nil {
		err = cerr
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}
