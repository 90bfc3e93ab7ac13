package sqlqueue

import (
	"context"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
)

// cleanEvery is how many calls that end items there are between two clean-ups. One
// forgets up to 1000 IDs: enough that what is older than Remember dies out, and few
// enough to hold nobody up.
const cleanEvery = 16

// A place is where an item of a lease is.
type place struct {
	n     int64
	route string
}

func (b *Backend) Settle(ctx context.Context, id string, s queue.Settlement) error {
	puts := encodeAll(s.Put)
	lease := leaseNumber(id)
	clean := b.ends.Add(1)%cleanEvery == 0
	return b.update(ctx, func(t *tx) error {
		if err := t.h.flushItems(t); err != nil {
			return err
		}
		ours := map[string]place{}
		err := t.Query(`SELECT n, id, route FROM item WHERE lease = ?`+t.locking(` ORDER BY n FOR UPDATE`), func(r sqldb.Row) error {
			ours[r.Text(1)] = place{r.Int(0), r.Text(2)}
			return nil
		}, lease)
		if err != nil {
			return err
		}
		done, err := t.named(ours, len(s.Done), func(i int) string { return s.Done[i] })
		if err != nil {
			return err
		}
		retries := map[queue.Retry][]int64{} // those with the same fate
		for _, r := range s.Retry {
			ns, err := t.named(ours, 1, func(int) string { return r.ID })
			if err != nil {
				return err
			}
			r.ID = ""
			retries[r] = append(retries[r], ns...)
		}
		if err := t.put(puts); err != nil {
			return err
		}
		if err := t.end(s.Done, done, s.Now); err != nil {
			return err
		}
		for r, ns := range retries {
			if err := t.retry(r, ns); err != nil {
				return err
			}
		}
		for _, p := range ours {
			t.h.touch(p.route)
		}
		for _, id := range s.Done {
			delete(ours, id)
		}
		for _, r := range s.Retry {
			delete(ours, r.ID)
		}
		if len(ours) > 0 {
			err := sqldb.Later(t.Conn, `UPDATE item SET lease = NULL, until = 0, next = due WHERE lease = ?`, lease)
			if err != nil {
				return err
			}
		}
		t.wake()
		if clean {
			return t.forget(s.Now)
		}
		return nil
	})
}

// named returns the rows of n items, or ErrLeaseLost if one is not ours.
func (t *tx) named(ours map[string]place, n int, id func(int) string) ([]int64, error) {
	ns := make([]int64, n)
	for i := range ns {
		p, ok := ours[id(i)]
		if !ok {
			return nil, queue.ErrLeaseLost
		}
		ns[i] = p.n
	}
	return ns, nil
}

// end removes rows and remembers their IDs.
func (t *tx) end(ids []string, ns []int64, now time.Time) error {
	args := make([]any, 0, 2*len(ids))
	for _, id := range ids {
		args = append(args, id, micro(now))
	}
	if err := putEnded.Exec(t.Conn, args); err != nil {
		return err
	}
	return sqldb.In(ns, func(n int64) any { return n }, func(places string, args []any) error {
		return sqldb.Later(t.Conn, `DELETE FROM item WHERE n IN `+places, args...)
	})
}

func (t *tx) retry(r queue.Retry, ns []int64) error {
	due := micro(r.Due)
	return sqldb.In(ns, func(n int64) any { return n }, func(places string, args []any) error {
		return sqldb.Later(t.Conn, `UPDATE item SET due = ?, next = ?, lease = NULL, until = 0, last = ?, delayed = ?,
			held = CASE WHEN ? = 1 THEN 1 ELSE held END WHERE n IN `+places,
			append([]any{due, due, []byte(r.Last), r.DelayNotified, r.Hold}, args...)...)
	})
}

// forget drops some of the IDs that need not be remembered any more.
func (t *tx) forget(now time.Time) error {
	return sqldb.Later(t.Conn, `DELETE FROM ended WHERE id IN (SELECT id FROM ended WHERE at <= ? ORDER BY at LIMIT 1000`+t.locking(` FOR UPDATE SKIP LOCKED`)+`)`,
		micro(now.Add(-queue.Remember)))
}
