package sqlqueue_test

import (
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/queuetest"
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
