package sqlstore_test

import (
	"sync"
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
				conn := c.Database(t)
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
	t.Run("KV", func(t *testing.T) {
		storetest.RunKV(t, func(t *testing.T, clock mailkeel.Clock) store.KV {
			kv, err := sqlstore.NewKV(t.Context(), openPG(t, c.Database(t), pgdb.Options{}))
			if err != nil {
				t.Fatal(err)
			}
			kv.Clock = clock
			return kv
		})
	})
}
