package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mailkeel/mailkeel/internal/vfs"
)

const (
	version      = "2" // the layout that this program writes
	filesVersion = "1" // contents are in files of their own
	versionFile  = "VERSION"
)

// prepare makes sure that dir is a directory for the owner alone.
func prepare(fsys vfs.FS, dir string, mustExist bool) error {
	if mustExist {
		_, err := fsys.Stat(filepath.Join(dir, versionFile))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s", ErrNoHome, dir)
		}
		if err != nil {
			return fmt.Errorf("embedded: %w", err)
		}
	}
	if err := vfs.MkdirDurably(fsys, dir, 0o700); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return private(fsys, dir)
}

// private makes sure that others may not enter dir. It takes no rights away from
// one that is in use for other things, such as /tmp.
func private(fsys vfs.FS, dir string) error {
	fi, err := fsys.Stat(dir)
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	if runtime.GOOS == "windows" || fi.Mode().Perm()&0o077 == 0 {
		return nil
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	ours := len(entries) == 0
	for _, e := range entries {
		ours = ours || e.Name() == lockFile // the first that we make
	}
	if !ours {
		return fmt.Errorf("%w, and others may enter it: %s", ErrForeign, dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return nil
}

// readVersion returns what VERSION says, or nothing where nothing is kept yet.
// ErrVersion if it is no layout that this program knows.
func readVersion(fsys vfs.FS, dir string) (string, error) {
	b, err := read(fsys, dir, versionFile)
	if err != nil {
		return "", err
	}
	switch v := strings.TrimSpace(string(b)); v {
	case "", filesVersion, version:
		return v, nil
	default:
		if strings.Trim(v, "0123456789") != "" { // no version of ours
			return "", &DamageError{dir, versionFile, fmt.Errorf("%q is no number; this program writes %q", v, version)}
		}
		return "", fmt.Errorf("%w: %s has %q, this program knows %q", ErrVersion, dir, v, version)
	}
}

// maxFile bounds what is read of a small file.
const maxFile = 1 << 20

// read returns a small file, nil if there is none.
func read(fsys vfs.FS, dir, name string) ([]byte, error) {
	f, err := fsys.OpenFile(filepath.Join(dir, name), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxFile))
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return b, nil
}

// write replaces a small file, whole or not at all, and makes it durable.
func write(fsys vfs.FS, dir, name string, b []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("embedded: %w", err)
		}
	}()
	// The directory is ours, so that a temporary file was left by a crash.
	temp := filepath.Join(dir, name+".new")
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		fsys.Remove(temp)
		return err
	}
	return fsys.SyncDir(dir)
}
