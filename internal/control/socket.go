package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// maxPath is how long the address of a Unix socket may be: sun_path of Linux and
// macOS has 108 and 104 bytes, with a zero at the end.
const maxPath = 103

// Listen makes the socket at path, for its owner alone. It removes one that is
// left from before: the caller owns the directory. Closing removes it again.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control: %w", err)
	}
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	ln.SetUnlinkOnClose(false) // the short name will be gone by then
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	return &listener{ln, path}, nil
}

type listener struct {
	*net.UnixListener
	path string
}

func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if err == nil {
		err = os.Remove(l.path)
	}
	return err
}

// dial connects to the socket at path.
func dial(ctx context.Context, path string) (net.Conn, error) {
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return new(net.Dialer).DialContext(ctx, "unix", short)
}

// shorten returns another name of path that fits a socket address, which holds
// until done is called.
func shorten(path string) (short string, done func(), err error) {
	done = func() {}
	if len(path) <= maxPath {
		return path, done, nil
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && len(rel) <= maxPath {
			return rel, done, nil
		}
	}
	if runtime.GOOS == "linux" {
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return "", nil, fmt.Errorf("control: %w", err)
		}
		short = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
		return short, func() { dir.Close() }, nil
	}
	return "", nil, fmt.Errorf("control: the path of the socket has more than %d bytes: %s", maxPath, path)
}
