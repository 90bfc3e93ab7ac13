package pgdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// maxEnd is how long the end of a transaction may take. It is not cut short by the
// context of an Update, so that its outcome is known.
const maxEnd = 30 * time.Second

func (db *DB) Update(ctx context.Context, fn func(sqldb.Conn) error) error {
	if err := db.begin(); err != nil {
		return err
	}
	defer db.work.Done()
	select {
	case db.writers <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-db.writers }()
	return db.try(ctx, beginUpdate, fn)
}

func (db *DB) View(ctx context.Context, fn func(sqldb.Conn) error) error {
	if err := db.begin(); err != nil {
		return err
	}
	defer db.work.Done()
	return db.try(ctx, beginView, fn)
}

// try runs fn in a transaction, again if bad luck ended it.
func (db *DB) try(ctx context.Context, opening string, fn func(sqldb.Conn) error) error {
	for n := 1; ; n++ {
		again, err := db.once(ctx, opening, fn)
		if err == nil || !again || n >= db.o.Attempts || ctx.Err() != nil {
			return err
		}
		db.o.Logger.Debug("pgdb: transaction runs again", "attempt", n, "err", err)
		if err := db.pause(ctx, n); err != nil {
			return err
		}
	}
}

// pause waits 2 ms at first and up to half a second later, half of it at random.
func (db *DB) pause(ctx context.Context, n int) error {
	d := min(time.Millisecond<<min(n, 20), time.Second/2)
	t := db.o.Clock.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once runs fn in a transaction. again says that another attempt may do better.
func (db *DB) once(ctx context.Context, opening string, fn func(sqldb.Conn) error) (again bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	pc, err := db.pool.Acquire(ctx)
	if err != nil {
		return passing(err), fmt.Errorf("pgdb: %w", err)
	}
	defer pc.Release() // closes it if it is in a transaction still
	c := &conn{db: db, ctx: ctx, c: pc, opening: opening}
	defer func() { c.ctx = nil }()
	err = func() error {
		defer func() {
			if p := recover(); p != nil {
				c.rollback()
				panic(p)
			}
		}()
		return fn(c)
	}()
	if c.err != nil && err == nil {
		err = c.err // fn may make nothing of it, but the transaction is over
	}
	if err != nil {
		c.rollback()
		return c.err != nil && (db.demoted(opening, c.err) || passing(c.err) || pc.Conn().IsClosed()), err
	}
	if !c.begun && len(c.queue) == 0 && len(c.notes) == 0 {
		return false, nil
	}
	number, err := c.commit()
	if err != nil {
		return !errors.Is(err, ErrUnknown) && (db.demoted(opening, err) || passing(err)), err
	}
	if len(c.notes) > 0 {
		db.tell(number, c.notes)
	}
	return false, nil
}

func (c *conn) rollback() {
	if !c.begun || c.c.Conn().IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), maxEnd)
	defer cancel()
	c.trip()
	// If it fails the connection is closed, which does the same.
	_, _ = c.c.Exec(ctx, "rollback")
}

// commit sends what is queued, and COMMIT. It returns the number of the notes.
func (c *conn) commit() (number int64, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), maxEnd)
	defer cancel()
	c.ctx = ctx
	var last func(sqldb.Row) error
	if len(c.notes) > 0 {
		s, err := c.statement(`SELECT nextval('mailkeel_note')`, nil)
		if err != nil {
			return 0, err
		}
		c.queue = append(c.queue, s)
		last = func(r sqldb.Row) error { number = r.Int(0); return nil }
	}
	if err := c.send(last, "commit"); err != nil {
		err = unsure(err)
		c.rollback()
		return 0, err
	}
	return number, nil
}

// unsure adds ErrUnknown to an error that came after COMMIT was sent, unless the
// server says that it failed.
func unsure(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.SeverityUnlocalized == "ERROR" {
		return err
	}
	return errors.Join(ErrUnknown, err)
}

// demoted reports whether the server refused an Update because it is a standby, as one
// that was the primary before. Connections are made anew then: perhaps the address
// leads to another server by now.
func (db *DB) demoted(opening string, err error) bool {
	var pe *pgconn.PgError
	if opening != beginUpdate || !errors.As(err, &pe) || pe.Code != "25006" { // read_only_sql_transaction
		return false
	}
	db.pool.Reset()
	return true
}

// passing reports whether an error may be gone at the next attempt.
func passing(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case "40001", "40P01", // serialization_failure, deadlock_detected
			"57P01", "57P02", "57P03", // the server stops, crashed, starts
			"53300": // too_many_connections
			return true
		}
		return len(pe.Code) == 5 && pe.Code[:2] == "08" // connection
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var ne net.Error
	var ce *pgconn.ConnectError
	return errors.As(err, &ne) || errors.As(err, &ce) || pgconn.SafeToRetry(err)
}
