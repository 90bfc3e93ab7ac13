package sqldb_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// TestFullDatabaseFailsAndRecovers fills the database, with SQLite's own limit in
// place of a disk's.
func TestFullDatabaseFailsAndRecovers(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{})
	if err := sqldb.Migrate(t.Context(), db, "t", `CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)`); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		err := db.Update(t.Context(), func(c sqldb.Conn) error {
			return c.Query(fmt.Sprint("PRAGMA max_page_count=", pages), func(sqldb.Row) error { return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var next atomic.Int64
	// crowd writes rows of different sizes at once and says how many landed.
	crowd := func() (landed int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				k := next.Add(1)
				err := db.Update(t.Context(), func(c sqldb.Conn) error {
					size := 10
					if i%4 == 0 {
						size = 100_000
					}
					return c.Exec("INSERT INTO t VALUES (?, ?)", k, make([]byte, size))
				})
				if err == nil {
					mu.Lock()
					landed++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		return landed
	}
	limit(100)
	landed := 0
	for range 5 {
		landed += crowd()
	}
	if landed == 0 || landed == 100 || count(t, db) != landed {
		t.Errorf("%d of 100 landed, and there are %d", landed, count(t, db))
	}
	// Removing works when nothing can be added.
	err := db.Update(t.Context(), func(c sqldb.Conn) error { return c.Exec("DELETE FROM t WHERE k % 2 = 0") })
	if err != nil {
		t.Error(err)
	}
	limit(1 << 20)
	if n := crowd(); n != 20 {
		t.Errorf("%d of 20 landed when there was room again", n)
	}
	if faults, err := db.Check(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("faults %q, %v", faults, err)
	}
}

// TestReserveIsGivenUpWhenFull: and made again when there is room.
func TestReserveIsGivenUpWhenFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, sqldb.Options{Reserve: 100_000})
	there := func() bool {
		fi, err := os.Stat(path + "-reserve")
		return err == nil && fi.Size() == 100_000
	}
	if !there() {
		t.Fatal("there is no reserve")
	}
	if err := sqldb.Migrate(t.Context(), db, "t", `CREATE TABLE t (v BLOB)`); err != nil {
		t.Fatal(err)
	}
	tries, gone := 0, false
	pages := func(c sqldb.Conn, n int) error {
		return c.Query(fmt.Sprint("PRAGMA max_page_count=", n), func(sqldb.Row) error { return nil })
	}
	err := db.Update(t.Context(), func(c sqldb.Conn) error {
		if tries++; there() { // the room that it gives
			return errors.Join(pages(c, 100), c.Exec("INSERT INTO t VALUES (?)", make([]byte, 1_000_000)))
		}
		gone = true
		return errors.Join(pages(c, 1000), c.Exec("INSERT INTO t VALUES (?)", make([]byte, 1_000_000)))
	})
	if err != nil || !gone || tries < 2 {
		t.Errorf("%v after %d tries, the reserve was given up: %v", err, tries, gone)
	}
	err = db.Update(t.Context(), func(c sqldb.Conn) error {
		return errors.Join(pages(c, 1), c.Exec("INSERT INTO t VALUES (?)", make([]byte, 1_000_000)))
	})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("more than the reserve: %v, want ENOSPC", err)
	}
	if err := db.Update(t.Context(), func(c sqldb.Conn) error { return pages(c, 1000) }); err != nil {
		t.Fatal(err)
	}
	if !there() {
		t.Error("the reserve did not come back")
	}
}
