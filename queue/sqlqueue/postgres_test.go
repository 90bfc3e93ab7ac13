package sqlqueue_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/queuetest"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

func openPG(t testing.TB, conn string, o pgdb.Options) *pgdb.DB {
	t.Helper()
	if o.MaxConns == 0 {
		o.MaxConns = 8 // several databases share the server
	}
	db, err := pgdb.Open(t.Context(), conn, o)
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

func TestConformancePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	var conns sync.Map
	queuetest.Run(t, queuetest.Options{
		New: func(t *testing.T) queue.Backend {
			conn := c.Schema(t)
			b := open(t, openPG(t, conn, pgdb.Options{}))
			conns.Store(b, conn)
			return b
		},
		Blobs: func(_ *testing.T, c mailkeel.Clock) blob.Store { return &memblob.Store{Clock: c} },
		Reopen: func(t *testing.T, b queue.Backend) queue.Backend {
			conn, _ := conns.Load(b)
			return open(t, openPG(t, conn.(string), pgdb.Options{}))
		},
	})
}

// Two handles, as two processes have them, put the same items and take them from
// each other: each is stored once, and leased once.
func TestTwoProcessesShareTheQueuePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	conn := c.Schema(t)
	bs := []*sqlqueue.Backend{open(t, openPG(t, conn, pgdb.Options{})), open(t, openPG(t, conn, pgdb.Options{}))}
	const n = 120
	var leased sync.Map
	var twice, fresh atomic.Int64
	take := func(l queue.Lease) {
		for _, it := range l.Items {
			if _, known := leased.LoadOrStore(it.ID, true); known {
				twice.Add(1)
			}
			fresh.Add(1)
		}
	}
	want := queue.Want{Now: start, TTL: time.Hour, Max: 4, Skip: []string{"route0"}}
	var wg sync.WaitGroup
	for i := range n {
		for _, b := range bs {
			wg.Go(func() {
				ls, err := b.PutLeased(t.Context(), want, item(fmt.Sprintf("e%d/0", i), fmt.Sprint("route", i%7), start))
				if err != nil {
					t.Error(err)
				}
				for _, l := range ls {
					take(l)
				}
			})
		}
	}
	wg.Wait()
	want.Skip = nil
	for range 4 {
		for _, b := range bs {
			wg.Go(func() {
				for {
					l, err := b.Lease(t.Context(), want)
					if err != nil {
						t.Error(err)
						return
					}
					if len(l.Items) == 0 {
						if l.Next.IsZero() || l.Next.Sub(start) > time.Minute {
							return
						}
						continue // the others were just taking them
					}
					take(l)
					var done []string
					for _, it := range l.Items {
						done = append(done, it.ID)
					}
					if err := b.Settle(t.Context(), l.ID, queue.Settlement{Now: start, Done: done}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if fresh.Load() != n || twice.Load() != 0 {
		t.Errorf("%d items leased, %d of them again, want each of %d once", fresh.Load(), twice.Load(), n)
	}
}

// However many items of a busy route are due, the others are found behind them.
func TestBusyRouteHidesNonePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	b := open(t, openPG(t, c.Schema(t), pgdb.Options{}))
	var items []queue.Item
	for i := range 250 {
		items = append(items, item(fmt.Sprintf("busy%d/0", i), fmt.Sprint("busy", i%2), start))
	}
	items = append(items, item("late/0", "late", start.Add(2*time.Second)), item("free/0", "free", start.Add(time.Second)))
	if err := b.Put(t.Context(), items...); err != nil {
		t.Fatal(err)
	}
	want := queue.Want{Now: start, TTL: time.Hour, Max: 4, Skip: []string{"busy0", "busy1"}}
	if l, err := b.Lease(t.Context(), want); err != nil || len(l.Items) != 0 || !l.Next.Equal(start.Add(time.Second)) {
		t.Errorf("%+v, %v", l, err)
	}
	want.Now = start.Add(time.Minute)
	if l, err := b.Lease(t.Context(), want); err != nil || len(l.Items) != 1 || l.Items[0].Route != "free" {
		t.Errorf("%+v, %v", l, err)
	}
}
