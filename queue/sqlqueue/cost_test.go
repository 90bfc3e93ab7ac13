package sqlqueue_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/sqlqueue"
)

// statements returns those that fn runs, but for what begins and ends transactions.
func statements(t *testing.T, fn func(db *sqldb.SQLite, b *sqlqueue.Backend)) (texts []string) {
	t.Helper()
	var mu sync.Mutex
	db := openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{Trace: func(q string, _ int) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range []string{"BEGIN", "COMMIT", "ROLLBACK", "PRAGMA"} {
			if strings.HasPrefix(q, p) {
				return
			}
		}
		texts = append(texts, q)
	}})
	b := open(t, db)
	mu.Lock()
	texts = nil
	mu.Unlock()
	fn(db, b)
	mu.Lock()
	defer mu.Unlock()
	return texts
}

func TestAPutCostsThreeStatements(t *testing.T) {
	// Is it known; the item, the route.
	texts := statements(t, func(_ *sqldb.SQLite, b *sqlqueue.Backend) { put(t, b, full(1)) })
	if len(texts) > 3 {
		t.Errorf("%d statements:\n%s", len(texts), strings.Join(texts, "\n"))
	}
}

// TestABatchOfPutsSharesStatements: the IDs of 50 items that share a commit are looked
// up together, and the rows are written together, in pieces of 32 and 8 and one.
func TestABatchOfPutsSharesStatements(t *testing.T) {
	for _, leased := range []bool{false, true} {
		texts := statements(t, func(db *sqldb.SQLite, b *sqlqueue.Backend) {
			put(t, b, item("known/0", "r0.example", start))
			inside, leave := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := db.Update(t.Context(), func(sqldb.Conn) error { close(inside); <-leave; return nil }); err != nil {
					t.Error(err)
				}
			})
			<-inside
			for i := range 50 {
				wg.Go(func() {
					it := item(fmt.Sprint("new", i, "/0"), fmt.Sprint("r", i%2, ".example"), start)
					if i%10 == 0 { // a repeat
						it = item("known/0", "r0.example", start)
					}
					if !leased {
						put(t, b, it)
						return
					}
					ls, err := b.PutLeased(t.Context(), queue.Want{Now: start, TTL: time.Minute, Max: 50}, it)
					if err != nil || (len(ls) == 1) != (i%10 != 0) {
						t.Errorf("%d: leased %+v, %v", i, ls, err)
					}
				})
			}
			for db.Waiting() < 50 {
				runtime.Gosched()
			}
			close(leave)
			wg.Wait()
			n := 0
			for _, err := range b.List(t.Context(), queue.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != 46 {
				t.Errorf("%d items, want 46", n)
			}
		})
		// 3 for the first, 2 or more for the list; 4 look-ups, 7 inserts, 2 routes.
		if len(texts) > 20 {
			t.Errorf("%d statements:\n%s", len(texts), strings.Join(texts, "\n"))
		}
	}
}
