package vfs

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// MkdirDurably makes a folder and those above it that are missing, and makes
// their names durable. One that is there may have been made by a process that
// died before it could do so, so its name is synced too, if this process may read
// the folder above.
func MkdirDurably(fsys FS, name string, perm fs.FileMode) error {
	above := []string{filepath.Dir(name)} // of what is missing, and of name
	for dir := above[0]; ; dir = filepath.Dir(dir) {
		_, err := fsys.Stat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			return err
		}
		above = append(above, filepath.Dir(dir))
	}
	if err := fsys.MkdirAll(name, perm); err != nil {
		return err
	}
	for i, dir := range above {
		if err := fsys.SyncDir(dir); err != nil && !(i == len(above)-1 && errors.Is(err, fs.ErrPermission)) {
			return err
		}
	}
	return nil
}
