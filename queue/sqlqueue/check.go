package sqlqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
)

var _ queue.Checker = (*Backend)(nil)

const (
	// checkRows is how many items are read in one transaction.
	checkRows = 1000
	// maxLease is longer than any lease.
	maxLease = 24 * time.Hour
)

// CheckRows reads every body, and compares the tables route and ended with the items.
func (b *Backend) CheckRows(ctx context.Context, now time.Time, repair bool, found func(queue.Finding) error) error {
	k := &checker{b: b, now: now, repair: repair, found: found}
	for _, step := range []func(context.Context) error{k.items, k.ended, k.routes} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

type checker struct {
	b      *Backend
	now    time.Time
	repair bool
	found  func(queue.Finding) error
}

func (k *checker) say(done, state, where, format string, args ...any) error {
	if !k.repair && done != queue.Known {
		done = queue.Left
	}
	return k.found(queue.Finding{State: state, Where: where, Text: fmt.Sprintf(format, args...), Done: done})
}

// update runs fn with nothing held back.
func (k *checker) update(ctx context.Context, fn func(t *tx) error) error {
	return k.b.update(ctx, func(t *tx) error {
		if err := t.flush(); err != nil {
			return err
		}
		return fn(t)
	})
}

// items looks for items that cannot be read, and for leases that never end.
func (k *checker) items(ctx context.Context) error {
	type bad struct {
		n           int64
		id, route   string
		why, parked string
		until       int64
	}
	for at, read := int64(-1<<62), checkRows; read == checkRows; {
		var list []bad
		last := at
		err := k.b.db.View(ctx, func(c sqldb.Conn) error {
			list, read, last = nil, 0, at
			return c.Query(`SELECT `+itemColumns+`, until FROM item WHERE n > ? ORDER BY n LIMIT `+strconv.Itoa(checkRows), func(r sqldb.Row) error {
				n, it, err := readItem(r)
				x := bad{n: n, id: it.ID, route: it.Route, until: r.Int(10)}
				if read, last = read+1, n; err != nil {
					if x.why = err.Error(); it.Held {
						x.parked = it.Last
					}
				}
				if err != nil || x.until > micro(k.now.Add(maxLease)) {
					list = append(list, x)
				}
				return nil
			}, at)
		})
		if err != nil {
			return err
		}
		at = last
		for _, x := range list {
			if x.until > micro(k.now.Add(maxLease)) {
				if err := k.unlease(ctx, x.n, x.id, x.route, x.until); err != nil {
					return err
				}
			}
			if x.why == "" {
				continue
			}
			done := queue.Parked
			if x.parked != "" {
				done = queue.Known
			} else if k.repair {
				err := k.update(ctx, func(t *tx) error {
					t.h.touch(x.route)
					return t.Exec(`UPDATE item SET held = 1, lease = NULL, until = 0, next = due, last = ? WHERE n = ?`, []byte("damaged: "+x.why), x.n)
				})
				if err != nil {
					return err
				}
			}
			if err := k.say(done, "Q21", x.id, "its row cannot be read: %s", x.why); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *checker) unlease(ctx context.Context, n int64, id, route string, until int64) error {
	if k.repair {
		err := k.update(ctx, func(t *tx) error {
			t.h.touch(route)
			t.wake()
			return t.Exec(`UPDATE item SET lease = NULL, until = 0, next = due WHERE n = ? AND until = ?`, n, until)
		})
		if err != nil {
			return err
		}
	}
	return k.say(queue.Repaired, "Q12", id, "it is leased until %s", fromMicro(until).Format(time.RFC3339))
}

// ended looks for IDs that are in the queue and known as ended. An item that was
// put when its ID was not remembered any more is none of them.
func (k *checker) ended(ctx context.Context) error {
	var ids []string
	err := k.b.db.View(ctx, func(c sqldb.Conn) error {
		ids = nil
		return c.Query(`SELECT `+itemColumns+`, e.at FROM item JOIN (SELECT id AS ended_id, at FROM ended) e ON e.ended_id = item.id ORDER BY n LIMIT `+strconv.Itoa(checkRows), func(r sqldb.Row) error {
			_, it, err := readItem(r)
			if err != nil || micro(it.Queued) < r.Int(10)+queue.Remember.Microseconds() {
				ids = append(ids, it.ID)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if k.repair {
			if err := k.update(ctx, func(t *tx) error { return t.Exec(`DELETE FROM ended WHERE id = ?`, id) }); err != nil {
				return err
			}
		}
		if err := k.say(queue.Repaired, "Q13", id, "it is in the queue, and noted as ended"); err != nil {
			return err
		}
	}
	return nil
}

// routes compares when each route is due with its items.
func (k *checker) routes(ctx context.Context) error {
	var wrong map[string]string
	look := func(c sqldb.Conn) error {
		wrong = map[string]string{}
		// An item whose next is not what its due time and lease say is wrong too;
		// a lease that ran out may count or not.
		err := c.Query(`SELECT DISTINCT route FROM item WHERE held = 0 AND next <> CASE WHEN due > until THEN due ELSE until END
			AND NOT (next = due AND until <= ?) LIMIT `+strconv.Itoa(checkRows),
			func(r sqldb.Row) error {
				wrong[r.Text(0)] = "an item of the route is noted for another time than its own"
				return nil
			}, micro(k.now))
		if err != nil || k.b.many { // which has no use for the table
			return err
		}
		err = c.Query(`SELECT i.route FROM (SELECT route, MIN(next) AS next FROM item WHERE held = 0 GROUP BY route) i
			LEFT JOIN route r ON r.route = i.route WHERE r.next IS NULL OR r.next <> i.next LIMIT `+strconv.Itoa(checkRows), func(r sqldb.Row) error {
			wrong[r.Text(0)] = "its items are due at another time than is noted"
			return nil
		})
		if err != nil {
			return err
		}
		return c.Query(`SELECT route FROM route WHERE NOT EXISTS (SELECT 1 FROM item WHERE item.route = route.route AND held = 0) LIMIT `+strconv.Itoa(checkRows), func(r sqldb.Row) error {
			wrong[r.Text(0)] = "it has no items"
			return nil
		})
	}
	if err := k.b.db.View(ctx, look); err != nil || len(wrong) == 0 {
		return err
	}
	if k.repair {
		err := k.update(ctx, func(t *tx) error {
			if err := look(t); err != nil {
				return err
			}
			for route := range wrong {
				err := t.Exec(`UPDATE item SET next = CASE WHEN due > until THEN due ELSE until END
					WHERE route = ? AND held = 0 AND next <> CASE WHEN due > until THEN due ELSE until END`, route)
				if err != nil {
					return err
				}
				t.h.touch(route)
			}
			t.wake()
			return nil
		})
		if err != nil {
			return err
		}
	}
	for route, why := range wrong {
		if err := k.say(queue.Repaired, "Q11", "route "+route, "%s", why); err != nil {
			return err
		}
	}
	return nil
}
