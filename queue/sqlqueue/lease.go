package sqlqueue

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
)

func (b *Backend) Lease(ctx context.Context, w queue.Want) (l queue.Lease, err error) {
	err = b.update(ctx, func(t *tx) error {
		l = newLease(&w)
		if t.many {
			return t.leaseMany(&w, &l)
		}
		for {
			route, next, ok, err := t.first(w.Skip)
			if err != nil || !ok {
				return err
			}
			if next > micro(w.Now) {
				l.Next = fromMicro(next)
				return nil
			}
			damaged, err := t.leaseRoute(route, &w, &l)
			if err != nil || !damaged || len(l.Items) > 0 || w.Max <= 0 {
				return err
			}
			// All of this route were damaged and are parked now.
		}
	})
	return l, err
}

// first returns the route that can be leased first of those not in skip.
func (t *tx) first(skip []string) (route string, next int64, ok bool, err error) {
	if err := t.flush(); err != nil {
		return "", 0, false, err
	}
	err = t.Query(`SELECT route, next FROM route ORDER BY next, route LIMIT `+strconv.Itoa(len(skip)+1), func(r sqldb.Row) error {
		if name := r.Text(0); !ok && !slices.Contains(skip, name) {
			route, next, ok = name, r.Int(1), true
		}
		return nil
	})
	return route, next, ok, err
}

// leaseRoute adds items of a route to l. It parks those that are damaged.
func (t *tx) leaseRoute(route string, w *queue.Want, l *queue.Lease) (damaged bool, err error) {
	var ns []int64
	broken := map[int64]string{}
	err = t.Query(`SELECT `+itemColumns+` FROM item WHERE route = ? AND held = 0 AND next <= ? ORDER BY next, due, id LIMIT `+strconv.Itoa(max(w.Max, 0))+t.locking(` FOR UPDATE SKIP LOCKED`), func(r sqldb.Row) error {
		n, it, err := readItem(r)
		if err != nil {
			broken[n] = err.Error()
			return nil
		}
		it.Attempts++
		ns, l.Items = append(ns, n), append(l.Items, it)
		return nil
	}, route, micro(w.Now))
	if err != nil {
		return false, err
	}
	for n, why := range broken {
		if err := t.Exec(`UPDATE item SET held = 1, last = ? WHERE n = ?`, []byte(why), n); err != nil {
			return false, err
		}
	}
	t.h.touch(route)
	lease, until := leaseNumber(l.ID), micro(l.Until)
	err = sqldb.In(ns, func(n int64) any { return n }, func(places string, args []any) error {
		return sqldb.Later(t.Conn, `UPDATE item SET lease = ?, until = ?, next = CASE WHEN due > ? THEN due ELSE ? END, attempts = attempts + 1 WHERE n IN `+places,
			append([]any{lease, until, until, until}, args...)...)
	})
	return len(broken) > 0, err
}

func (b *Backend) Extend(ctx context.Context, id string, until time.Time) error {
	return b.update(ctx, func(t *tx) error {
		if err := t.h.flushItems(t); err != nil {
			return err
		}
		found, us := false, micro(until)
		err := t.Query(`UPDATE item SET until = ?, next = CASE WHEN due > ? THEN due ELSE ? END WHERE lease = ? RETURNING route`, func(r sqldb.Row) error {
			found = true
			t.h.touch(r.Text(0))
			return nil
		}, us, us, us, leaseNumber(id))
		if err == nil && !found {
			err = queue.ErrLeaseLost
		}
		return err
	})
}

// Reclaim ends all leases. Call it when no other process uses the queue.
func (b *Backend) Reclaim(ctx context.Context) error {
	return b.update(ctx, func(t *tx) error {
		if err := t.h.flushItems(t); err != nil {
			return err
		}
		t.wake()
		return t.Query(`UPDATE item SET lease = NULL, until = 0, next = due WHERE lease IS NOT NULL RETURNING route`, func(r sqldb.Row) error {
			t.h.touch(r.Text(0))
			return nil
		})
	})
}
