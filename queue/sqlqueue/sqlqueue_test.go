package sqlqueue_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/queuetest"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

func openDB(t testing.TB, path string, o sqldb.Options) *sqldb.SQLite {
	t.Helper()
	db, err := sqldb.OpenSQLite(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func open(t testing.TB, db sqldb.DB) *sqlqueue.Backend {
	t.Helper()
	b, err := sqlqueue.New(context.Background(), db)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// several is a database that may have several writers, as far as a backend knows:
// PostgreSQL, but for the server.
type several struct{ sqldb.DB }

func TestConformance(t *testing.T) {
	for name, wrap := range map[string]func(*sqldb.SQLite) sqldb.DB{
		"OneWriter":      func(db *sqldb.SQLite) sqldb.DB { return db },
		"SeveralWriters": func(db *sqldb.SQLite) sqldb.DB { return several{db} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var paths sync.Map
			queuetest.Run(t, queuetest.Options{
				New: func(t *testing.T) queue.Backend {
					path := filepath.Join(t.TempDir(), "db")
					b := open(t, wrap(openDB(t, path, sqldb.Options{})))
					paths.Store(b, path)
					return b
				},
				Blobs: func(_ *testing.T, c mailkeel.Clock) blob.Store { return &memblob.Store{Clock: c} },
				Reopen: func(t *testing.T, b queue.Backend) queue.Backend {
					path, _ := paths.Load(b)
					return open(t, wrap(openDB(t, path.(string), sqldb.Options{})))
				},
			})
		})
	}
}

var start = testclock.Start

func item(id, route string, due time.Time) queue.Item {
	return queue.Item{ID: id, Route: route, Queued: start, Due: due, Blob: blob.Info{Ref: "sha256-01"},
		Envelope: mailkeel.Envelope{ID: id, Rcpts: []mailkeel.Recipient{{Addr: "x@" + route}}}}
}

func put(t testing.TB, b *sqlqueue.Backend, items ...queue.Item) {
	t.Helper()
	if err := b.Put(context.Background(), items...); err != nil {
		t.Fatal(err)
	}
}

func lease(t testing.TB, b *sqlqueue.Backend, now time.Time, skip ...string) queue.Lease {
	t.Helper()
	l, err := b.Lease(context.Background(), queue.Want{Now: now, TTL: time.Minute, Max: 50, Skip: skip})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLeaseCostDoesNotGrow leases from a long queue of which most items go
// to busy routes.
func TestLeaseCostDoesNotGrow(t *testing.T) {
	var mu sync.Mutex
	texts := map[string]bool{}
	statements, rows := 0, 0
	db := openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{Trace: func(q string, n int) {
		mu.Lock()
		defer mu.Unlock()
		texts[q] = true
		statements++
		rows += n
	}})
	b := open(t, db)
	const n, routes = many, 50
	var busy []string
	for r := range routes {
		busy = append(busy, fmt.Sprintf("busy%02d", r))
	}
	// One item of each route, and by SQL, which is faster, copies of them.
	for i, r := range busy {
		put(t, b, item(fmt.Sprint("i", i), r, start.Add(time.Duration(i)*time.Millisecond)))
	}
	err := db.Update(t.Context(), func(c sqldb.Conn) error {
		return c.Exec(`WITH RECURSIVE copy(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM copy WHERE k < ?)
			INSERT INTO item (id, route, next, due, until, lease, held, attempts, delayed, last, blob, body)
			SELECT 'i' || (substr(id, 2) + k * 50), route, next + k * 50000, due + k * 50000, until, lease, held, attempts, delayed, last, blob, body
			FROM item, copy`, n/routes-1)
	})
	if err != nil {
		t.Fatal(err)
	}
	now := start.Add(time.Hour)
	put(t, b, item("free1", "free", now), item("free2", "free", now))
	clear(texts)
	statements, rows = 0, 0
	l := lease(t, b, now, busy...)
	if len(l.Items) != 2 || l.Items[0].Route != "free" {
		t.Errorf("leased %+v", l)
	}
	// One row of each busy route, two items.
	if rows > routes+10 || statements > 12 {
		t.Errorf("%d rows by %d statements", rows, statements)
	}
	statements, rows = 0, 0
	if l := lease(t, b, now); len(l.Items) != 50 || l.Items[0].ID != "i0" || l.Items[49].ID != "i2450" || rows > 60 || statements > 15 {
		t.Errorf("%d items from %s on, %d rows by %d statements", len(l.Items), l.Items[0].ID, rows, statements)
	}
	if err := b.Extend(t.Context(), l.ID, now.Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if err := b.Settle(t.Context(), l.ID, queue.Settlement{Now: now, Done: []string{"free1"}, Retry: []queue.Retry{{ID: "free2", Due: now}}}); err != nil {
		t.Error(err)
	}
	if _, err := b.Remove(t.Context(), now, fmt.Sprint("i", n-1)); err != nil {
		t.Error(err)
	}
	// What rows gave does not show what was stepped over.
	err = db.View(t.Context(), func(c sqldb.Conn) error {
		for q := range texts {
			verb, _, _ := strings.Cut(q, " ")
			if verb != "SELECT" && verb != "UPDATE" && verb != "DELETE" && verb != "INSERT" {
				continue
			}
			plan := ""
			err := c.Query("EXPLAIN QUERY PLAN "+q, func(r sqldb.Row) error { plan += r.Text(3) + "\n"; return nil }, make([]any, strings.Count(q, "?"))...)
			if err != nil {
				return err
			}
			walks := strings.Contains(plan, "SCAN") && !strings.Contains(plan, "SCAN route USING COVERING INDEX route_next") && !strings.Contains(plan, "CONSTANT ROW")
			if walks || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s\n%s", q, plan)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDamagedItemIsParked(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{})
	b := open(t, db)
	put(t, b, item("bad", "x", start), item("alone", "y", start.Add(time.Second)), item("newer", "x", start.Add(2*time.Second)), item("good", "x", start.Add(3*time.Second)))
	err := db.Update(t.Context(), func(c sqldb.Conn) error {
		return c.Exec(`UPDATE item SET body = CASE WHEN id = 'newer' THEN x'09' ELSE x'' END || substr(body, 2, 7) || x'00' || substr(body, 9) WHERE id <> 'good'`)
	})
	if err != nil {
		t.Fatal(err)
	}
	l := lease(t, b, start.Add(time.Minute))
	if len(l.Items) != 1 || l.Items[0].ID != "good" {
		t.Errorf("leased %+v", l)
	}
	if l := lease(t, b, start.Add(time.Minute)); len(l.Items) != 0 {
		t.Errorf("leased %+v", l)
	}
	n := 0
	for it, err := range b.List(t.Context(), queue.Query{HeldOnly: true}) {
		if err != nil || !strings.Contains(it.Last, "damaged") || it.Route == "" || it.Due.IsZero() {
			t.Errorf("listed %+v, %v", it, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d items are parked, want 3", n)
	}
	// Its content is still named, and it can be removed.
	if free, err := b.Unreferenced(t.Context(), []blob.Ref{"sha256-01"}); err != nil || len(free) != 0 {
		t.Errorf("unreferenced %v, %v", free, err)
	}
	if removed, err := b.Remove(t.Context(), start.Add(time.Minute), "bad", "alone", "bad"); err != nil || len(removed) != 2 {
		t.Errorf("removed %v, %v", removed, err)
	}
}

func TestEndedIDsAreForgotten(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{})
	b := open(t, db)
	now := start
	const perDay = 3
	for day := range 60 {
		for i := range perDay {
			id := fmt.Sprint(day, "/", i)
			put(t, b, item(id, "x", now))
			l := lease(t, b, now)
			if err := b.Settle(t.Context(), l.ID, queue.Settlement{Now: now, Done: []string{id}}); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(24 * time.Hour)
	}
	n := 0
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		return c.Query("SELECT count(*) FROM ended", func(r sqldb.Row) error { n = int(r.Int(0)); return nil })
	})
	if err != nil || n < 30*perDay || n > 40*perDay {
		t.Errorf("%d IDs are known, %v, want those of 30 days and a few", n, err)
	}
}

// TestManyWorkers lets workers put, lease and settle at once, and counts.
func TestManyWorkers(t *testing.T) {
	b := open(t, openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{}))
	const n = 300
	var mu sync.Mutex
	tried := map[string]int{}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := w; i < n; i += 6 {
				put(t, b, item(fmt.Sprint(i), fmt.Sprint("r", i%7), start))
				put(t, b, item(fmt.Sprint(i), fmt.Sprint("r", i%7), start))
				l := lease(t, b, start, fmt.Sprint("r", w))
				s := queue.Settlement{Now: start}
				for j, it := range l.Items {
					mu.Lock()
					tried[it.ID]++
					mu.Unlock()
					if j%3 == 2 && it.Attempts < 3 {
						s.Retry = append(s.Retry, queue.Retry{ID: it.ID, Due: start.Add(time.Second)})
					} else {
						s.Done = append(s.Done, it.ID)
					}
				}
				if err := b.Settle(t.Context(), l.ID, s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	now := start.Add(time.Hour)
	for l := lease(t, b, now); len(l.Items) > 0; l = lease(t, b, now) {
		s := queue.Settlement{Now: now}
		for _, it := range l.Items {
			tried[it.ID]++
			s.Done = append(s.Done, it.ID)
		}
		if err := b.Settle(t.Context(), l.ID, s); err != nil {
			t.Fatal(err)
		}
	}
	if len(tried) != n {
		t.Errorf("%d of %d items were tried", len(tried), n)
	}
	for it := range b.List(t.Context(), queue.Query{}) {
		t.Errorf("left %+v", it)
	}
}
