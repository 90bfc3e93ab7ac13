package pgdb_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
)

// The password of a connection string stands in no error.
func TestPasswordIsNotTold(t *testing.T) {
	for _, conn := range []string{
		"postgres://mail:s3cret@127.0.0.1:1/mail", "postgres://mail:s3cret@127.0.0.1:99999/mail", "postgres://mail:s3cret@[::1/mail",
		"postgres://mail:s3cret@127.0.0.1:1/mail?sslmode=strange", "host=127.0.0.1 port=1 password=s3cret", "host=127.0.0.1 port=x password=s3cret",
		"host=127.0.0.1 password='s3cret", "host=127.0.0.1 password=s3cret sslmode=strange", "password=s3cret nonsense",
		"postgres://mail:s3cret%zz@127.0.0.1:1/mail", "postgres://mail:s3cret@127.0.0.1:1/mail?pool_max_conns=x",
	} {
		var log bytes.Buffer
		_, err := pgdb.Open(context.Background(), conn, pgdb.Options{Attempts: 1, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err == nil {
			t.Fatalf("%s: a server is there", conn)
		}
		if said := err.Error() + log.String(); strings.Contains(said, "s3cret") {
			t.Errorf("%s: %s", conn, said)
		}
	}
}

// When all connections are busy, and for longer than callers wait, each gets an error
// in time, nothing of theirs is written, and afterwards everything works.
func TestFullPool(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	db := newDB(t, c.Schema(t), pgdb.Options{MaxConns: 2})
	update(t, db, insert(0))
	began, finish, done := make(chan struct{}), make(chan struct{}), make(chan error, 2)
	for range 2 { // Views take all connections
		go func() {
			done <- db.View(context.Background(), func(c sqldb.Conn) error {
				err := c.Query("SELECT 1", func(sqldb.Row) error { return nil })
				began <- struct{}{}
				<-finish
				return err
			})
		}()
	}
	<-began
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for range 4 {
		if err := db.Update(ctx, insert(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	// One waits until there is a connection.
	late := make(chan error, 1)
	go func() { late <- db.Update(context.Background(), insert(2)) }()
	close(finish)
	for _, ch := range []chan error{done, done, late} {
		if err := <-ch; err != nil {
			t.Error(err)
		}
	}
	if n := count(t, db); n != 2 {
		t.Errorf("%d rows", n)
	}
}

// A caller that gives up while it waits for a lock, or for the answer of a statement,
// leaves nothing behind; one that gives up in the commit does not disturb it.
func TestCancelledUpdates(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	conn := c.Schema(t)
	db, other := newDB(t, conn, pgdb.Options{MaxConns: 4}), open(t, conn, pgdb.Options{MaxConns: 4})
	update(t, db, insert(0))
	locked, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- other.Update(context.Background(), func(c sqldb.Conn) error {
			err := c.Exec("UPDATE t SET v = 7 WHERE k = 0")
			close(locked)
			<-release
			return err
		})
	}()
	<-locked
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		waiting <- db.Update(ctx, func(c sqldb.Conn) error {
			return errors.Join(insert(1)(c), c.Exec("UPDATE t SET v = 8 WHERE k = 0"))
		})
	}()
	for number(t, db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) || errors.Is(err, pgdb.ErrUnknown) {
		t.Error(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The server gives the cancelled one up too: its row can be written.
	update(t, db, insert(1))
	if n := number(t, db, "SELECT v FROM t WHERE k = 0"); n != 7 {
		t.Errorf("v is %d", n)
	}

	ctx, cancel = context.WithCancel(t.Context())
	err := db.Update(ctx, func(c sqldb.Conn) error {
		err := c.Query("SELECT 1", func(sqldb.Row) error { return nil })
		cancel() // what follows is the commit
		return errors.Join(err, sqldb.Later(c, "INSERT INTO t (k, v) VALUES (2, 0)"))
	})
	if n := count(t, db); err != nil && n != 2 || err == nil && n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// A server whose administrator limits statements and idle transactions answers with an
// error, and the next Update works.
func TestServerSetsTimeouts(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	db := newDB(t, c.Schema(t), pgdb.Options{MaxConns: 2, Attempts: 2})
	err := db.Update(t.Context(), func(c sqldb.Conn) error {
		return errors.Join(insert(1)(c), c.Exec("SET LOCAL statement_timeout = 100"), c.Exec("SELECT pg_sleep(600)"))
	})
	if err == nil || errors.Is(err, pgdb.ErrUnknown) {
		t.Error(err)
	}
	runs := 0
	err = db.Update(t.Context(), func(c sqldb.Conn) error {
		runs++
		if err := insert(2)(c); err != nil || runs > 1 {
			return err
		}
		if err := c.Exec("SET LOCAL idle_in_transaction_session_timeout = 100"); err != nil {
			return err
		}
		// Idle until the server ends it.
		for number(t, db, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") > 0 {
			time.Sleep(time.Millisecond)
		}
		return insert(3)(c)
	})
	if n := count(t, db); err != nil || runs != 2 || n != 1 {
		t.Errorf("%d runs, %d rows, %v", runs, n, err)
	}
}
