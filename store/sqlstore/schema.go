package sqlstore

// schema is what sqldb.Migrate runs. A step that was released is never changed.
var schema = []string{
	`CREATE TABLE account (
		num         INTEGER PRIMARY KEY AUTOINCREMENT,
		id          TEXT NOT NULL UNIQUE,
		modseq      INTEGER NOT NULL,
		horizon     INTEGER NOT NULL,
		uidvalidity INTEGER NOT NULL,
		mailboxes   INTEGER NOT NULL,
		messages    INTEGER NOT NULL,
		bytes       INTEGER NOT NULL,
		deleted     INTEGER NOT NULL
	);
	CREATE TABLE mailbox (
		id          INTEGER PRIMARY KEY AUTOINCREMENT,
		acct        INTEGER NOT NULL,
		name        TEXT NOT NULL,
		role        TEXT NOT NULL,
		uidvalidity INTEGER NOT NULL,
		uidnext     INTEGER NOT NULL,
		created     INTEGER NOT NULL,
		modseq      INTEGER NOT NULL,
		subscribed  INTEGER NOT NULL,
		deleted     INTEGER NOT NULL,
		messages    INTEGER NOT NULL,
		unseen      INTEGER NOT NULL,
		marked      INTEGER NOT NULL,
		bytes       INTEGER NOT NULL
	);
	CREATE INDEX mailbox_name ON mailbox (acct, name);
	CREATE TABLE message (
		box      INTEGER NOT NULL,
		uid      INTEGER NOT NULL,
		acct     INTEGER NOT NULL,
		id       INTEGER NOT NULL,
		thread   INTEGER NOT NULL,
		created  INTEGER NOT NULL,
		added    INTEGER NOT NULL,
		modseq   INTEGER NOT NULL,
		flags    INTEGER NOT NULL,
		words    TEXT NOT NULL,
		received INTEGER NOT NULL,
		saved    INTEGER NOT NULL,
		size     INTEGER NOT NULL,
		blob     BLOB NOT NULL,
		dead     INTEGER NOT NULL,
		keep     INTEGER NOT NULL,
		PRIMARY KEY (box, uid)
	) WITHOUT ROWID;
	CREATE INDEX message_changed ON message (acct, modseq, box, uid);
	CREATE INDEX message_id ON message (id) WHERE dead = 0;
	CREATE INDEX message_dead ON message (acct, modseq) WHERE dead <> 0;
	CREATE TABLE cold (
		id        INTEGER PRIMARY KEY,
		acct      INTEGER NOT NULL,
		prefix    BLOB,
		envelope  BLOB,
		structure BLOB,
		preview   BLOB
	);
	CREATE TABLE thread (
		acct    INTEGER NOT NULL,
		key     BLOB NOT NULL,
		thread  INTEGER NOT NULL,
		expires INTEGER NOT NULL,
		PRIMARY KEY (acct, key)
	) WITHOUT ROWID;
	CREATE INDEX thread_expires ON thread (expires);
	CREATE TABLE object (
		acct    INTEGER NOT NULL,
		kind    TEXT NOT NULL,
		id      TEXT NOT NULL,
		modseq  INTEGER NOT NULL,
		deleted INTEGER NOT NULL,
		blob    BLOB,
		data    BLOB,
		PRIMARY KEY (acct, kind, id)
	) WITHOUT ROWID;
	CREATE INDEX object_changed ON object (acct, modseq);
	CREATE INDEX object_blob ON object (blob) WHERE blob IS NOT NULL;
	CREATE TABLE placed (
		key         TEXT NOT NULL,
		idx         INTEGER NOT NULL,
		action      INTEGER NOT NULL,
		acct        INTEGER NOT NULL,
		box         INTEGER NOT NULL,
		uidvalidity INTEGER NOT NULL,
		uid         INTEGER NOT NULL,
		id          INTEGER NOT NULL,
		expires     INTEGER NOT NULL,
		PRIMARY KEY (key, idx, action)
	) WITHOUT ROWID;
	CREATE INDEX placed_expires ON placed (expires);
	CREATE TABLE counter (
		name TEXT PRIMARY KEY,
		next INTEGER NOT NULL
	) WITHOUT ROWID;
	INSERT INTO counter (name, next) VALUES ('message', 1);`,
	// Rows of before have no checksum: zero.
	`ALTER TABLE cold ADD COLUMN sum INTEGER NOT NULL DEFAULT 0`,
	`CREATE TABLE mark (
		box    INTEGER NOT NULL,
		chunk  INTEGER NOT NULL,
		acct   INTEGER NOT NULL,
		modseq INTEGER NOT NULL,
		data   BLOB NOT NULL,
		PRIMARY KEY (box, chunk)
	) WITHOUT ROWID;
	CREATE INDEX mark_changed ON mark (acct, modseq);`,
}
