package imapondisk

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// A filled mailbox lies in SQLite; statements and rows are counted.
type filled struct {
	*peer
	store            *store.Store
	statements, rows atomic.Int64
}

// fill logs in where INBOX has n messages.
func fill(t testing.TB, n int) *filled {
	f := new(filled)
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "db"), sqldb.Options{Alone: true, Trace: func(q string, rows int) {
		if strings.HasPrefix(q, "SELECT") {
			f.statements.Add(1)
			f.rows.Add(int64(rows))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	rows, err := sqlstore.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	st := &store.Store{Backend: rows, Blobs: &memblob.Store{}}
	w, err := st.Blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "Subject: x\r\n\r\nx\r\n")
	d := store.Delivery{}
	if d.Blob, err = w.Commit(); err != nil {
		t.Fatal(err)
	}
	for done := 0; done < n; done += len(d.Targets) {
		d.Key, d.Targets = fmt.Sprint(done), nil
		for i := range min(500, n-done) {
			d.Targets = append(d.Targets, store.Target{Account: "a1", Index: i})
		}
		if _, err := st.Deliver(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	f.store = st
	f.peer = dial(t, start(t, &imap.Server{InsecureAuth: true, Auth: anyone{}, Store: st}))
	f.ok("LOGIN ann secret")
	return f
}

// TestFetchReadsLittle checks what lists of a mailbox cost: numbers and flags are not
// read again, and of dates and sizes each row is read once, many at a time.
func TestFetchReadsLittle(t *testing.T) {
	const n = 2000
	f := fill(t, n)
	f.ok("SELECT INBOX")
	for _, c := range []struct {
		cmd              string
		rows, statements int64
	}{
		{"FETCH 1:* (UID FLAGS)", 5, 5}, // the looks for news
		{"FETCH 1:* FAST", n + 50, 50},
	} {
		f.rows.Store(0)
		f.statements.Store(0)
		f.ok(c.cmd)
		if rows, st := f.rows.Load(), f.statements.Load(); rows > c.rows || st > c.statements {
			t.Errorf("%s: %d rows by %d statements, want at most %d by %d", c.cmd, rows, st, c.rows, c.statements)
		}
	}
}

// BenchmarkList does what clients do with a mailbox of 100,000.
func BenchmarkList(b *testing.B) {
	f := fill(b, 100_000)
	f.ok("SELECT INBOX")
	for _, cmd := range []string{"SELECT INBOX", "FETCH 1:* (UID FLAGS)", "FETCH 1:* FAST"} {
		b.Run(cmd, func(b *testing.B) {
			f.rows.Store(0)
			b.ReportAllocs()
			for b.Loop() {
				f.ok(cmd)
			}
			b.ReportMetric(float64(f.rows.Load())/float64(b.N), "rows/op")
		})
	}
}

// TestAppendReadsNothing: for a small message that comes unasked, rows are written and
// none is read.
func TestAppendReadsNothing(t *testing.T) {
	f := fill(t, 3)
	const text = "Subject: x\r\n\r\nx\r\n"
	add := func() { f.ok("APPEND INBOX {%d+}\r\n%s", len(text), text) }
	add()
	f.statements.Store(0)
	for range 10 {
		add()
	}
	if n := f.statements.Load(); n > 0 {
		t.Errorf("%d statements read rows for 10 messages", n)
	}
}
