package sqlvfs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqlvfs"
	"github.com/mailkeel/mailkeel/internal/vfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the database of a file system; close closes it and makes SQLite forget
// the file system.
func open(fsys vfs.FS, o sqldb.Options) (db *sqldb.SQLite, close func() error, err error) {
	v, err := sqlvfs.Register(fsys)
	if err != nil {
		return nil, nil, err
	}
	o.FS, o.VFS = fsys, v.Name()
	db, err = sqldb.OpenSQLite("/db", o)
	if err != nil {
		return nil, nil, errors.Join(err, v.Close())
	}
	return db, func() error { return errors.Join(db.Close(), v.Close()) }, nil
}

// rows returns what the table t holds.
func rows(db *sqldb.SQLite) (map[int64]string, error) {
	got := map[int64]string{}
	err := db.View(context.Background(), func(c sqldb.Conn) error {
		return c.Query("SELECT k, v FROM t", func(r sqldb.Row) error { got[r.Int(0)] = r.Text(1); return nil })
	})
	return got, err
}

func create(db *sqldb.SQLite) error {
	return sqldb.Migrate(context.Background(), db, "t", "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT NOT NULL)")
}

func TestAReopenedDatabase(t *testing.T) {
	disk := new(vfs.Mem)
	db, done, err := open(disk, sqldb.Options{})
	must(t, err)
	must(t, create(db))
	for i := range 10 {
		must(t, db.Update(t.Context(), func(c sqldb.Conn) error { return c.Exec("INSERT INTO t VALUES (?, ?)", i, fmt.Sprint("v", i)) }))
	}
	cut := disk.Crash()
	must(t, done())
	for _, disk := range []*vfs.Mem{disk, cut} {
		db, done, err := open(disk, sqldb.Options{})
		must(t, err)
		got, err := rows(db)
		must(t, err)
		if len(got) != 10 || got[9] != "v9" {
			t.Error(got)
		}
		faults, err := db.Check(t.Context())
		if len(faults) > 0 || err != nil {
			t.Error(faults, err)
		}
		must(t, done())
	}
	entries, err := disk.ReadDir("/")
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("after Close: %v", entries)
	}
}
