package sqldb

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPathsAreTakenAsTheyAre: to SQLite some begin like a URI, a host or a drive.
func TestPathsAreTakenAsTheyAre(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, path := range []string{"/" + filepath.Join(dir, "two slashes"), "file:x", "a:b", ":memory:", "x#y", "x%41", "./r"} {
		db, err := OpenSQLite(path, Options{})
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		do(t, db, func(c Conn) error { return c.Exec("CREATE TABLE t (k INTEGER)") })
		if fi, err := os.Stat(path + "-wal"); err != nil || fi.Size() == 0 {
			t.Errorf("%q: its log: %v", path, err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("%q: %v", path, err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Size() == 0 {
			t.Errorf("%q is not the file: %v", path, err)
		}
	}
}
