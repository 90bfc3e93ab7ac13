package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// counter counts statements and the rows they give.
type counter struct {
	mu    sync.Mutex
	texts []string
	rows  int
}

func (c *counter) trace(q string, rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts = append(c.texts, q)
	c.rows += rows
}

// during returns the statements that fn runs, but for those that begin and end
// transactions, and how many rows they gave.
func (c *counter) during(fn func()) (texts []string, rows int) {
	c.mu.Lock()
	c.texts, c.rows = nil, 0
	c.mu.Unlock()
	fn()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.texts {
		if !strings.HasPrefix(q, "BEGIN") && q != "COMMIT" && q != "ROLLBACK" && !strings.HasPrefix(q, "PRAGMA") {
			texts = append(texts, q)
		}
	}
	return texts, c.rows
}

func counted(t testing.TB) (*store.Store, *sqldb.SQLite, *counter) { return countedBy(t, false) }

// countedBy is counted for a writer that is alone, or not.
func countedBy(t testing.TB, alone bool) (*store.Store, *sqldb.SQLite, *counter) {
	t.Helper()
	c := &counter{}
	db := openDB(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{Trace: c.trace, Alone: alone})
	return &store.Store{Backend: open(t, db)}, db, c
}

// delivery is a message of usual size that continues no conversation.
func delivery(n int, to ...store.AccountID) store.Delivery {
	d := store.Delivery{
		Key:  fmt.Sprintf("20260102T030405.%08d", n),
		Blob: blob.Info{Ref: blob.Ref(fmt.Sprintf("sha256-%064x", n)), Size: 10_000},
		Cold: store.Cold{Envelope: make([]byte, 300), Structure: make([]byte, 100), Preview: make([]byte, 200)},
	}
	for i, a := range to {
		d.Targets = append(d.Targets, store.Target{Account: a, Index: i, Prefix: make([]byte, 200)})
	}
	return d
}

func deliver(t testing.TB, st *store.Store, d store.Delivery) []store.Outcome {
	t.Helper()
	out, err := st.Deliver(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	return out
}

func TestDeliveryCostsFewStatements(t *testing.T) {
	st, _, c := counted(t)
	many := make([]store.AccountID, 32)
	for i := range many {
		many[i] = store.AccountID(fmt.Sprint("a", i))
	}
	deliver(t, st, delivery(1, many...))
	for _, tt := range []struct {
		name string
		most int
		to   []store.AccountID
	}{
		// Look-up of the key; message, cold row, key, account, mailbox.
		{"OneMailbox", 6, many[:1]},
		// The same, with two counters each and a look-up of each key.
		{"ThirtyTwoMailboxes", 32 + 3 + 64, many},
	} {
		n := 2
		texts, _ := c.during(func() { n++; deliver(t, st, delivery(n+len(tt.to), tt.to...)) })
		if len(texts) > tt.most {
			t.Errorf("%s: %d statements, want at most %d:\n%s", tt.name, len(texts), tt.most, strings.Join(texts, "\n"))
		}
	}
}

// Those who read many messages ask seldom, and read nothing else.
func TestReadingManyCostsFewStatements(t *testing.T) {
	st, _, c := counted(t)
	const n = 300
	for i := range n {
		d := delivery(i, "ann")
		d.Cold.Envelope[0] = 0xff // of no older version, so that it is not parsed
		deliver(t, st, d)
	}
	ann := st.As("ann")
	box, err := ann.Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	uids := make([]store.UID, 128)
	for i := range uids {
		uids[i] = store.UID(50 + i)
	}
	for _, tt := range []struct{ room, most, rows int }{
		{0, 2, len(uids)},             // rows, younger flags: whose mailbox it is was read before
		{1 << 20, 7, 4 + 2*len(uids)}, // and two or three ranges of cold rows
	} {
		var into store.Rows
		texts, rows := c.during(func() {
			if _, err = ann.Read(t.Context(), box.ID, uids, tt.room, &into); err != nil {
				t.Fatal(err)
			}
		})
		out := into.Messages
		if len(out) != len(uids) || len(texts) > tt.most || rows > tt.rows {
			t.Errorf("with room for %d: %d statements and %d rows for %d messages:\n%s", tt.room, len(texts), rows, len(out), strings.Join(texts, "\n"))
		}
	}
}

// What many ask for again is not read again, also after flags of it have changed.
func TestReadingAgainCostsNoStatements(t *testing.T) {
	st, _, c := countedBy(t, true)
	uids := make([]store.UID, 100)
	for i := range uids {
		d := delivery(i, "ann")
		d.Cold.Envelope[0] = 0xff // of no older version, so that it is not parsed
		deliver(t, st, d)
		uids[i] = store.UID(1 + i)
	}
	ann := st.As("ann")
	box, err := ann.Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for time, most := range []int{
		12, // whose mailbox it is, rows, younger flags, ranges of cold rows, begin and end
		6,  // cold rows
		0, 0,
	} {
		var into store.Rows
		texts, _ := c.during(func() {
			if _, err := ann.Read(t.Context(), box.ID, uids, 1<<20, &into); err != nil {
				t.Fatal(err)
			}
		})
		if len(into.Messages) != len(uids) || len(texts) > most {
			t.Errorf("time %d: %d statements for %d messages:\n%s", time, len(texts), len(into.Messages), strings.Join(texts, "\n"))
		}
		for i := range into.Messages {
			if p := &into.Messages[i]; p.Err != nil || len(p.Cold.Structure) != 100 || slices.Contains(p.Flags, `\Seen`) != (time == 3 && p.UID == 7) {
				t.Fatalf("time %d: %+v", time, p)
			}
		}
		if time == 2 {
			if _, _, err := ann.SetFlags(t.Context(), box.ID, store.FlagChange{Add: []string{`\Seen`}}, 7); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Who looks at few is remembered at once, who reads all never.
	for _, tt := range []struct {
		remember    store.Remember
		first, last int // UIDs of a mailbox that nobody has read
		most        int // statements of the second time
	}{{store.AtOnce, 1, 20, 0}, {store.Never, 21, 40, 20}} {
		fresh := st.As("bob")
		var into store.Rows
		into.Remember = tt.remember
		bobs := deliver(t, st, delivery(1000+tt.first, "bob"))[0].Mailbox
		for i := tt.first + 1; i <= tt.last; i++ {
			d := delivery(1000+i, "bob")
			d.Cold.Envelope[0] = 0xff
			deliver(t, st, d)
		}
		uids := uids[tt.first:tt.last]
		read := func() {
			if _, err := fresh.Read(t.Context(), bobs, uids, 1<<20, &into); err != nil || len(into.Messages) != len(uids) {
				t.Fatal(len(into.Messages), err)
			}
		}
		read()
		if texts, _ := c.during(read); len(texts) > tt.most || tt.most > 0 && len(texts) == 0 {
			t.Errorf("remembering %v: %d statements the second time", tt.remember, len(texts))
		}
	}
	if _, err := ann.Expunge(t.Context(), box.ID, 8); err != nil {
		t.Fatal(err)
	}
	var into store.Rows
	if _, err := ann.Read(t.Context(), box.ID, uids, 0, &into); err != nil || len(into.Messages) != 99 {
		t.Errorf("%d messages, %v", len(into.Messages), err)
	}
}

func TestBatchWritesCountersOnce(t *testing.T) {
	st, db, c := counted(t)
	deliver(t, st, delivery(1, "ann"))
	texts, _ := c.during(func() {
		inside, leave := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			err := db.Update(t.Context(), func(sqldb.Conn) error { close(inside); <-leave; return nil })
			if err != nil {
				t.Error(err)
			}
		})
		<-inside
		for i := range 50 {
			wg.Go(func() { deliver(t, st, delivery(2+i, "ann")) })
		}
		for db.Waiting() < 50 {
			runtime.Gosched()
		}
		close(leave)
		wg.Wait()
	})
	// 50 keys are looked up. Of rows there are 32 + 8 + 8 + 1 + 1 in a
	// statement, of three kinds; account and mailbox are written once.
	if most := 50 + 3*5 + 2; len(texts) > most {
		t.Errorf("50 deliveries cost %d statements, want at most %d", len(texts), most)
	}
}

func TestListReadsOnlyHotRows(t *testing.T) {
	st, _, c := counted(t)
	const n = 2500
	to := slices.Repeat([]store.AccountID{"ann"}, n)
	box := deliver(t, st, delivery(1, to...))[0].Mailbox
	read := func(q store.Query) (got int) {
		err := st.Backend.View(t.Context(), func(tx store.Tx) error {
			got = 0
			for _, err := range tx.Messages(box, q) {
				if err != nil {
					return err
				}
				got++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	texts, rows := c.during(func() {
		if got := read(store.Query{}); got != n {
			t.Errorf("%d messages, want %d", got, n)
		}
	})
	if slices.ContainsFunc(texts, func(q string) bool { return strings.Contains(q, "cold") }) || rows > n+1 || len(texts) > 7 {
		t.Errorf("read %d rows by\n%s", rows, strings.Join(texts, "\n"))
	}

	// What changed is found without a walk through the mailbox.
	acc, _, err := st.As("ann").SetFlags(t.Context(), box, store.FlagChange{Add: []string{"x"}}, 1, 700, 2500)
	if err != nil || len(acc) != 3 {
		t.Fatal(len(acc), err)
	}
	texts, rows = c.during(func() {
		if got := read(store.Query{Since: store.Since{After: acc[0].ModSeq - 1, Tombstones: true}}); got != 3 {
			t.Errorf("%d changed, want 3", got)
		}
	})
	if rows > 4 || len(texts) > 3 {
		t.Errorf("read %d rows by\n%s", rows, strings.Join(texts, "\n"))
	}
	if _, err := st.As("ann").Expunge(t.Context(), box, 2, 2400); err != nil {
		t.Fatal(err)
	}
	texts, rows = c.during(func() {
		if got, err := st.As("ann").Vanished(t.Context(), box, 1); err != nil || !slices.Equal(got, []store.UID{2, 2400}) {
			t.Error(got, err)
		}
	})
	if rows > 6 || len(texts) > 4 {
		t.Errorf("read %d rows by\n%s", rows, strings.Join(texts, "\n"))
	}
}

func TestHotRowsAreSmall(t *testing.T) {
	st, db, _ := counted(t)
	st.Clock = nil
	const n, accounts = 20_000, 20
	var to []store.AccountID
	for i := range 1000 {
		to = append(to, store.AccountID(fmt.Sprint("an-account-", i%accounts)))
	}
	for i := range n / len(to) {
		deliver(t, st, delivery(i, to...))
	}
	size := map[string]int{}
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		return c.Query(`SELECT name, sum(payload) FROM dbstat GROUP BY name`, func(r sqldb.Row) error {
			size[r.Text(0)] = int(r.Int(1)) / n
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("bytes per message: %v", size)
	// 10 more is what numbers grow by in a store of 100 million messages.
	if size["message"]+10 > 100 {
		t.Errorf("%d bytes in a hot row, want under 90", size["message"])
	}
	if all := size["message_changed"] + size["message_id"] + size["message_dead"]; all > 60 {
		t.Errorf("%d bytes in the indexes of a hot row", all)
	}
}

// TestPlans holds the statements that could walk through a table against the
// planner.
func TestPlans(t *testing.T) {
	st, db, c := counted(t)
	box := deliver(t, st, delivery(1, "ann"))[0].Mailbox
	ignore := func(_ any, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	now := time.Unix(1e9, 0)
	texts, _ := c.during(func() {
		ignore(nil, st.Backend.Update(t.Context(), func(tx store.Tx) error {
			for _, since := range []store.Since{{}, {After: 1}, {After: 1, Tombstones: true}} {
				for _, err := range tx.Messages(box, store.Query{Since: since}) {
					ignore(nil, err)
				}
				for _, q := range []store.ObjectQuery{{Since: since}, {Since: since, Kind: "k"}, {Since: since, Kind: "k", ID: "i"}} {
					for _, err := range tx.Objects("ann", q) {
						ignore(nil, err)
					}
				}
				for _, err := range tx.Mailboxes("ann", since) {
					ignore(nil, err)
				}
			}
			for _, err := range tx.Changed("ann", 0) {
				ignore(nil, err)
			}
			ignore(tx.Vanished(box, 1))
			for _, err := range tx.Cold("ann", 1, 2) {
				ignore(nil, err)
			}
			ignore(tx.MessageByID("ann", 1))
			ignore(tx.Threads("ann", make([]store.ThreadKey, 3)))
			_, _, err := tx.Placed(store.DeliveryKey{})
			ignore(nil, err)
			ignore(tx.Expire(now, 10))
			ignore(nil, tx.Forget("ann", 5, now))
			ignore(tx.Drop("ann", 100))
			return nil
		}))
	})
	index := map[string]string{
		"+box":                    "message_changed",
		"(modseq, box, uid) > ":   "message_changed",
		"dead <> 0":               "message_dead",
		"WHERE id = ? AND acct":   "message_id",
		"FROM placed WHERE expir": "placed_expires",
		"FROM thread WHERE expir": "thread_expires",
		"(kind || '', id)":        "object_changed",
	}
	err := db.View(t.Context(), func(conn sqldb.Conn) error {
		for _, q := range texts {
			plan := ""
			err := conn.Query("EXPLAIN QUERY PLAN "+q, func(r sqldb.Row) error {
				plan += r.Text(3) + "\n"
				return nil
			}, make([]any, strings.Count(q, "?"))...)
			if err != nil {
				return err
			}
			if strings.Contains(plan, "SCAN") && !strings.Contains(plan, "SCAN CONSTANT ROW") {
				t.Errorf("%s\nwalks through a table:\n%s", q, plan)
			}
			for part, name := range index {
				if strings.Contains(q, part) {
					delete(index, part)
					if !strings.Contains(plan, name) {
						t.Errorf("%s\ndoes not use %s:\n%s", q, name, plan)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for part, name := range index {
		t.Errorf("no statement with %q used %s", part, name)
	}
}
