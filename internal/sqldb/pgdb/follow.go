package pgdb

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

// followers are the two that keep the hub informed: one listens, one looks.
type followers struct {
	once      sync.Once
	attempted chan struct{} // closed when the first connection listens, or failed
	looked    chan struct{} // closed at the first look
	mu        sync.Mutex
	cut       context.CancelFunc // ends the connection that listens
}

// reconnect is how long there is between two connections that listen.
const reconnect = time.Second

// Listen hears all processes.
func (db *DB) Listen(ctx context.Context, topic string, fn func(string)) error {
	f := &db.follow
	f.once.Do(func() {
		f.attempted, f.looked = make(chan struct{}), make(chan struct{})
		for _, run := range []func(){db.listen, db.look} {
			if db.begin() == nil {
				go func() {
					defer db.work.Done()
					run()
				}()
			}
		}
	})
	// From the first look on nothing is missed for long, and with a connection
	// not at all.
	for _, c := range []chan struct{}{f.attempted, f.looked} {
		select {
		case <-c:
		case <-ctx.Done():
			return nil
		case <-db.ctx.Done():
			return sqldb.ErrClosed
		}
	}
	return db.hub.Listen(ctx, topic, fn)
}

// listen keeps a connection that listens until Close. It logs when that is lost and
// when it is back, not each attempt between.
func (db *DB) listen() {
	attempted := sync.OnceFunc(func() { close(db.follow.attempted) })
	lost := false
	first := func() {
		attempted()
		if lost {
			db.o.Logger.Info("pgdb: told of the changes of other processes again")
			lost = false
		}
	}
	for db.ctx.Err() == nil {
		ctx, cut := context.WithCancel(db.ctx)
		db.follow.mu.Lock()
		db.follow.cut = cut
		db.follow.mu.Unlock()
		err := db.listenOnce(ctx, first)
		cut()
		attempted()
		if db.ctx.Err() == nil {
			if !lost {
				db.o.Logger.Warn("pgdb: not told of the changes of other processes; looks for them, and tries to connect again every second", "err", err)
			}
			lost = true
			db.sleep(reconnect)
		}
	}
}

func (db *DB) sleep(d time.Duration) {
	t := db.o.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
	case <-db.ctx.Done():
	}
}

func (db *DB) listenOnce(ctx context.Context, first func()) error {
	c, err := pgx.ConnectConfig(ctx, db.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		c.Close(end)
	}()
	if _, err := c.Exec(ctx, "listen "+pgx.Identifier{db.channel}.Sanitize()); err != nil {
		return err
	}
	db.hub.Gap() // what came before was not heard
	first()
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		numbers, sender, note, err := parseNote(n.Payload)
		if err != nil {
			db.o.Logger.Warn(err.Error())
			continue
		}
		db.marks.heard(numbers...)
		if sender != db.self { // else they know
			db.hub.Tell(note)
		}
	}
}

// look looks at the sequence now and then, until Close.
func (db *DB) look() {
	first := sync.OnceFunc(func() { close(db.follow.looked) })
	lost := 0
	for db.ctx.Err() == nil {
		gap, missing, err := db.lookOnce()
		switch {
		case err != nil:
			db.o.Logger.Debug("pgdb: cannot look for notes", "err", err)
		case gap:
			db.hub.Gap()
			fallthrough
		default:
			first()
			if missing {
				lost++
			}
			// Perhaps the connection that listens is dead.
			if lost == 2 {
				lost = 0
				db.follow.mu.Lock()
				if db.follow.cut != nil {
					db.follow.cut()
				}
				db.follow.mu.Unlock()
			}
		}
		db.sleep(db.o.Poll)
	}
}

func (db *DB) lookOnce() (gap, missing bool, err error) {
	ctx, cancel := context.WithTimeout(db.ctx, sendWithin)
	defer cancel()
	pc, err := db.pool.Acquire(ctx)
	if err != nil {
		return false, false, err
	}
	defer pc.Release()
	var last int64
	var low, high string
	// The numbers first: who took one by then is in the snapshot, or has ended.
	err = pc.QueryRow(ctx, `select case when is_called then last_value else 0 end from mailkeel_note`).Scan(&last)
	if err == nil {
		err = pc.QueryRow(ctx, `select pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text from pg_current_snapshot() s`).Scan(&low, &high)
	}
	if err != nil {
		return false, false, err
	}
	xmin, err := strconv.ParseUint(low, 10, 64)
	if err != nil {
		return false, false, err
	}
	xmax, err := strconv.ParseUint(high, 10, 64)
	if err != nil {
		return false, false, err
	}
	gap, missing = db.marks.look(last, xmin, xmax)
	return gap, missing, nil
}
