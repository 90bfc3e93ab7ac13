package testoffice

import (
	"fmt"
	"os"
	"syscall"
)

// attributes ends a process with the thread that started it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// keep removes dir at once and returns a path at which the program can be run as
// long as this process lives, so that nothing is left behind however it ends.
func keep(dir, path string) (string, error) {
	defer os.RemoveAll(dir)
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) // never closed
	if err != nil {
		return "", fmt.Errorf("testoffice: %w", err)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), nil
}
