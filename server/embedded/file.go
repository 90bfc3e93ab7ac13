package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// version is the layout that this program writes.
const version = "1"

const versionFile = "VERSION"

// prepare makes sure that dir is a directory for the owner alone.
func prepare(dir string, mustExist bool) error {
	if mustExist {
		_, err := os.Stat(filepath.Join(dir, versionFile))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s", ErrNoHome, dir)
		}
		if err != nil {
			return fmt.Errorf("embedded: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return nil
}

// checkVersion reads VERSION, or writes it where nothing is kept yet.
func checkVersion(dir string) error {
	b, err := read(dir, versionFile)
	if err != nil {
		return err
	}
	switch v := strings.TrimSpace(string(b)); v {
	case version:
		return nil
	case "":
		return write(dir, versionFile, []byte(version+"\n"))
	default:
		return fmt.Errorf("%w: %s has %q, this program knows %q", ErrVersion, dir, v, version)
	}
}

// maxFile bounds what is read of a small file.
const maxFile = 1 << 20

// read returns a small file, nil if there is none.
func read(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return b, nil
}

// write replaces a small file, whole or not at all, and makes it durable.
func write(dir, name string, b []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("embedded: %w", err)
		}
	}()
	f, err := os.CreateTemp(dir, name+".*.new") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
