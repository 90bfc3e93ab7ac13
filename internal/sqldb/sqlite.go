package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel/internal/committer"
	"github.com/mailkeel/mailkeel/internal/vfs"
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
	// MaxLog is how large the write-ahead log may get, in bytes, before readers
	// are held back until it can begin anew; zero means 256 MB. Without that
	// it would grow for ever if there was always somebody reading.
	MaxLog int64
	// Reserve is how many bytes a file beside the database takes up, which is
	// given up when the disk is full, so that rows can still be removed; zero
	// means none. It comes back when there is room for three of it.
	Reserve int64
	// Relaxed leaves out the sync of each commit: the last ones may be lost when the
	// power goes, as a whole. It is for what can be made again.
	Relaxed bool
	// Alone says that no other process writes, and nobody in this one by another
	// SQLite: the caller has a lock against that.
	Alone bool
	// FS holds the files that are not opened by SQLite itself; nil means that of
	// the machine. VFS names what SQLite opens its files with, as registered by
	// package sqlvfs for the same FS; empty means its own.
	FS  vfs.FS
	VFS string
	// Trace, if set, is told of every statement and how many rows it gave.
	// It is called from many goroutines.
	Trace func(query string, rows int)
}

// SQLite is a DB in one file. Concurrent Updates share a transaction, and so a
// sync. Listen hears this process only.
//
// The log is synced by SQLite in each commit (synchronous=FULL), so what a reader
// sees is durable. If that fails the Updates of the batch fail, nothing of them is
// seen, and the next commit writes the same part of the log again: what it covers
// does not depend on pages that the system took for written. If the power goes before
// that, a transaction whose sync failed may be there as a whole; the blobs that its
// rows name are.
type SQLite struct {
	o       Options
	path    string
	com     committer.Committer
	writer  *writer
	places  chan struct{} // one is taken by each View
	hub     Hub
	reserve reserve
	lost    *Lost // of the log, at the start

	mu      sync.Mutex
	closed  bool
	idle    []*conn // readers that are open; the last was used last, and remembers most
	views   sync.WaitGroup
	buffers map[string]Buffer
}

var (
	_ Alone     = (*SQLite)(nil)
	_ Buffering = (*SQLite)(nil)
	_ Awaiting  = (*SQLite)(nil)
)

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
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	f, err := o.FS.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("sqldb: %w", err)
	}
	if o.MaxLog <= 0 {
		o.MaxLog = 256 << 20
	}
	db := &SQLite{o: o, path: path, places: make(chan struct{}, o.Readers), reserve: reserve{fs: o.FS, path: path + "-reserve", size: o.Reserve}}
	// SQLite meets the same errors if they matter.
	db.lost, _ = readLog(o.FS, path+"-wal")
	c, err := openWriter(path, &o)
	if err != nil && db.reserve.size > 0 && o.FS.Remove(db.reserve.path) == nil {
		c, err = openWriter(path, &o) // the log needs room, too
	}
	if err != nil {
		return nil, err
	}
	db.reserve.fill()
	db.writer = &writer{db: db, conn: c, maxLog: o.MaxLog, patience: time.Second}
	db.com.Target, db.com.MaxBatch = db.writer, o.MaxBatch
	return db, nil
}

// openWriter opens the connection that writes.
func openWriter(path string, o *Options) (*conn, error) {
	sync := "synchronous=FULL"
	if o.Relaxed {
		sync = "synchronous=NORMAL"
	}
	c, err := openConn(path, o, sync, "journal_size_limit=67108864")
	if err != nil {
		return nil, err
	}
	if err := c.useWAL(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	// With the first statement the log is there, until the last connection closes.
	// SQLite syncs its folder with the first commit, but takes no notice if that
	// fails.
	err = c.Query("SELECT 1 FROM sqlite_schema LIMIT 1", func(Row) error { return nil })
	if err == nil {
		err = o.FS.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqldb: %w", err), c.Close())
	}
	return c, nil
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

func (db *SQLite) Alone() bool { return db.o.Alone }

func (db *SQLite) Update(ctx context.Context, fn func(Conn) error) error {
	return db.UpdateAfter(ctx, nil, fn)
}

func (db *SQLite) UpdateAfter(ctx context.Context, wait func() error, fn func(Conn) error) error {
	times := db.reserve.times()
	var lost atomic.Bool
	after := wait
	if wait != nil {
		after = func() error {
			err := wait()
			if err != nil {
				lost.Store(true)
			}
			return err
		}
	}
	err := db.update(ctx, after, fn)
	// The reserve is for rows. What is waited for has a limit of its own.
	if errors.Is(err, syscall.ENOSPC) && !lost.Load() && db.reserve.give(times) {
		err = db.update(ctx, wait, fn)
	}
	return err
}

func (db *SQLite) update(ctx context.Context, wait func() error, fn func(Conn) error) error {
	u := &updateConn{w: db.writer}
	err := db.com.DoAfter(ctx, wait, func() error {
		u.notes = u.notes[:0]
		return fn(u)
	})
	if errors.Is(err, committer.ErrClosed) {
		return ErrClosed
	}
	if err == nil {
		db.hub.Tell(u.notes...)
	}
	return err
}

// An updateConn is a Conn of one Update.
type updateConn struct {
	w     *writer
	notes []Note
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
	u.notes = append(u.notes, Note{topic, payload})
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
	select {
	case db.places <- struct{}{}:
		defer func() { <-db.places }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c, err := db.reader()
	if err != nil {
		return err
	}
	if err := c.Exec("BEGIN"); err != nil {
		c.Close()
		return err
	}
	c.ctx = ctx
	defer func() {
		// Only reads happened, so ROLLBACK is as good as COMMIT, and works
		// after an error too.
		c.ctx = nil
		if c.Exec("ROLLBACK") != nil {
			c.Close()
			return
		}
		db.mu.Lock()
		db.idle = append(db.idle, c)
		db.mu.Unlock()
	}()
	return fn(viewConn{c})
}

// reader returns the connection that read last, of those that nobody uses.
func (db *SQLite) reader() (*conn, error) {
	db.mu.Lock()
	if n := len(db.idle); n > 0 {
		c := db.idle[n-1]
		db.idle = db.idle[:n-1]
		db.mu.Unlock()
		return c, nil
	}
	db.mu.Unlock()
	return openConn(db.path, &db.o, "query_only=1")
}

// A viewConn has nobody to notify.
type viewConn struct{ *conn }

func (viewConn) Notify(string, string) {}

func (db *SQLite) Listen(ctx context.Context, topic string, fn func(string)) error {
	return db.hub.Listen(ctx, topic, fn)
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

// Lost is what the log had that was there at the start and could not be read, or nil.
func (db *SQLite) Lost() *Lost { return db.lost }

// Reindex makes all indexes again from their tables.
func (db *SQLite) Reindex(ctx context.Context) error {
	return db.Update(ctx, func(c Conn) error { return c.Exec("REINDEX") })
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
	db.hub.Close()
	db.com.Close()
	db.views.Wait()
	var err error
	for _, c := range db.idle { // no View is left that takes or returns one
		err = errors.Join(err, c.Close())
	}
	// Last, because it moves the log into the database when nobody reads.
	return errors.Join(err, db.writer.conn.Close())
}
