package sqldb_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

func Example() {
	dir, err := os.MkdirTemp("", "sqldb")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "db"), sqldb.Options{})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	ctx := context.Background()
	err = sqldb.Migrate(ctx, db, "stamps",
		`CREATE TABLE stamp (id INTEGER PRIMARY KEY AUTOINCREMENT, country TEXT NOT NULL)`)
	if err != nil {
		panic(err)
	}
	err = db.Update(ctx, func(c sqldb.Conn) error {
		return c.Query(`INSERT INTO stamp (country) VALUES (?) RETURNING id`, func(r sqldb.Row) error {
			fmt.Println("stamp", r.Int(0))
			return nil
		}, "Iceland")
	})
	if err != nil {
		panic(err)
	}
	err = db.View(ctx, func(c sqldb.Conn) error {
		return c.Query(`SELECT country FROM stamp`, func(r sqldb.Row) error {
			fmt.Println(r.Text(0))
			return nil
		})
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// stamp 1
	// Iceland
}
