// Package pgdb is a sqldb.DB in PostgreSQL, which any number of processes use at a
// time. It stands apart from sqldb so that who uses SQLite does not link pgx.
//
// # Isolation
//
// An Update runs at READ COMMITTED and a View at REPEATABLE READ, READ ONLY. The
// rules above lock what they change before they read it (the row of an account,
// the items of a lease, a name), so that a stronger level would add nothing but
// failures: at REPEATABLE READ, two deliveries to one account would not wait for
// each other, one would have to be done again. A deadlock or a serialisation
// failure is retried all the same, a few times and with growing pauses, and so is
// a lost connection, unless COMMIT was under way on it. Then nobody knows what
// happened, and Update returns ErrUnknown: who tries again needs a key that makes
// the repeat harmless, as deliveries and queue items have.
//
// # Round trips
//
// BEGIN goes with the first statement, statements whose outcome does not matter
// (sqldb.Later) with the next one, and COMMIT with the last ones. An Update costs
// as many round trips as it asks questions, plus one. Statements are prepared once
// for each connection.
//
// # Waking others
//
// NOTIFY inside a transaction would make all commits of the database wait for each
// other, because PostgreSQL orders them under one lock. So an Update with notes
// takes a number from a sequence, and the NOTIFY with that number follows after
// the commit, with those of others, in a transaction that nobody waits for. Every
// process listens on a connection of its own, and looks at the sequence twice a second:
// a number that did not come although its transaction has ended was lost, with
// the process that should have sent it or with a connection, and all who Listen
// are told to look at everything. Nothing is missed for more than about a second.
package pgdb

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

var (
	// ErrUnknown means that the connection broke while the transaction was
	// committed: it may have happened or not.
	ErrUnknown = errors.New("pgdb: connection lost in the commit, whose outcome is unknown")
	// ErrServer means that the server or the database cannot be used.
	ErrServer = errors.New("pgdb: unusable server")
)

// Options for Open. The zero value is good.
type Options struct {
	// MaxConns is how many transactions run at once; zero means 20. One more
	// connection listens. Updates leave a quarter to Views.
	MaxConns int
	// Attempts is how often a transaction is begun that fails for want of luck;
	// zero means 10.
	Attempts int
	// Poll is how long there is between two looks at whether a note was lost;
	// zero means half a second.
	Poll time.Duration
	// Clock is for polling and for pauses; nil means real time.
	Clock  mailkeel.Clock
	Logger *slog.Logger // nil means discard
	// Trace, if set, is told of every statement and how many rows it gave or
	// changed, and Trip of every round trip, but those that prepare statements
	// or connect. They are called from many goroutines.
	Trace func(query string, rows int)
	Trip  func()
}

// DB is a sqldb.DB.
type DB struct {
	o       Options
	pool    *pgxpool.Pool
	writers chan struct{}
	texts   texts
	hub     sqldb.Hub
	salt    string // tells the locks of one schema from those of another
	channel string
	self    string // who sent a note
	box     outbox
	marks   marks

	ctx    context.Context // until Close
	stop   context.CancelFunc
	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
	follow followers
}

var _ sqldb.Many = (*DB)(nil)

// Open connects to the database of a URL or connection string as libpq knows them,
// with its environment variables. Tables are in the first schema of the search
// path. PostgreSQL must be of version 13 or later and the database in UTF-8; a
// pooler between must leave sessions as they are.
func Open(ctx context.Context, conn string, o Options) (*DB, error) {
	o.MaxConns = cmp.Or(max(o.MaxConns, 0), 20)
	o.Attempts = cmp.Or(max(o.Attempts, 0), 10)
	o.Poll = cmp.Or(max(o.Poll, 0), time.Second/2)
	o.Clock = mailkeel.ClockOr(o.Clock)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	config, err := pgxpool.ParseConfig(conn)
	if err != nil {
		return nil, fmt.Errorf("pgdb: %w", err) // pgx leaves the password out
	}
	config.MaxConns = int32(max(o.MaxConns, 2))
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if !strings.Contains(conn, "connect_timeout") {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	for name, value := range map[string]string{
		"application_name": "mailkeel",
		// What was answered with 250 survives a power failure, whatever the
		// server's default is.
		"synchronous_commit": "on",
		// A process that was cut off does not keep its locks.
		"idle_in_transaction_session_timeout": "60000",
	} {
		if _, ok := config.ConnConfig.RuntimeParams[name]; !ok {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("pgdb: %w", err)
	}
	db := &DB{o: o, pool: pool, writers: make(chan struct{}, max(o.MaxConns*3/4, 1)), self: rand.Text()[:8]}
	db.ctx, db.stop = context.WithCancel(context.Background())
	if err := db.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// prepare looks at what the server is and makes the sequence.
func (db *DB) prepare(ctx context.Context) error {
	var version int
	var encoding, fsync, schema string
	err := db.View(ctx, func(c sqldb.Conn) error {
		return c.Query(`SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
			current_setting('fsync'), coalesce(current_schema(), '')`, func(r sqldb.Row) error {
			version, encoding, fsync, schema = int(r.Int(0)), r.Text(1), r.Text(2), r.Text(3)
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case version < 13_00_00:
		return fmt.Errorf("%w: PostgreSQL %d.%d, and 13 or later is needed", ErrServer, version/10_000, version%10_000)
	case encoding != "UTF8":
		return fmt.Errorf("%w: the database is in %s and not UTF8", ErrServer, encoding)
	case schema == "":
		return fmt.Errorf("%w: no schema of the search path is there", ErrServer)
	case fsync != "on":
		db.o.Logger.Warn("pgdb: the server runs with fsync off: a crash of its machine loses mail")
	}
	db.salt = schema
	return db.Update(ctx, func(c sqldb.Conn) error {
		if err := sqldb.Lock(c, "schema"); err != nil {
			return err
		}
		if err := c.Exec(`CREATE SEQUENCE IF NOT EXISTS mailkeel_note`); err != nil {
			return err
		}
		return c.Query(`SELECT 'mailkeel_note'::regclass::oid::bigint`, func(r sqldb.Row) error {
			db.channel = fmt.Sprint("mailkeel_", r.Int(0))
			return nil
		})
	})
}

// lockKey is the number of a name for an advisory lock. Names that share one only
// wait for each other.
func (db *DB) lockKey(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(db.salt + "\x00" + name))
	return int64(h.Sum64())
}

// begin says that something runs that Close waits for.
func (db *DB) begin() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return sqldb.ErrClosed
	}
	db.work.Add(1)
	return nil
}

// Close waits for transactions in progress. A Listen ends with ErrClosed.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	db.mu.Unlock()
	db.hub.Close()
	db.stop()
	db.work.Wait()
	db.pool.Close()
	return nil
}
