package sqlqueue

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
)

// manySchema is for databases with many writers, in PostgreSQL's words. Rows change
// a few times in their short life.
var manySchema = []string{
	`CREATE INDEX item_due ON item (next, route) WHERE held = 0;
	ALTER TABLE item SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);`,
}

// locking is the end of a query for rows to change.
func (t *tx) locking(words string) string {
	if t.many {
		return words
	}
	return ``
}

// lockNew lets those who put items of one envelope wait for each other, so that the
// second sees what the first has put, although it may have ended since.
func (t *tx) lockNew(rows []row) error {
	if !t.many {
		return nil
	}
	var names []string
	for _, r := range rows {
		envelope := r.id
		if i := strings.LastIndexByte(envelope, '/'); i >= 0 {
			envelope = envelope[:i]
		}
		names = append(names, "queue "+envelope)
	}
	slices.Sort(names)
	return sqldb.Lock(t.Conn, slices.Compact(names)...)
}

// lookAgain is when to ask again for items that another call was just taking.
const lookAgain = time.Second

func (t *tx) leaseMany(w *queue.Want, l *queue.Lease) error {
	skip := slices.Clone(w.Skip)
	for {
		route, next, ok, err := t.firstMany(skip)
		if err != nil {
			return err
		}
		if !ok || next > micro(w.Now) {
			if ok {
				l.Next = fromMicro(next)
			}
			// What others were taking comes back if they fail.
			if again := w.Now.Add(lookAgain); len(skip) > len(w.Skip) && (!ok || again.Before(l.Next)) {
				l.Next = again
			}
			return nil
		}
		damaged, err := t.leaseRoute(route, w, l)
		if err != nil || len(l.Items) > 0 || w.Max <= 0 {
			return err
		}
		if !damaged {
			skip = append(skip, route)
		}
	}
}

// few is how many items are looked at in order of their time, before routes are
// looked at one by one.
const few = 100

// firstMany is first without a table of routes.
func (t *tx) firstMany(skip []string) (route string, next int64, ok bool, err error) {
	n := 0
	pick := func(r sqldb.Row) error {
		n++
		if name := r.Text(0); !ok && !slices.Contains(skip, name) {
			route, next, ok = name, r.Int(1), true
		}
		return nil
	}
	err = t.Query(`SELECT route, next FROM item WHERE held = 0 ORDER BY next, route LIMIT `+strconv.Itoa(few), pick)
	if err != nil || ok || n < few {
		return route, next, ok, err
	}
	// The first are all of busy routes. This goes from route to route in the
	// index, however many items each has.
	err = t.Query(`WITH RECURSIVE r AS (
			(SELECT route FROM item WHERE held = 0 ORDER BY route LIMIT 1)
			UNION ALL
			SELECT (SELECT i.route FROM item i WHERE i.held = 0 AND i.route > r.route ORDER BY i.route LIMIT 1) FROM r WHERE r.route IS NOT NULL
		), first AS (
			SELECT r.route, (SELECT i.next FROM item i WHERE i.held = 0 AND i.route = r.route ORDER BY i.next LIMIT 1) AS next FROM r WHERE r.route IS NOT NULL
		) SELECT route, next FROM first WHERE next IS NOT NULL ORDER BY next, route LIMIT `+strconv.Itoa(len(skip)+1), pick)
	return route, next, ok, err
}
