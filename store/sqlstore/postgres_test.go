package sqlstore_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
	"github.com/mailkeel/mailkeel/store/storetest"
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
	t.Run("Store", func(t *testing.T) {
		var conns sync.Map
		storetest.Run(t, storetest.Options{
			New: func(t *testing.T) store.Backend {
				conn := c.Schema(t)
				b := open(t, openPG(t, conn, pgdb.Options{}))
				conns.Store(b, conn)
				return b
			},
			Blobs: func(_ *testing.T, c mailkeel.Clock) blob.Store { return &memblob.Store{Clock: c} },
			Reopen: func(t *testing.T, b store.Backend) store.Backend {
				conn, _ := conns.Load(b)
				return open(t, openPG(t, conn.(string), pgdb.Options{}))
			},
		})
	})
	t.Run("AgreesWithMemory", func(t *testing.T) { agree(t, open(t, openPG(t, c.Schema(t), pgdb.Options{})), 100) })
	t.Run("KV", func(t *testing.T) {
		storetest.RunKV(t, func(t *testing.T, clock mailkeel.Clock) store.KV {
			kv, err := sqlstore.NewKV(t.Context(), openPG(t, c.Schema(t), pgdb.Options{}))
			if err != nil {
				t.Fatal(err)
			}
			kv.Clock = clock
			return kv
		})
	})
}

// Two handles, as two processes have them, deliver to one mailbox and to two
// accounts in different order.
func TestTwoProcessesAgreePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	conn := c.Schema(t)
	var stores []*store.Store
	for range 2 {
		stores = append(stores, &store.Store{Backend: open(t, openPG(t, conn, pgdb.Options{}))})
	}
	const n = 60
	var mu sync.Mutex
	uids, ids := map[store.UID]bool{}, map[store.MessageID]bool{}
	var box store.MailboxID
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			to := []store.AccountID{"ann", "bob"}
			if i%3 == 0 {
				slices.Reverse(to)
			}
			for j, p := range deliver(t, stores[i%2], delivery(i, to...)) {
				if to[j] != "ann" {
					continue
				}
				mu.Lock()
				uids[p.UID], ids[p.ID], box = true, true, p.Mailbox
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	mb, _, err := stores[0].As("ann").Select(t.Context(), box)
	if err != nil || len(uids) != n || len(ids) != n || mb.Messages != n || mb.UIDNext != n+1 {
		t.Errorf("%d UIDs and %d IDs of %d messages; %+v, %v", len(uids), len(ids), n, mb, err)
	}
}

// TestRoundTripsPostgres counts what a delivery costs where the database is far.
func TestRoundTripsPostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	var trips atomic.Int64
	db := openPG(t, c.Schema(t), pgdb.Options{Trip: func() { trips.Add(1) }})
	s := &store.Store{Backend: open(t, db)}
	deliver(t, s, delivery(0, "ann", "bob", "cid"))
	for _, tt := range []struct {
		to   []store.AccountID
		most int64
	}{{[]store.AccountID{"ann"}, 5}, {[]store.AccountID{"ann", "bob", "cid"}, 11}} {
		trips.Store(0)
		deliver(t, s, delivery(len(tt.to), tt.to...))
		t.Logf("a delivery to %d accounts: %d round trips", len(tt.to), trips.Load())
		if n := trips.Load(); n > tt.most {
			t.Errorf("a delivery to %d accounts takes %d round trips, at most %d are good", len(tt.to), n, tt.most)
		}
	}
}
