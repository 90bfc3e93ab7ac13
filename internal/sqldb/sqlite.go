package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/internal/committer"
)

// Options for OpenSQLite. The zero value is good.
type Options struct {
	// Readers is how many Views run at once; zero means 8.
	Readers int
	// MaxBatch is how many Updates share a transaction; zero means 256.
	MaxBatch int
	// BusyTimeout is how long to wait for another process that writes; zero
	// means 10 s.
	BusyTimeout time.Duration
	// Trace, if set, is told of every statement and how many rows it gave.
	// It is called from many goroutines.
	Trace func(query string, rows int)
}

// SQLite is a DB in one file. Concurrent Updates share a transaction, and so a
// sync. Listen hears this process only.
type SQLite struct {
	o       Options
	path    string
	com     committer.Committer
	writer  *writer
	readers chan *conn // holds nil for one that is not open yet
	hub     hub

	mu      sync.Mutex
	closed  bool
	views   sync.WaitGroup
	buffers map[string]Buffer
}

var _ Buffering = (*SQLite)(nil)

// OpenSQLite opens the database at path and makes it if it is missing. The
// folder must be there, on a local file system.
func OpenSQLite(path string, o Options) (*SQLite, error) {
	if o.Readers <= 0 {
		o.Readers = 8
	}
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 10 * time.Second
	}
	// The database holds people's mail: only its owner may read it. SQLite gives
	// its other files the mode of the first. The file is not opened if it is
	// there, because closing it would end the locks of this process on it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("sqldb: %w", err)
	}
	c, err := openConn(path, &o, "synchronous=FULL", "journal_size_limit=67108864")
	if err != nil {
		return nil, err
	}
	if err := c.useWAL(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	db := &SQLite{o: o, path: path, writer: &writer{conn: c}, readers: make(chan *conn, o.Readers)}
	db.com.Target, db.com.MaxBatch = db.writer, o.MaxBatch
	for range o.Readers {
		db.readers <- nil
	}
	return db, nil
}

func (db *SQLite) Buffer(name string, b Buffer) Buffer {
	db.mu.Lock()
	defer db.mu.Unlock()
	if old, ok := db.buffers[name]; ok {
		return old
	}
	if db.buffers == nil {
		db.buffers = map[string]Buffer{}
	}
	db.buffers[name] = b
	db.writer.join(b)
	return b
}

func (db *SQLite) Update(ctx context.Context, fn func(Conn) error) error {
	u := &updateConn{w: db.writer}
	err := db.com.Do(ctx, func() error {
		u.notes = u.notes[:0]
		return fn(u)
	})
	if errors.Is(err, committer.ErrClosed) {
		return ErrClosed
	}
	if err == nil {
		db.hub.tell(u.notes)
	}
	return err
}

// An updateConn is a Conn of one Update.
type updateConn struct {
	w     *writer
	notes []note
}

func (u *updateConn) Exec(q string, args ...any) error {
	u.w.wrote = true
	return u.w.conn.Exec(q, args...)
}

func (u *updateConn) Query(q string, row func(Row) error, args ...any) error {
	// It may be an INSERT with RETURNING. Whether a query writes, SQLite can
	// say; its text is enough here.
	if !isSelect(q) {
		u.w.wrote = true
	}
	return u.w.conn.Query(q, row, args...)
}

func (u *updateConn) Changes() int64 { return u.w.conn.Changes() }

func (u *updateConn) Notify(topic, payload string) {
	u.notes = append(u.notes, note{topic, payload})
}

func (db *SQLite) View(ctx context.Context, fn func(Conn) error) error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return ErrClosed
	}
	db.views.Add(1)
	db.mu.Unlock()
	defer db.views.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case c = <-db.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c == nil {
		var err error
		if c, err = openConn(db.path, &db.o, "query_only=1"); err != nil {
			db.readers <- nil
			return err
		}
	}
	if err := c.Exec("BEGIN"); err != nil {
		c.Close()
		db.readers <- nil
		return err
	}
	c.ctx = ctx
	defer func() {
		// Only reads happened, so ROLLBACK is as good as COMMIT, and works
		// after an error too.
		c.ctx = nil
		if c.Exec("ROLLBACK") != nil {
			c.Close()
			c = nil
		}
		db.readers <- c
	}()
	return fn(viewConn{c})
}

// A viewConn has nobody to notify.
type viewConn struct{ *conn }

func (viewConn) Notify(string, string) {}

func (db *SQLite) Listen(ctx context.Context, topic string, fn func(string)) error {
	return db.hub.listen(ctx, topic, fn)
}

// Waiting is how many Updates wait for a transaction to end.
func (db *SQLite) Waiting() int { return db.com.Waiting() }

// Check reads the whole database and returns what is wrong with it, if anything.
func (db *SQLite) Check(ctx context.Context) (faults []string, err error) {
	err = db.View(ctx, func(c Conn) error {
		faults = nil
		return c.Query("PRAGMA integrity_check", func(r Row) error {
			if s := r.Text(0); s != "ok" {
				faults = append(faults, s)
			}
			return nil
		})
	})
	return faults, err
}

// Close waits for transactions in progress. A Listen ends with ErrClosed.
func (db *SQLite) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	db.mu.Unlock()
	db.hub.close()
	db.com.Close()
	db.views.Wait()
	var err error
	for range db.o.Readers {
		if c := <-db.readers; c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	// Last, because it moves the log into the database when nobody reads.
	return errors.Join(err, db.writer.conn.Close())
}

// writer is the one connection that writes, as a committer.Target.
type writer struct {
	conn    *conn
	buffers []Buffer
	mu      sync.Mutex
	next    []Buffer // join at the next Begin
	// wrote says that the running function has done what only a rollback can
	// undo.
	wrote   bool
	version int64
}

func (w *writer) join(b Buffer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = append(w.next, b)
}

func (w *writer) Begin() error {
	w.mu.Lock()
	w.buffers, w.next = append(w.buffers, w.next...), nil
	w.mu.Unlock()
	if err := w.conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("sqldb: begin: %w", err)
	}
	if len(w.buffers) == 0 {
		return nil
	}
	// The number changes when another connection has written.
	was := w.version
	err := w.conn.Query("PRAGMA data_version", func(r Row) error { w.version = r.Int(0); return nil })
	if err != nil {
		w.Rollback()
		return err
	}
	if w.version != was {
		w.forget()
	}
	return nil
}

func (w *writer) Mark(firm bool) error {
	w.wrote = false
	for _, b := range w.buffers {
		b.Mark()
	}
	if firm {
		return w.conn.Exec("SAVEPOINT fn")
	}
	return nil
}

func (w *writer) Keep(firm bool) error {
	if !firm {
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return w.conn.Exec("RELEASE fn")
}

func (w *writer) Undo(firm bool) (bool, error) {
	if !firm {
		if w.wrote {
			return false, nil
		}
		for _, b := range w.buffers {
			b.Undo()
		}
		return true, nil
	}
	w.forget() // everything before was flushed by Keep
	if err := w.conn.Exec("ROLLBACK TO fn"); err != nil {
		return false, err
	}
	return true, w.conn.Exec("RELEASE fn")
}

func (w *writer) Commit() error {
	if err := w.conn.Exec("COMMIT"); err != nil {
		return fmt.Errorf("sqldb: commit: %w", err)
	}
	return nil
}

func (w *writer) Rollback() {
	w.forget()
	if !w.conn.c.AutocommitEnabled() { // some errors have rolled back already
		_ = w.conn.Exec("ROLLBACK")
	}
}

func (w *writer) Flush() error {
	for _, b := range w.buffers {
		if err := b.Flush(&updateConn{w: w}); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) forget() {
	for _, b := range w.buffers {
		b.Forget()
	}
}
