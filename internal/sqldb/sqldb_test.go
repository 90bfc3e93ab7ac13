package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
)

func open(t testing.TB, path string, o sqldb.Options) *sqldb.SQLite {
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

// newDB has a table t with a key k.
func newDB(t testing.TB, o sqldb.Options) *sqldb.SQLite {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "db"), o)
	if err := sqldb.Migrate(context.Background(), db, "test", `CREATE TABLE t (k INTEGER PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	return db
}

func insert(k int) func(sqldb.Conn) error {
	return func(c sqldb.Conn) error { return c.Exec("INSERT INTO t VALUES (?)", k) }
}

func count(t testing.TB, db sqldb.DB) (n int) {
	t.Helper()
	err := db.View(context.Background(), func(c sqldb.Conn) error {
		return c.Query("SELECT count(*) FROM t", func(r sqldb.Row) error { n = int(r.Int(0)); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var errBoom = errors.New("boom")

func TestConcurrentUpdatesAllLand(t *testing.T) {
	var commits atomic.Int32
	db := newDB(t, sqldb.Options{Trace: func(q string, _ int) {
		if q == "COMMIT" {
			commits.Add(1)
		}
	}})
	var wg sync.WaitGroup
	for k := range 200 {
		wg.Go(func() {
			if err := db.Update(t.Context(), insert(k)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, db); n != 200 || commits.Load() > 201 {
		t.Errorf("%d rows in %d commits", n, commits.Load())
	}
}

func TestFailingUpdateLeavesNeighboursAlone(t *testing.T) {
	db := newDB(t, sqldb.Options{})
	for round := range 10 {
		var wg sync.WaitGroup
		base := round * 1000
		for k := range 50 {
			wg.Go(func() {
				if err := db.Update(t.Context(), insert(base+k)); err != nil {
					t.Errorf("update %d: %v", k, err)
				}
			})
		}
		wg.Go(func() {
			err := db.Update(t.Context(), func(c sqldb.Conn) error { return errors.Join(insert(base+500)(c), errBoom) })
			if !errors.Is(err, errBoom) {
				t.Errorf("failing update: %v", err)
			}
		})
		wg.Go(func() {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("recovered %v, want the panic of this goroutine's function", p)
				}
			}()
			_ = db.Update(t.Context(), func(c sqldb.Conn) error { _ = insert(base + 501)(c); panic("mine") })
		})
		wg.Wait()
		if n := count(t, db); n != 50*(round+1) {
			t.Fatalf("round %d: %d rows, want %d", round, n, 50*(round+1))
		}
	}
}

func TestSecondRowOfAKeyIsErrUnique(t *testing.T) {
	db := newDB(t, sqldb.Options{})
	var refused atomic.Int32
	var wg sync.WaitGroup
	for range 2 {
		for k := range 50 {
			wg.Go(func() {
				switch err := db.Update(t.Context(), insert(k)); {
				case errors.Is(err, sqldb.ErrUnique):
					refused.Add(1)
				case err != nil:
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := count(t, db); n != 50 || refused.Load() != 50 {
		t.Errorf("%d rows and %d refusals, want 50 and 50", n, refused.Load())
	}
}

func TestRowsSurviveReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, sqldb.Options{})
	for range 2 {
		if err := sqldb.Migrate(t.Context(), db, "test", `CREATE TABLE t (k INTEGER PRIMARY KEY)`); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Update(t.Context(), insert(1)); err != nil {
		t.Fatal(err)
	}
	// As after a kill: what the first handle has committed is in the files.
	if n := count(t, open(t, path, sqldb.Options{})); n != 1 {
		t.Errorf("%d rows through a second handle, want 1", n)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path, sqldb.Options{})
	if n := count(t, again); n != 1 {
		t.Errorf("%d rows after reopening, want 1", n)
	}
	if faults, err := again.Check(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("faults %q, %v", faults, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want only the owner to read it", fi.Mode(), err)
	}
}

func TestViewIsASnapshot(t *testing.T) {
	db := newDB(t, sqldb.Options{})
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		n := 0
		look := func() error {
			return c.Query("SELECT count(*) FROM t", func(r sqldb.Row) error { n = int(r.Int(0)); return nil })
		}
		if err := look(); err != nil {
			return err
		}
		if err := db.Update(t.Context(), insert(1)); err != nil {
			return err
		}
		if err := look(); err != nil || n != 0 {
			t.Errorf("the View sees %d rows, %v", n, err)
		}
		if c.Exec("INSERT INTO t VALUES (2)") == nil {
			t.Error("a View could write")
		}
		return nil
	})
	if err != nil || count(t, db) != 1 {
		t.Errorf("afterwards %d rows, %v", count(t, db), err)
	}
}

func TestWaitsEndWithTheContext(t *testing.T) {
	db := newDB(t, sqldb.Options{Readers: 1})
	ctx, cancel := context.WithCancel(t.Context())
	err := db.View(t.Context(), func(sqldb.Conn) error {
		time := make(chan error)
		go func() { time <- db.View(ctx, func(sqldb.Conn) error { return nil }) }()
		cancel()
		return <-time
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a View without a reader left: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = db.Update(t.Context(), func(sqldb.Conn) error {
		waited := make(chan error)
		go func() { waited <- db.Update(ctx, insert(1)) }()
		cancel()
		return <-waited
	})
	if !errors.Is(err, context.Canceled) || count(t, db) != 0 {
		t.Errorf("an Update behind another: %v, %d rows", err, count(t, db))
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = db.View(ctx, func(c sqldb.Conn) error {
		return c.Query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n", func(sqldb.Row) error {
			cancel()
			return nil
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an endless query: %v", err)
	}
}

func TestNotifyOnlyAfterCommit(t *testing.T) {
	db := newDB(t, sqldb.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan string)
	ended := make(chan error)
	go func() { ended <- db.Listen(ctx, "topic", func(p string) { heard <- p }) }()
	if p := <-heard; p != "" {
		t.Fatalf("first heard %q, want that it listens", p)
	}
	say := func(topic, payload string, fail error) {
		t.Helper()
		err := db.Update(t.Context(), func(c sqldb.Conn) error { c.Notify(topic, payload); return fail })
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
	}
	say("topic", "failed", errBoom)
	say("other", "elsewhere", nil)
	say("topic", "1", nil)
	say("topic", "2", nil)
	got := map[string]bool{<-heard: true, <-heard: true}
	if !got["1"] || !got["2"] {
		t.Errorf("heard %v", got)
	}
	for i := range 2000 {
		say("topic", fmt.Sprint("many ", i), nil)
	}
	for p := range heard { // one may be on its way already
		if p == "" {
			break
		}
		if !strings.HasPrefix(p, "many") {
			t.Fatalf("heard %q", p)
		}
	}
	go func() {
		for range heard {
		}
	}()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(heard)
}

// TestLogBeginsAnew reads for so long that the log grows too large, and then looks
// whether it gets small again.
func TestLogBeginsAnew(t *testing.T) {
	const limit, row = 1 << 20, 16 << 10
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path, sqldb.Options{MaxLog: limit})
	db.SetPatience(0)
	if err := sqldb.Migrate(t.Context(), db, "t", `CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)`); err != nil {
		t.Fatal(err)
	}
	write := func(n int) (size int64) {
		for i := range n {
			err := db.Update(t.Context(), func(c sqldb.Conn) error {
				return c.Exec("INSERT INTO t VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v", i%50, bytes.Repeat([]byte{byte(i / 50)}, row))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		fi, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		if err := c.Exec("SELECT * FROM t"); err != nil {
			return err
		}
		if size := write(300); size < 3*limit {
			t.Errorf("the log has %d bytes, but somebody reads", size)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if size := write(400); size > 2*limit {
		t.Errorf("the log has %d bytes, and nobody reads", size)
	}
}

func TestMigrate(t *testing.T) {
	db := newDB(t, sqldb.Options{})
	steps := []string{
		`CREATE TABLE u (a TEXT); CREATE INDEX u_a ON u (a);`,
		`INSERT INTO u VALUES ('x')`,
	}
	for n := range 3 {
		if err := sqldb.Migrate(t.Context(), db, "u", steps[:n]...); err != nil {
			t.Fatal(err)
		}
	}
	if err := sqldb.Migrate(t.Context(), db, "u", steps[0]); !errors.Is(err, sqldb.ErrNewer) {
		t.Errorf("an older program: %v, want ErrNewer", err)
	}
	bad := append(steps, `CREATE TABLE v (a TEXT)`, `CREATE TABLE v (a TEXT)`)
	if err := sqldb.Migrate(t.Context(), db, "u", bad...); err == nil {
		t.Error("a step that cannot work worked")
	}
	if err := sqldb.Migrate(t.Context(), db, "u", append(steps, `CREATE TABLE v (a TEXT)`)...); err != nil {
		t.Errorf("the failed migration left something: %v", err)
	}
}

func TestArguments(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"), sqldb.Options{})
	err := db.Update(t.Context(), func(c sqldb.Conn) error {
		err := c.Query("SELECT ?, ?, ?, ?, ?, ?, ?, ?", func(r sqldb.Row) error {
			if r.Int(0) != -1 || r.Int(1) != 1<<40 || r.Int(2) != 1<<32-1 || r.Int(3) != 1 || r.Text(4) != "a\x00b" ||
				string(r.Bytes(5)) != "x\x00" || !r.IsNull(6) || r.Bytes(6) != nil || r.IsNull(7) || r.Bytes(7) == nil {
				t.Error("values changed on the way")
			}
			if r.Int(6) != 0 || r.Text(6) != "" {
				t.Error("NULL is not zero")
			}
			return nil
		}, -1, int64(1<<40), uint32(1<<32-1), true, "a\x00b", []byte("x\x00"), []byte(nil), []byte{})
		if err != nil {
			return err
		}
		for name, err := range map[string]error{
			"too few":     c.Exec("SELECT ?"),
			"a type":      c.Exec("SELECT ?", 1.5),
			"no SQL":      c.Exec("SELEC"),
			"a second":    c.Exec("SELECT ?; SELECT 2", 1),
			"a nested":    c.Query("SELECT 1", func(sqldb.Row) error { return c.Exec("SELECT 2") }),
			"a bad batch": c.Exec("SELECT 1; SELEC"),
		} {
			if err == nil {
				t.Errorf("%s was taken", name)
			}
		}
		for i := range 1000 { // more texts than are kept
			if err := c.Exec(fmt.Sprint("SELECT ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestClosedSaysSo(t *testing.T) {
	db := newDB(t, sqldb.Options{})
	listening, ended := make(chan string, 1), make(chan error)
	go func() { ended <- db.Listen(t.Context(), "x", func(p string) { listening <- p }) }()
	<-listening
	inside := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := db.View(t.Context(), func(c sqldb.Conn) error {
			close(inside)
			<-ended // Close has begun
			return c.Exec("SELECT 1")
		})
		if err != nil {
			t.Error("Close did not wait for a View:", err)
		}
	})
	<-inside
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	nothing := func(sqldb.Conn) error { return nil }
	for _, err := range []error{db.Update(t.Context(), nothing), db.View(t.Context(), nothing), db.Listen(t.Context(), "x", nil)} {
		if !errors.Is(err, sqldb.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error("second Close:", err)
	}
}

// held is a Buffer of keys to insert.
type held struct {
	keys []int
	mark int
}

func (h *held) Mark()   { h.mark = len(h.keys) }
func (h *held) Undo()   { h.keys = h.keys[:h.mark] }
func (h *held) Forget() { h.keys, h.mark = nil, 0 }

func (h *held) Flush(c sqldb.Conn) error {
	for _, k := range h.keys {
		if err := insert(k)(c); err != nil {
			return err
		}
	}
	h.Forget()
	return nil
}

func TestBufferIsPartOfTheTransaction(t *testing.T) {
	db := newDB(t, sqldb.Options{})
	h := &held{}
	if db.Buffer("keys", h) != h || db.Buffer("keys", &held{}) != h {
		t.Fatal("two buffers of one name")
	}
	for round := range 20 {
		base := round * 100
		hold := func(k int, err error) func(sqldb.Conn) error {
			return func(sqldb.Conn) error { h.keys = append(h.keys, base+k); return err }
		}
		var wg sync.WaitGroup
		do := func(fn func(sqldb.Conn) error, want error) {
			wg.Go(func() {
				if err := db.Update(t.Context(), fn); !errors.Is(err, want) {
					t.Error(err)
				}
			})
		}
		for k := range 20 {
			do(hold(k, nil), nil)
		}
		do(hold(50, errBoom), errBoom)
		do(func(c sqldb.Conn) error { // has written, so that only a rollback helps
			_ = hold(51, nil)(c)
			return errors.Join(h.Flush(c), errBoom)
		}, errBoom)
		do(hold(60, nil), nil)
		wg.Wait()
		// This one fails at the commit, and nobody else may notice.
		do(hold(61, nil), nil)
		do(hold(60, nil), sqldb.ErrUnique)
		wg.Wait()
		if n := count(t, db); n != 22*(round+1) {
			t.Fatalf("%d rows after round %d, want %d", n, round, 22*(round+1))
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 50} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			db := newDB(b, sqldb.Options{})
			var k atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			for range writers {
				wg.Go(func() {
					for n := k.Add(1); n <= int64(b.N); n = k.Add(1) {
						if err := db.Update(context.Background(), insert(int(n))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
