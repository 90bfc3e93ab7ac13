package sqldb

import (
	"fmt"
	"sync"
	"time"
)

// writer is the one connection that writes, as a committer.Target.
type writer struct {
	db       *SQLite
	conn     *conn
	commits  int
	maxLog   int64         // from where on to shrink the log
	patience time.Duration // how long to wait for readers to end then
	buffers  []Buffer
	mu       sync.Mutex
	next     []Buffer // join at the next Begin
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
	for _, b := range w.buffers {
		if c, ok := b.(Committed); ok {
			c.Committed()
		}
	}
	if w.commits++; w.commits%logEvery == 0 {
		w.shrinkLog()
	}
	if w.db.reserve.missing() { // the disk may be full again at any moment
		w.db.reserve.fill()
	}
	return nil
}

// logEvery is how many commits there are between two looks at the log.
const logEvery = 64

// shrinkLog begins a new log if the old one is too large. SQLite does so by itself
// at a moment when nobody reads, of which there may be none.
func (w *writer) shrinkLog() {
	fi, err := w.db.o.FS.Stat(w.db.path + "-wal")
	if err != nil || fi.Size() < w.maxLog {
		return
	}
	// If it cannot be now, then when there is half as much again.
	w.maxLog = fi.Size() + w.db.o.MaxLog/2
	// With all their places in our hands nobody reads.
	taken := 0
	defer func() {
		for range taken {
			<-w.db.places
		}
	}()
	t := time.NewTimer(w.patience)
	defer t.Stop()
	for ; taken < w.db.o.Readers; taken++ {
		select {
		case w.db.places <- struct{}{}:
			continue
		default:
		}
		select {
		case w.db.places <- struct{}{}:
		case <-t.C:
			return // a View takes long
		}
	}
	err = w.conn.Query("PRAGMA wal_checkpoint(TRUNCATE)", func(r Row) error {
		if r.Int(0) == 0 { // not busy
			w.maxLog = w.db.o.MaxLog
		}
		return nil
	})
	if err != nil {
		return // if it matters, the next commit fails too
	}
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
