package sqlqueue

import (
	"maps"
	"slices"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
)

// held is what is written at the commit: new items, and the earliest times of
// routes. It is a sqldb.Buffer.
type held struct {
	rows []*row
	mark int
	ids  map[string]bool // of rows
	// Of routes, since their rows were written: when the first of the new items
	// is due, and those whose items changed otherwise.
	earliest map[string]int64
	dirty    map[string]struct{}
}

var _ sqldb.Buffer = (*held)(nil)

func (h *held) Mark() { h.mark = len(h.rows) }

// Undo need not care for routes: what changes items writes at once, and is rolled
// back.
func (h *held) Undo() {
	for _, r := range h.rows[h.mark:] {
		delete(h.ids, r.id)
	}
	clear(h.rows[h.mark:])
	h.rows = h.rows[:h.mark]
}

func (h *held) Forget() { *h = held{} }

// add holds a row back, and reports whether none with its ID was held yet.
func (h *held) add(r *row) bool {
	if h.ids[r.id] {
		return false
	}
	if h.ids == nil {
		h.ids = map[string]bool{}
	}
	h.ids[r.id] = true
	h.rows = append(h.rows, r)
	return true
}

// touch says that items of a route changed.
func (h *held) touch(route string) {
	if h.dirty == nil {
		h.dirty = map[string]struct{}{}
	}
	h.dirty[route] = struct{}{}
}

var (
	putItems = sqldb.NewInsert(`INSERT INTO item (id, route, next, due, until, lease, held, attempts, delayed, last, blob, body)`, ``)
	// A route's time only ever comes nearer by new items.
	putRoutes = sqldb.NewInsert(`INSERT INTO route (route, next)`,
		`ON CONFLICT (route) DO UPDATE SET next = excluded.next WHERE excluded.next < route.next`)
	setRoutes = sqldb.NewInsert(`INSERT INTO route (route, next)`, `ON CONFLICT (route) DO UPDATE SET next = excluded.next`)
	putEnded  = sqldb.NewInsert(`INSERT INTO ended (id, at)`, `ON CONFLICT (id) DO UPDATE SET at = excluded.at`)
)

// Flush writes all that is held.
func (h *held) Flush(c sqldb.Conn) error {
	if err := h.flushItems(c); err != nil {
		return err
	}
	if len(h.earliest) == 0 && len(h.dirty) == 0 {
		return nil
	}
	if err := h.setDirty(c); err != nil {
		return err
	}
	var routes []any
	for _, route := range slices.Sorted(maps.Keys(h.earliest)) {
		if _, ok := h.dirty[route]; !ok {
			routes = append(routes, route, h.earliest[route])
		}
	}
	if err := putRoutes.Exec(c, routes); err != nil {
		return err
	}
	h.Forget()
	return nil
}

// flushItems is Flush for who does not look at routes.
func (h *held) flushItems(c sqldb.Conn) error {
	if len(h.rows) == 0 {
		return nil
	}
	if err := findKnown(c, h.rows); err != nil {
		return err
	}
	args := make([]any, 0, 12*len(h.rows))
	if h.earliest == nil {
		h.earliest = map[string]int64{}
	}
	for _, r := range h.rows {
		if r.known {
			continue
		}
		var lease any
		if r.leased != 0 {
			lease = r.leased
		}
		args = append(args, r.id, r.route, r.next, r.due, r.until, lease, r.held, r.attempts, r.delayed, []byte(r.last), []byte(r.ref), r.body)
		if at, ok := h.earliest[r.route]; !r.held && (!ok || r.next < at) {
			h.earliest[r.route] = r.next
		}
	}
	clear(h.rows)
	clear(h.ids)
	h.rows, h.mark = h.rows[:0], 0
	return putItems.Exec(c, args)
}

// findKnown says which of the rows are in the queue, or ended too recently.
func findKnown(c sqldb.Conn, rows []*row) error {
	for _, r := range rows {
		r.known = false
	}
	return sqldb.In(rows, func(r *row) any { return r.id }, func(places string, args []any) error {
		at := map[string]int64{}
		err := c.Query(`SELECT id, -1 FROM item WHERE id IN `+places+` UNION ALL SELECT id, at FROM ended WHERE id IN `+places, func(r sqldb.Row) error {
			id, ended := r.Text(0), r.Int(1)
			if was, ok := at[id]; !ok || was >= 0 {
				at[id] = ended
			}
			return nil
		}, slices.Concat(args, args)...)
		for _, r := range rows {
			if ended, ok := at[r.id]; ok && (ended < 0 || r.queued < ended+queue.Remember.Microseconds()) {
				r.known = true
			}
		}
		return err
	})
}

// setDirty looks up when the next item of each route is due.
func (h *held) setDirty(c sqldb.Conn) error {
	var set, none []any
	for _, route := range slices.Sorted(maps.Keys(h.dirty)) {
		found := false
		err := c.Query(`SELECT next FROM item WHERE route = ? AND held = 0 ORDER BY next LIMIT 1`, func(r sqldb.Row) error {
			found = true
			set = append(set, route, r.Int(0))
			return nil
		}, route)
		if err != nil {
			return err
		}
		if !found {
			none = append(none, route)
		}
	}
	if err := setRoutes.Exec(c, set); err != nil {
		return err
	}
	return sqldb.In(none, func(route any) any { return route }, func(places string, args []any) error {
		return c.Exec(`DELETE FROM route WHERE route IN `+places, args...)
	})
}
