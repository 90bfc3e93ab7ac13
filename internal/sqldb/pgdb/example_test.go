package pgdb_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
)

// Nobody listens on this address.
func Example() {
	ctx := context.Background()
	db, err := pgdb.Open(ctx, "postgres://mail@127.0.0.1:1/mail", pgdb.Options{Attempts: 1})
	if err != nil {
		fmt.Println("no database:", !errors.Is(err, pgdb.ErrUnknown))
		return
	}
	defer db.Close()
	_ = db.Update(ctx, func(c sqldb.Conn) error {
		return c.Exec(`UPDATE account SET bytes = bytes + ? WHERE id = ?`, 100, "ann")
	})
	// Output: no database: true
}
