package testoffice

import (
	"fmt"
	"os"
	"syscall"
)

// attributes ends a process with the thread that started it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// held keeps the program open until this process ends.
var held *os.File

// keep removes dir at once and returns a path at which the program can be run as
// long as this process lives, so that nothing is left behind however it ends.
func keep(dir, path string) (string, error) {
	defer os.RemoveAll(dir)
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("testoffice: %w", err)
	}
	held = f
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), nil
}
