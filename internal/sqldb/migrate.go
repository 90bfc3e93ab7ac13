package sqldb

import (
	"context"
	"fmt"
)

// Migrate brings the tables of one component up to date: it runs those of steps
// that it has not run before, each once, all in one transaction. Steps are only
// ever added at the end. ErrNewer if more were run than there are.
//
// A step is one or more CREATE, DROP, ALTER TABLE ADD COLUMN, INSERT or UPDATE
// statements with semicolons between. Tables are described in SQLite's words, of which only these are used,
// so that they can be translated: INTEGER (64 bits), TEXT (without NUL bytes),
// BLOB, INTEGER PRIMARY KEY AUTOINCREMENT, NOT NULL, DEFAULT, PRIMARY KEY,
// UNIQUE, WITHOUT ROWID, and indexes, partial ones too.
func Migrate(ctx context.Context, db DB, component string, steps ...string) error {
	words := func(step string) string { return step }
	if many, ok := db.(Many); ok {
		words = many.Tables
	}
	return db.Update(ctx, func(c Conn) error {
		if err := Lock(c, "schema"); err != nil {
			return err
		}
		err := c.Exec(words(`CREATE TABLE IF NOT EXISTS schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL)`))
		if err != nil {
			return err
		}
		version := 0
		err = c.Query(`SELECT version FROM schema_version WHERE component = ?`, func(r Row) error {
			version = int(r.Int(0))
			return nil
		}, component)
		if err != nil {
			return err
		}
		if version > len(steps) {
			return fmt.Errorf("%w: %s is at version %d, and this program knows %d", ErrNewer, component, version, len(steps))
		}
		if version == len(steps) {
			return nil
		}
		for i, step := range steps[version:] {
			if err := c.Exec(words(step)); err != nil {
				return fmt.Errorf("sqldb: step %d of %s: %w", version+i+1, component, err)
			}
		}
		return c.Exec(`INSERT INTO schema_version (component, version) VALUES (?, ?)
			ON CONFLICT (component) DO UPDATE SET version = excluded.version`, component, len(steps))
	})
}
