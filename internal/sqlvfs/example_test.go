package sqlvfs_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqlvfs"
	"github.com/mailkeel/mailkeel/internal/vfs"
)

// What a power cut leaves of a database.
func Example() {
	disk := new(vfs.Mem)
	v, _ := sqlvfs.Register(disk)
	db, err := sqldb.OpenSQLite("/db", sqldb.Options{FS: disk, VFS: v.Name()})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = db.Update(context.Background(), func(c sqldb.Conn) error { return c.Exec("CREATE TABLE t (k INTEGER)") })
	fmt.Println("committed:", err)
	left := disk.Crash()
	fmt.Println(db.Close(), v.Close())

	v, _ = sqlvfs.Register(left)
	db, err = sqldb.OpenSQLite("/db", sqldb.Options{FS: left, VFS: v.Name()})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = db.View(context.Background(), func(c sqldb.Conn) error {
		return c.Query("SELECT name FROM sqlite_schema", func(r sqldb.Row) error { fmt.Println("there is", r.Text(0)); return nil })
	})
	fmt.Println(err, db.Close(), v.Close())
	// Output:
	// committed: <nil>
	// <nil> <nil>
	// there is t
	// <nil> <nil> <nil>
}
