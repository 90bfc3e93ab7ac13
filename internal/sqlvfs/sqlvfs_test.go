package sqlvfs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// TestConnectionsShareTheLog: readers see whole transactions while others write and
// the log begins anew.
func TestConnectionsShareTheLog(t *testing.T) {
	db, done, err := open(new(vfs.Mem), sqldb.Options{Readers: 3, MaxLog: 32 << 10})
	must(t, err)
	must(t, create(db))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := range 70 {
				err := db.Update(t.Context(), func(c sqldb.Conn) error {
					if err := c.Exec("INSERT OR REPLACE INTO t VALUES (1, ?)", i); err != nil {
						return err
					}
					return c.Exec("INSERT OR REPLACE INTO t VALUES (2, ?)", i)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 70 {
				if got, err := rows(db); err != nil || got[1] != got[2] {
					t.Error(got, err)
				}
			}
		})
	}
	wg.Wait()
	must(t, done())
}

// TestTwoDatabasesOnOneFile do not write at the same time.
func TestTwoDatabasesOnOneFile(t *testing.T) {
	disk := new(vfs.Mem)
	v, err := sqlvfs.Register(disk)
	must(t, err)
	o := sqldb.Options{FS: disk, VFS: v.Name()}
	a, err := sqldb.OpenSQLite("/db", o)
	must(t, err)
	must(t, create(a))
	b, err := sqldb.OpenSQLite("/db", o)
	must(t, err)
	if err := v.Close(); !errors.Is(err, sqlvfs.ErrInUse) {
		t.Errorf("closed while in use: %v", err)
	}
	var wg sync.WaitGroup
	for i, db := range []*sqldb.SQLite{a, b} {
		wg.Go(func() {
			for k := range 30 {
				err := db.Update(t.Context(), func(c sqldb.Conn) error { return c.Exec("INSERT INTO t VALUES (?, '')", 2*k+i) })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := rows(b)
	must(t, errors.Join(err, a.Close()))
	must(t, errors.Join(b.Close(), v.Close(), v.Close()))
	if len(got) != 60 {
		t.Errorf("%d rows", len(got))
	}
}
