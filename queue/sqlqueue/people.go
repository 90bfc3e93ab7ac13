package sqlqueue

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob"
)

// listBatch is how many items are read at a time by List.
const listBatch = 200

// List first notes which rows there are, in order, and then reads them some at a
// time, so that neither the rows nor a transaction are held while the caller
// thinks. A damaged item has only what its columns say.
func (b *Backend) List(ctx context.Context, q queue.Query) iter.Seq2[queue.Item, error] {
	return func(yield func(queue.Item, error) bool) {
		ns, err := b.rowsByDue(ctx, q)
		if err != nil {
			yield(queue.Item{}, err)
			return
		}
		left := q.Limit
		for chunk := range slices.Chunk(ns, listBatch) {
			items, err := b.read(ctx, chunk)
			if err != nil {
				yield(queue.Item{}, err)
				return
			}
			for _, n := range chunk {
				it, ok := items[n]
				if !ok || !q.Match(&it) {
					continue
				}
				if !yield(it, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
		}
	}
}

func (b *Backend) rowsByDue(ctx context.Context, q queue.Query) (ns []int64, err error) {
	query, args := `SELECT n FROM item`, []any{}
	switch {
	case q.Route != "" && q.HeldOnly:
		query, args = query+` WHERE route = ? AND held = 1`, append(args, q.Route)
	case q.Route != "":
		query, args = query+` WHERE route = ?`, append(args, q.Route)
	case q.HeldOnly:
		query += ` WHERE held = 1`
	}
	err = b.db.View(ctx, func(c sqldb.Conn) error {
		ns = nil
		return c.Query(query+` ORDER BY due, id`, func(r sqldb.Row) error {
			ns = append(ns, r.Int(0))
			return nil
		}, args...)
	})
	return ns, err
}

func (b *Backend) read(ctx context.Context, ns []int64) (items map[int64]queue.Item, err error) {
	err = b.db.View(ctx, func(c sqldb.Conn) error {
		items = make(map[int64]queue.Item, len(ns))
		return sqldb.In(ns, func(n int64) any { return n }, func(places string, args []any) error {
			return c.Query(`SELECT `+itemColumns+` FROM item WHERE n IN `+places, func(r sqldb.Row) error {
				n, it, err := readItem(r)
				if err != nil && it.Last == "" {
					it.Last = err.Error()
				}
				items[n] = it
				return nil
			}, args...)
		})
	})
	return items, err
}

// Change keeps a lease that ran out, because it may still be settled.
func (b *Backend) Change(ctx context.Context, now time.Time, id string, fn func(*queue.Item) error) error {
	return b.update(ctx, func(t *tx) error {
		if err := t.h.flushItems(t); err != nil {
			return err
		}
		var it queue.Item
		var n, until int64
		var bad error
		err := t.Query(`SELECT `+itemColumns+`, until FROM item WHERE id = ?`+t.locking(` FOR UPDATE`), func(r sqldb.Row) error {
			n, it, bad = readItem(r)
			until = r.Int(10)
			return nil
		}, id)
		switch {
		case err != nil:
			return err
		case n == 0:
			return queue.ErrNotFound
		case until > micro(now):
			return queue.ErrLeased
		case bad != nil:
			return fmt.Errorf("%s: %w", id, bad)
		}
		t.h.touch(it.Route)
		if err := fn(&it); err != nil {
			return err
		}
		t.h.touch(it.Route)
		r := encodeAll([]queue.Item{it})[0]
		t.wake()
		return t.Exec(`UPDATE item SET route = ?, next = ?, due = ?, held = ?, attempts = ?, delayed = ?, last = ?, blob = ?, body = ? WHERE n = ?`,
			r.route, r.next, r.due, r.held, r.attempts, r.delayed, []byte(r.last), []byte(r.ref), r.body, n)
	})
}

func (b *Backend) Remove(ctx context.Context, now time.Time, ids ...string) (removed []string, err error) {
	clean := b.ends.Add(1)%cleanEvery == 0
	err = b.update(ctx, func(t *tx) error {
		removed = nil
		if err := t.h.flushItems(t); err != nil {
			return err
		}
		free := map[string]place{}
		err := sqldb.In(ids, func(id string) any { return id }, func(places string, args []any) error {
			return t.Query(`SELECT n, id, route FROM item WHERE until <= ? AND id IN `+places+t.locking(` ORDER BY n FOR UPDATE`), func(r sqldb.Row) error {
				free[r.Text(1)] = place{r.Int(0), r.Text(2)}
				return nil
			}, append([]any{micro(now)}, args...)...)
		})
		if err != nil {
			return err
		}
		var ns []int64
		for _, id := range ids {
			if p, ok := free[id]; ok {
				delete(free, id) // it may be named twice
				removed, ns = append(removed, id), append(ns, p.n)
				t.h.touch(p.route)
			}
		}
		if err := t.end(removed, ns, now); err != nil || !clean {
			return err
		}
		return t.forget(now)
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// Unreferenced reads the names in all rows once.
func (b *Backend) Unreferenced(ctx context.Context, refs []blob.Ref) (free []blob.Ref, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	err = b.db.View(ctx, func(c sqldb.Conn) error {
		named := make(map[blob.Ref]bool, len(refs))
		for _, r := range refs {
			named[r] = false
		}
		err := c.Query(`SELECT blob FROM item`, func(r sqldb.Row) error {
			ref := blob.Ref(r.Bytes(0))
			if _, ok := named[ref]; ok {
				named[ref] = true
			}
			return nil
		})
		free = slices.DeleteFunc(slices.Clone(refs), func(r blob.Ref) bool { return named[r] })
		return err
	})
	return free, err
}
