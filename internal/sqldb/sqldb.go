// Package sqldb is the small part of a database that the SQL backends need, so
// that one code base serves SQLite and PostgreSQL.
//
// Statements are written in the words that both know: ? for arguments, RETURNING
// instead of a last insert ID, ON CONFLICT, LIMIT. Numbers are 64 bits wide,
// truth is 0 or 1. The number behind LIMIT stands in the text, because SQLite would
// prepare the statement again each time one is bound. See Migrate for how tables
// are described.
package sqldb

import (
	"context"
	"errors"
)

var (
	// ErrUnique means that a statement would have made a second row with the
	// key of another.
	ErrUnique = errors.New("sqldb: the row exists already")
	// ErrClosed is returned by a DB after Close.
	ErrClosed = errors.New("sqldb: closed")
	// ErrDamaged means that the file of the database is not as it was written.
	ErrDamaged = errors.New("sqldb: the database is damaged")
	// ErrSchema means that a table or a column that a statement names is not there.
	// After Migrate that is damage, or a statement that was never right.
	ErrSchema = errors.New("sqldb: a table or column is missing")
	// ErrNewer is returned by Migrate when the tables come from a later
	// version of the program.
	ErrNewer = errors.New("sqldb: the database was written by a newer version")
)

// A DB runs transactions. It is used by many goroutines.
//
// Functions given to it may run more than once and in another goroutine, so they
// begin by forgetting what an earlier run noted, and have no effect but on the
// Conn. They do no slow I/O and start no other transaction.
type DB interface {
	// Update runs fn in a transaction that sees no other half done. When it
	// returns nil the changes are durable; otherwise nothing changed. An error
	// that is syscall.ENOSPC means that the disk is full. When ctx ends while Update waits for its turn, fn does not run.
	Update(ctx context.Context, fn func(Conn) error) error
	// View runs fn on a consistent snapshot. fn cannot write.
	View(ctx context.Context, fn func(Conn) error) error
	// Listen calls fn for each Notify of topic that was committed, until ctx
	// is done, and then returns nil. fn runs in this goroutine and returns
	// quickly. Equal payloads may come as one, and an empty payload means
	// that anything may have happened: it comes first, once Listen misses
	// nothing more, and after every gap.
	Listen(ctx context.Context, topic string, fn func(payload string)) error
	// Close waits for transactions in progress.
	Close() error
}

// A Conn runs statements of one transaction. It is valid only inside the function
// that received it. Arguments are int, int64, uint32, bool, string, []byte, or
// nil; a nil []byte is NULL.
type Conn interface {
	// Exec runs a statement, or without arguments several, with a semicolon
	// between. It returns ErrUnique, wrapped, for a second row with a key;
	// fn must then return an error too.
	Exec(query string, args ...any) error
	// Query calls row for each row and stops at the first error. row does not
	// use the Conn.
	Query(query string, row func(Row) error, args ...any) error
	// Changes is how many rows the last Exec changed.
	Changes() int64
	// Notify tells those who Listen to topic, after the commit. payload is at
	// most 1000 bytes, and not empty.
	Notify(topic, payload string)
}

// A Row is valid only inside the function that received it. Columns count from
// zero. A NULL reads as 0, "" or nil.
type Row interface {
	Int(col int) int64
	Text(col int) string
	Bytes(col int) []byte // a copy
	Append(to []byte, col int) []byte
	IsNull(col int) bool
}

// A Buffer holds writes back in memory, to do many in one statement, and may keep
// rows it read from one transaction to the next. Its methods are called by one
// goroutine at a time, the one that runs an Update.
type Buffer interface {
	// Mark is called before each function.
	Mark()
	// Undo forgets what was held back since Mark.
	Undo()
	// Flush writes what is held back. It is called before a commit; the owner
	// calls it before a read that must see what is held.
	Flush(Conn) error
	// Forget drops all it holds and knows: the transaction was rolled back, or
	// another process wrote.
	Forget()
}

// Buffering is a power of a DB with one writer at a time, where a Buffer sees
// every transaction there is.
type Buffering interface {
	DB
	// Buffer makes b part of every later Update and returns it; or the one
	// that is there already under this name, so that nobody's memory of a
	// table goes stale by what another writes.
	Buffer(name string, b Buffer) Buffer
}

// Committed is a power of a Buffer that wants to know when what it flushed is committed:
// before any of those whose Updates share the commit.
type Committed interface {
	Buffer
	Committed()
}

// Alone is a power of a DB that may know that nobody else writes, so that what was
// written through it is all there is.
type Alone interface {
	Alone() bool
}

// Awaiting is a power of a DB that can do the work of a transaction while something
// that its rows name is made durable.
type Awaiting interface {
	DB
	// UpdateAfter is Update, but commits only after wait returned nil; if it
	// returns an error so does UpdateAfter, and nothing changed. wait says the
	// same each time: it is called in any goroutine, more than once, perhaps in two
	// at a time, also if fn fails, and perhaps a little after UpdateAfter has
	// returned. A nil wait is none.
	UpdateAfter(ctx context.Context, wait func() error, fn func(Conn) error) error
}

// UpdateAfter is db.UpdateAfter, or where db cannot do that, waits before Update.
func UpdateAfter(ctx context.Context, db DB, wait func() error, fn func(Conn) error) error {
	if wait == nil {
		return db.Update(ctx, fn)
	}
	if a, ok := db.(Awaiting); ok {
		return a.UpdateAfter(ctx, wait, fn)
	}
	if err := wait(); err != nil {
		return err
	}
	return db.Update(ctx, fn)
}
