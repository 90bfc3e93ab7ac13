package sqlstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
	"github.com/mailkeel/mailkeel/store/storetest"
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

func open(t testing.TB, db sqldb.DB) *sqlstore.Backend {
	t.Helper()
	b, err := sqlstore.New(context.Background(), db)
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
		"Alone":          func(db *sqldb.SQLite) sqldb.DB { return db }, // as server/embedded has it
		"SeveralWriters": func(db *sqldb.SQLite) sqldb.DB { return several{db} },
	} {
		if raced && name == "SeveralWriters" {
			continue // TestAgreesWithMemory does it too
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := sqldb.Options{Alone: name == "Alone"}
			var paths sync.Map
			storetest.Run(t, storetest.Options{
				New: func(t *testing.T) store.Backend {
					path := filepath.Join(t.TempDir(), "db")
					b := open(t, wrap(openDB(t, path, o)))
					paths.Store(b, path)
					return b
				},
				Blobs: func(_ *testing.T, c mailkeel.Clock) blob.Store { return &memblob.Store{Clock: c} },
				Reopen: func(t *testing.T, b store.Backend) store.Backend {
					path, _ := paths.Load(b)
					return open(t, wrap(openDB(t, path.(string), o)))
				},
			})
		})
	}
}

func TestKV(t *testing.T) {
	storetest.RunKV(t, func(t *testing.T, c mailkeel.Clock) store.KV {
		kv, err := sqlstore.NewKV(t.Context(), openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		kv.Clock = c
		return kv
	})
}

func TestKVForgetsWhatExpired(t *testing.T) {
	c := &testclock.Clock{}
	db := openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{})
	kv, err := sqlstore.NewKV(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	kv.Clock = c
	for i := range 600 { // each lives for 100 updates
		c.Advance(time.Second)
		err := kv.Update(t.Context(), fmt.Sprint("key", i), 100*time.Second, func([]byte) ([]byte, error) { return []byte{}, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err = db.View(t.Context(), func(c sqldb.Conn) error {
		return c.Query("SELECT count(*) FROM kv", func(r sqldb.Row) error { n = int(r.Int(0)); return nil })
	})
	if err != nil || n < 100 || n > 200 {
		t.Errorf("%d rows, %v, want about the 100 that live", n, err)
	}
}

// TestTwoProcessesAgree lets two handles, as two processes have them, deliver to
// one mailbox in turns: neither may trust what it remembers.
func TestTwoProcessesAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var stores []*store.Store
	for range 2 {
		stores = append(stores, &store.Store{Backend: open(t, openDB(t, path, sqldb.Options{}))})
	}
	const n = 60
	var mu sync.Mutex
	uids, ids := map[store.UID]bool{}, map[store.MessageID]bool{}
	var box store.MailboxID
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p := deliver(t, stores[i%2], delivery(i, "ann"))[0]
			mu.Lock()
			defer mu.Unlock()
			uids[p.UID], ids[p.ID], box = true, true, p.Mailbox
		})
	}
	wg.Wait()
	mb, _, err := stores[0].As("ann").Select(t.Context(), box)
	if err != nil || len(uids) != n || len(ids) != n || mb.Messages != n || mb.UIDNext != n+1 {
		t.Errorf("%d UIDs and %d IDs of %d messages; %+v, %v", len(uids), len(ids), n, mb, err)
	}
}
