package sqlqueue

// schema is what sqldb.Migrate runs. A step that was released is never changed.
// The columns that change stand before the body, so that reading them does not
// touch it.
var schema = []string{
	`CREATE TABLE item (
		n        INTEGER PRIMARY KEY AUTOINCREMENT,
		id       TEXT NOT NULL UNIQUE,
		route    TEXT NOT NULL,
		next     INTEGER NOT NULL,
		due      INTEGER NOT NULL,
		until    INTEGER NOT NULL,
		lease    INTEGER,
		held     INTEGER NOT NULL,
		attempts INTEGER NOT NULL,
		delayed  INTEGER NOT NULL,
		last     BLOB NOT NULL,
		blob     BLOB NOT NULL,
		body     BLOB NOT NULL
	);
	CREATE INDEX item_next ON item (route, next, due, id) WHERE held = 0;
	CREATE INDEX item_lease ON item (lease) WHERE lease IS NOT NULL;
	CREATE TABLE route (
		route TEXT PRIMARY KEY,
		next  INTEGER NOT NULL
	) WITHOUT ROWID;
	CREATE INDEX route_next ON route (next, route);
	CREATE TABLE ended (
		id TEXT PRIMARY KEY,
		at INTEGER NOT NULL
	) WITHOUT ROWID;
	CREATE INDEX ended_at ON ended (at);`,
}
