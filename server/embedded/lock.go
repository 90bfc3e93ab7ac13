package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrInUse means that another process owns the directory.
var ErrInUse = errors.New("embedded: the directory is in use")

// lockFile holds the process ID of the owner, for people; the lock on it decides,
// and the kernel ends that with the process.
const lockFile = "LOCK"

// lock makes this process the owner of dir until the file is closed.
func lock(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	free, err := tryLock(f)
	if err == nil && !free {
		b, _ := io.ReadAll(io.LimitReader(f, 32))
		who := "another process"
		if pid := strings.TrimSpace(string(b)); pid != "" {
			who = "process " + pid
		}
		err = fmt.Errorf("%w: %s belongs to %s", ErrInUse, dir, who)
	} else if err != nil {
		err = fmt.Errorf("embedded: cannot lock %s: %w", name, err)
	}
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
		}
		if err != nil {
			err = fmt.Errorf("embedded: %w", err)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
