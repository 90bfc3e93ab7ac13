package sqldb_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

func TestManyRowsInFewStatements(t *testing.T) {
	texts := map[string]bool{}
	n := 0
	db := open(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{Trace: func(q string, _ int) { texts[q] = true; n++ }})
	insert := sqldb.NewInsert(`INSERT INTO t (k, v)`, `ON CONFLICT (k) DO UPDATE SET v = excluded.v`)
	if err := sqldb.Migrate(t.Context(), db, "t", `CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)`); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{0, 1, 2, 7, 8, 9, 31, 32, 33, 75, 200} {
		err := db.Update(t.Context(), func(c sqldb.Conn) error {
			if err := c.Exec("DELETE FROM t"); err != nil {
				return err
			}
			var args []any
			keys := []int{-1, -2}
			for k := range rows {
				args = append(args, k, fmt.Sprint(k))
				keys = append(keys, k)
			}
			n = 0
			if err := insert.Exec(c, args); err != nil {
				return err
			}
			if n > rows/32+4+7 {
				t.Errorf("%d statements for %d rows", n, rows)
			}
			found := map[int64]string{}
			err := sqldb.In(keys, func(k int) any { return k }, func(places string, args []any) error {
				return c.Query(`SELECT k, v FROM t WHERE k IN `+places, func(r sqldb.Row) error {
					found[r.Int(0)] = r.Text(1)
					return nil
				}, args...)
			})
			if len(found) != rows || rows > 0 && found[int64(rows-1)] != fmt.Sprint(rows-1) {
				t.Errorf("found %d of %d", len(found), rows)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(texts) > 20 {
		t.Errorf("%d different statements", len(texts))
	}
}
