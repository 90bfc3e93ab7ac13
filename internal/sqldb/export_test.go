package sqldb

import "time"

// SetPatience says how long the writer waits for readers to end.
func (db *SQLite) SetPatience(d time.Duration) { db.writer.patience = d }
