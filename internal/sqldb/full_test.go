package sqldb_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
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
