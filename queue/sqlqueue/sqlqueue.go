// Package sqlqueue is a queue.Backend in an SQL database.
//
// # Tables
//
//	item   one row for each item. next is when it can be leased: its due time, or
//	       until, the end of its lease, if that is later. body is what does not
//	       change by trying: envelope, prefix, content; see below.
//	route  for each route that has items which are not held, the earliest next of
//	       them. So a Lease looks at one row for each busy route it passes over,
//	       however many items wait there.
//	ended  the IDs of items that were settled or removed, and when
//
// An item is in one of these states, and a crash leaves it there: waiting (no
// lease), leased (lease set, until in the future), due again (lease set, until
// past: the lease still counts if nobody else took the item), held; and ended,
// with no row but in ended. A held item has its due time too, and no part in
// route.
//
// Times are microseconds since 1970. The body is binary, with a version in front
// and a checksum behind; a damaged one parks its item and disturbs no other.
//
// With a database that has one writer, new items are held back until the commit
// that several calls share, to be inserted by few statements.
//
// With a database that many processes write to, such as PostgreSQL, the table route
// is not used: all who put items of one route would wait for each other to write
// its row. Lease finds a route in an index of due times, and passes over rows that
// another call is taking.
package sqlqueue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
)

// Backend is a queue.Backend. Others may use the same database for their tables.
type Backend struct {
	db sqldb.DB
	// shared is what all calls of this process hold back together; nil if the
	// database has more than one writer.
	shared *held
	many   bool          // calls run side by side, and so lock what they change
	ends   atomic.Uint64 // calls that ended items, to clean up now and then
}

var (
	_ queue.Backend       = (*Backend)(nil)
	_ queue.LeasingPutter = (*Backend)(nil)
	_ queue.Awaiting      = (*Backend)(nil)
	_ queue.Reclaimer     = (*Backend)(nil)
)

const topic = "queue"

// New makes the tables that are missing. The Backend does not own db.
func New(ctx context.Context, db sqldb.DB) (*Backend, error) {
	if err := sqldb.Migrate(ctx, db, "queue", schema...); err != nil {
		return nil, err
	}
	b := &Backend{db: db}
	if one, ok := db.(sqldb.Buffering); ok {
		b.shared = one.Buffer("queue", &held{}).(*held)
	}
	if _, b.many = db.(sqldb.Many); b.many {
		if err := sqldb.Migrate(ctx, db, "queue-many", manySchema...); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// tx is one transaction that writes.
type tx struct {
	sqldb.Conn
	h    *held
	many bool
}

func (t *tx) flush() error { return t.h.Flush(t.Conn) }

func (b *Backend) update(ctx context.Context, fn func(*tx) error) error {
	return b.updateAfter(ctx, nil, fn)
}

func (b *Backend) updateAfter(ctx context.Context, wait func() error, fn func(*tx) error) error {
	return sqldb.UpdateAfter(ctx, b.db, wait, func(c sqldb.Conn) error {
		if b.shared != nil {
			return fn(&tx{c, b.shared, false})
		}
		t := &tx{c, &held{}, b.many}
		if err := fn(t); err != nil {
			return err
		}
		if b.many {
			return t.h.flushItems(c)
		}
		return t.flush()
	})
}

func (t *tx) wake() { t.Notify(topic, "due") }

func (b *Backend) Put(ctx context.Context, items ...queue.Item) error {
	_, err := b.PutAfter(ctx, nil, nil, items...)
	return err
}

// PutAfter is Put or PutLeased, and waits before the commit.
func (b *Backend) PutAfter(ctx context.Context, wait func() error, w *queue.Want, items ...queue.Item) ([]queue.Lease, error) {
	rows := encodeAll(items)
	if w != nil {
		return b.putLeased(ctx, wait, w, items, rows)
	}
	return nil, b.updateAfter(ctx, wait, func(t *tx) error {
		if slices.ContainsFunc(rows, func(r row) bool { return !r.held }) {
			t.wake()
		}
		return t.put(rows)
	})
}

// put holds rows back. Whether they are new is found out when they are written.
func (t *tx) put(rows []row) error {
	if err := t.lockNew(rows); err != nil {
		return err
	}
	for i := range rows {
		t.h.add(&rows[i])
	}
	return nil
}

// PutLeased wakes nobody if it leases all that it stored, and no other process uses
// the queue.
func (b *Backend) PutLeased(ctx context.Context, w queue.Want, items ...queue.Item) ([]queue.Lease, error) {
	return b.PutAfter(ctx, nil, &w, items...)
}

func (b *Backend) putLeased(ctx context.Context, wait func() error, w *queue.Want, items []queue.Item, rows []row) ([]queue.Lease, error) {
	fresh := slices.Clone(rows)
	var ls []queue.Lease
	var of [][]*row // of the items of ls
	err := b.updateAfter(ctx, wait, func(t *tx) error {
		ls, of = nil, nil
		copy(rows, fresh)
		if t.many {
			t.wake() // for when the leases run out
		}
		if err := t.lockNew(rows); err != nil {
			return err
		}
		if len(rows) > w.Max { // those that are known leave their places to others
			if err := findKnown(t, pointers(rows)); err != nil {
				return err
			}
		}
		for i := range rows {
			r, it := &rows[i], items[i]
			if r.known || !t.h.add(r) {
				continue
			}
			at := slices.IndexFunc(ls, func(l queue.Lease) bool { return l.Items[0].Route == r.route })
			switch {
			case r.held:
			case r.due > micro(w.Now) || slices.Contains(w.Skip, r.route) || at >= 0 && len(ls[at].Items) >= w.Max || w.Max <= 0:
				t.wake()
			default:
				if at < 0 {
					at = len(ls)
					ls, of = append(ls, newLease(w)), append(of, nil)
				}
				it.Attempts++
				r.lease(leaseNumber(ls[at].ID), ls[at].Until)
				ls[at].Items, of[at] = append(ls[at].Items, it), append(of[at], r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return onlyNew(ls, of), nil
}

func pointers(rows []row) []*row {
	ps := make([]*row, len(rows))
	for i := range rows {
		ps[i] = &rows[i]
	}
	return ps
}

// onlyNew takes the items out whose rows were known.
func onlyNew(ls []queue.Lease, of [][]*row) []queue.Lease {
	for i := range ls {
		n := 0
		for j, it := range ls[i].Items {
			if !of[i][j].known {
				ls[i].Items[n] = it
				n++
			}
		}
		ls[i].Items = ls[i].Items[:n]
	}
	return slices.DeleteFunc(ls, func(l queue.Lease) bool { return len(l.Items) == 0 })
}

// newLease has a number that no other lease has, of any process.
func newLease(w *queue.Want) queue.Lease {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	n := binary.LittleEndian.Uint64(b[:])>>1 | 1
	return queue.Lease{ID: strconv.FormatUint(n, 36), Until: w.Now.Add(w.TTL)}
}

// leaseNumber is zero, which no item has, for what is no lease.
func leaseNumber(id string) int64 {
	n, err := strconv.ParseInt(id, 36, 64)
	if err != nil {
		return 0
	}
	return n
}

// Watch hears this process, and with a database that several may use, the others.
func (b *Backend) Watch(ctx context.Context, fn func()) error {
	return b.db.Listen(ctx, topic, func(string) { fn() })
}

// Close does nothing: who opened the database closes it.
func (b *Backend) Close() error { return nil }

func micro(t time.Time) int64 { return t.UnixMicro() }

func fromMicro(us int64) time.Time { return time.UnixMicro(us).UTC() }
