// Package ftsindex is a search.Index in one file of SQLite.
//
// Texts are in a full-text table of trigrams, without their content and without
// positions, which is small: it says which messages may have a text, and those are
// read. Header fields are kept as they are, a field of many messages side by side, so
// that a search in one of them reads little and is exact.
//
// The file can be deleted at any time, when it is not open. A damaged one is deleted, and
// a transaction that was lost in a crash is done again.
package ftsindex

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"sync"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// schema is made anew when it changes: see version.
const schema = `
	CREATE TABLE layout (version INTEGER NOT NULL);
	CREATE TABLE account (
		num     INTEGER PRIMARY KEY AUTOINCREMENT,
		id      TEXT NOT NULL UNIQUE,
		through INTEGER NOT NULL,
		start   INTEGER NOT NULL
	);
	CREATE TABLE box (
		id   INTEGER PRIMARY KEY,
		acct INTEGER NOT NULL
	);
	CREATE INDEX box_account ON box (acct);
	CREATE TABLE segment (
		id   INTEGER PRIMARY KEY AUTOINCREMENT,
		box  INTEGER NOT NULL,
		docs INTEGER NOT NULL,
		size INTEGER NOT NULL,
		gone INTEGER NOT NULL,
		uids BLOB NOT NULL
	);
	CREATE INDEX segment_box ON segment (box);
	CREATE TABLE field (
		segment INTEGER NOT NULL,
		name    TEXT NOT NULL,
		data    BLOB NOT NULL,
		PRIMARY KEY (segment, name)
	) WITHOUT ROWID;
	CREATE TABLE gone (
		segment INTEGER NOT NULL,
		uid     INTEGER NOT NULL,
		PRIMARY KEY (segment, uid)
	) WITHOUT ROWID;
	CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'trigram case_sensitive 1', content = '', contentless_delete = 1, detail = none);`

// version is of schema and of how texts are folded. A file of another is deleted.
const version = 1

// maxBox is the largest mailbox that a rowid of words has room for.
const maxBox = math.MaxInt32

// rowid names a message in words.
func rowid(box store.MailboxID, uid store.UID) int64 { return int64(box)<<32 | int64(uid) }

// Options may be zero.
type Options struct {
	Logger *slog.Logger // nil means discard
	// FS and VFS are as in sqldb.Options.
	FS  vfs.FS
	VFS string
}

// Index is a search.Index. Its file is made when there is something to keep.
type Index struct {
	path string
	o    Options

	mu     sync.RWMutex // held for reading while db is used
	db     *sqldb.SQLite
	closed bool
}

var _ search.Index = (*Index)(nil)

var errClosed = errors.New("ftsindex: closed")

// New returns an index in a file, which need not be there.
func New(path string, o Options) *Index {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Index{path: path, o: o}
}

// use calls fn with the database. A damaged one is deleted, and fn gets the next.
// Without create it is search.ErrNoAnswer if there is none.
func (x *Index) use(create bool, fn func(*sqldb.SQLite) error) error {
	for try := 0; ; try++ {
		db, err := x.open(create)
		if err == nil {
			err = fn(db)
			x.mu.RUnlock()
		}
		if try > 0 || !errors.Is(err, sqldb.ErrDamaged) {
			return err
		}
		x.o.Logger.Warn("ftsindex: the index is damaged, and is made anew", "err", err)
		if err := x.discard(db); err != nil {
			return err
		}
	}
}

// open returns the database. mu is held for reading if there is no error.
func (x *Index) open(create bool) (*sqldb.SQLite, error) {
	x.mu.RLock()
	if x.db != nil {
		return x.db, nil
	}
	x.mu.RUnlock()
	x.mu.Lock()
	err := x.openNow(create)
	x.mu.Unlock()
	if err != nil {
		return nil, err
	}
	x.mu.RLock()
	if x.db == nil { // closed or discarded between
		x.mu.RUnlock()
		return nil, search.ErrNoAnswer
	}
	return x.db, nil
}

func (x *Index) openNow(create bool) error {
	switch {
	case x.closed:
		return errClosed
	case x.db != nil:
		return nil
	}
	if _, err := x.o.FS.Stat(x.path); err != nil && !create {
		if errors.Is(err, fs.ErrNotExist) {
			return search.ErrNoAnswer
		}
		return fmt.Errorf("ftsindex: %w", err)
	}
	db, err := sqldb.OpenSQLite(x.path, sqldb.Options{Readers: 4, Relaxed: true, MaxLog: 64 << 20, FS: x.o.FS, VFS: x.o.VFS})
	if err != nil {
		return fmt.Errorf("ftsindex: %w", err)
	}
	if err := migrate(db); err != nil {
		return errors.Join(fmt.Errorf("ftsindex: %w", err), db.Close())
	}
	x.db = db
	return nil
}

// migrate makes the tables. Those of another version are as good as damaged.
func migrate(db *sqldb.SQLite) error {
	return db.Update(context.Background(), func(c sqldb.Conn) error {
		tables, is := 0, -1
		err := c.Query(`SELECT COUNT(*), SUM(name = 'layout') FROM sqlite_schema`, func(r sqldb.Row) error {
			tables, is = int(r.Int(0)), int(r.Int(1))
			return nil
		})
		if err != nil {
			return err
		}
		if tables == 0 {
			if err := c.Exec(schema); err != nil {
				return err
			}
			return c.Exec(`INSERT INTO layout (version) VALUES (?)`, version)
		}
		if is == 1 {
			err = c.Query(`SELECT version FROM layout`, func(r sqldb.Row) error {
				is = int(r.Int(0))
				return nil
			})
			if err != nil {
				return err
			}
		}
		if is != version {
			return fmt.Errorf("%w: it is of another version", sqldb.ErrDamaged)
		}
		return nil
	})
}

// discard deletes the files of a damaged database, unless that was done meanwhile.
func (x *Index) discard(bad *sqldb.SQLite) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || x.db != bad {
		return nil
	}
	if x.db != nil {
		_ = x.db.Close()
		x.db = nil
	}
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := x.o.FS.Remove(x.path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("ftsindex: %w", err)
		}
	}
	return nil
}

// States yields the accounts that are indexed.
func (x *Index) States(ctx context.Context) (out map[store.AccountID]search.State, err error) {
	err = x.use(false, func(db *sqldb.SQLite) error {
		return db.View(ctx, func(c sqldb.Conn) error {
			out = map[store.AccountID]search.State{}
			return c.Query(`SELECT id, through, start FROM account`, func(r sqldb.Row) error {
				out[store.AccountID(r.Text(0))] = search.State{Through: store.ModSeq(r.Int(1)), Start: store.ModSeq(r.Int(2))}
				return nil
			})
		})
	})
	if errors.Is(err, search.ErrNoAnswer) {
		return nil, nil
	}
	return out, err
}

// Close waits for those who use the index.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.db == nil {
		return nil
	}
	db := x.db
	x.db = nil
	return db.Close()
}
