package pgdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
)

// patience is how long a machine may be busy with other things.
const patience = 2 * time.Minute

func open(t *testing.T, conn string, o pgdb.Options) *pgdb.DB {
	t.Helper()
	if o.MaxConns == 0 {
		o.MaxConns = 6
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

// newDB has a table t with a key k and a number v.
func newDB(t *testing.T, conn string, o pgdb.Options) *pgdb.DB {
	t.Helper()
	db := open(t, conn, o)
	err := sqldb.Migrate(t.Context(), db, "test", `CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER NOT NULL, s TEXT, b BLOB)`)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func update(t *testing.T, db sqldb.DB, fn func(sqldb.Conn) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func insert(k int) func(sqldb.Conn) error {
	return func(c sqldb.Conn) error { return c.Exec("INSERT INTO t (k, v) VALUES (?, ?)", k, 0) }
}

func number(t *testing.T, db sqldb.DB, query string) (n int64) {
	t.Helper()
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		return c.Query(query, func(r sqldb.Row) error { n = r.Int(0); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func count(t *testing.T, db sqldb.DB) int64 {
	t.Helper()
	return number(t, db, "SELECT count(*) FROM t")
}

var errBoom = errors.New("boom")

func TestPostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *testpg.Cluster)
	}{
		{"ValuesComeBack", testValues},
		{"FailingUpdateLeavesNothing", testFails},
		{"ErrorOfLaterFailsTheUpdate", testLater},
		{"ViewIsASnapshot", testView},
		{"DeadlockIsRetried", testDeadlock},
		{"SerializationFailureIsRetriedSomeTimes", testRetry},
		{"LostConnectionIsRetriedBeforeCommit", testLost},
		{"LostCommitIsUnknown", testUnknown},
		{"DemotedServerIsLeft", testDemoted},
		{"LockKeepsOthersOut", testLock},
		{"NotesReachOtherProcesses", testNotes},
		{"LostNoteIsFound", testLostNote},
		{"ListenerConnectsAgain", testReconnect},
		{"RoundTrips", testTrips},
		{"CloseWaits", testClose},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, c) })
	}
}

func testValues(t *testing.T, c *testpg.Cluster) {
	db := newDB(t, c.Schema(t), pgdb.Options{})
	update(t, db, func(c sqldb.Conn) error {
		return errors.Join(
			c.Exec("INSERT INTO t (k, v, s, b) VALUES (?, ?, ?, ?)", uint32(1<<32-1), true, "a'?ä", []byte{0, 255}),
			c.Exec("INSERT INTO t (k, v, s, b) VALUES (?, ?, ?, ?)", int64(-1<<62), false, nil, []byte(nil)),
			c.Exec("INSERT INTO t (k, v, s, b) VALUES (?, ?, ?, ?)", 3, 4, "B", []byte{}))
	})
	var got []string
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		got = nil
		return c.Query("SELECT k, v, s, b FROM t ORDER BY s", func(r sqldb.Row) error {
			got = append(got, fmt.Sprintf("%v %v %v %v %v %v", r.Int(0), r.Int(1), r.Text(2), r.Bytes(3) == nil, r.Bytes(3), r.IsNull(2)))
			return nil
		})
	})
	// Upper case first, as bytes are; NULL last, where SQLite has it first.
	want := []string{"3 4 B false [] false", "4294967295 1 a'?ä false [0 255] false", "-4611686018427387904 0  true [] true"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	update(t, db, func(c sqldb.Conn) error {
		if err := c.Exec("UPDATE t SET v = v + 1"); err != nil || c.Changes() != 3 {
			t.Errorf("%d changes, %v", c.Changes(), err)
		}
		if err := c.Exec("SELECT ?", 1, 2); err == nil {
			t.Error("two arguments for one place")
		}
		if err := c.Exec("SELECT ?", 1.5); err == nil {
			t.Error("an argument of a strange type")
		}
		return c.Query("SELECT 1", func(sqldb.Row) error {
			if c.Exec("SELECT 2") == nil {
				t.Error("a statement inside a row function")
			}
			return nil
		})
	})
	if err := sqldb.Migrate(t.Context(), db, "test"); !errors.Is(err, sqldb.ErrNewer) {
		t.Errorf("older program: %v", err)
	}
}

func testFails(t *testing.T, c *testpg.Cluster) {
	db := newDB(t, c.Schema(t), pgdb.Options{})
	err := db.Update(t.Context(), func(c sqldb.Conn) error { return errors.Join(insert(1)(c), errBoom) })
	if !errors.Is(err, errBoom) {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the panic was lost")
			}
		}()
		_ = db.Update(t.Context(), func(c sqldb.Conn) error { _ = insert(2)(c); panic("mine") })
	}()
	err = db.Update(t.Context(), func(c sqldb.Conn) error {
		return c.Query("SELECT 1 UNION ALL SELECT 2", func(sqldb.Row) error { return errBoom })
	})
	if !errors.Is(err, errBoom) {
		t.Error(err)
	}
	update(t, db, insert(3))
	if err := db.Update(t.Context(), insert(3)); !errors.Is(err, sqldb.ErrUnique) {
		t.Error(err)
	}
	// The error of a statement is not to be passed over.
	err = db.Update(t.Context(), func(c sqldb.Conn) error { _ = insert(3)(c); _ = insert(4)(c); return nil })
	if !errors.Is(err, sqldb.ErrUnique) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Update(ctx, insert(5)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func testLater(t *testing.T, c *testpg.Cluster) {
	db := newDB(t, c.Schema(t), pgdb.Options{})
	later := func(c sqldb.Conn, k int) error { return sqldb.Later(c, "INSERT INTO t (k, v) VALUES (?, 0)", k) }
	update(t, db, func(c sqldb.Conn) error {
		for k := range 600 {
			if err := later(c, k); err != nil {
				return err
			}
		}
		return nil
	})
	for _, fn := range []func(sqldb.Conn) error{
		func(c sqldb.Conn) error { return later(c, 1) },
		func(c sqldb.Conn) error { return errors.Join(later(c, 1000), later(c, 1), later(c, 1001)) },
		func(c sqldb.Conn) error {
			_ = later(c, 1)
			return c.Query("SELECT 1", func(sqldb.Row) error { t.Error("a row after an error"); return nil })
		},
	} {
		if err := db.Update(t.Context(), fn); !errors.Is(err, sqldb.ErrUnique) || errors.Is(err, pgdb.ErrUnknown) {
			t.Error(err)
		}
	}
	if n := count(t, db); n != 600 {
		t.Errorf("%d rows", n)
	}
}

func testView(t *testing.T, c *testpg.Cluster) {
	db := newDB(t, c.Schema(t), pgdb.Options{})
	update(t, db, insert(1))
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		for k := 2; k < 4; k++ {
			n := int64(0)
			if err := c.Query("SELECT count(*) FROM t", func(r sqldb.Row) error { n = r.Int(0); return nil }); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
			update(t, db, insert(k))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if db.View(t.Context(), insert(9)) == nil || count(t, db) != 3 {
		t.Error("a View wrote")
	}
}

// Two Updates take two rows in different order, and wait for each other.
func testDeadlock(t *testing.T, c *testpg.Cluster) {
	db := newDB(t, c.Schema(t), pgdb.Options{})
	update(t, db, func(c sqldb.Conn) error { return errors.Join(insert(0)(c), insert(1)(c)) })
	var both sync.WaitGroup
	both.Add(2)
	var runs atomic.Int32
	var wg sync.WaitGroup
	for first := range 2 {
		wg.Go(func() {
			once := true
			err := db.Update(t.Context(), func(c sqldb.Conn) error {
				runs.Add(1)
				if err := c.Exec("UPDATE t SET v = v + 1 WHERE k = ?", first); err != nil {
					return err
				}
				if once {
					once = false
					both.Done()
					both.Wait()
				}
				return c.Exec("UPDATE t SET v = v + 1 WHERE k = ?", 1-first)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := number(t, db, "SELECT sum(v)::bigint FROM t"); n != 4 || runs.Load() < 3 {
		t.Errorf("%d changes in %d runs", n, runs.Load())
	}
}

func testRetry(t *testing.T, c *testpg.Cluster) {
	db := newDB(t, c.Schema(t), pgdb.Options{Attempts: 4})
	fail := func(c sqldb.Conn) error {
		return c.Exec("DO $$ BEGIN RAISE EXCEPTION 'no luck' USING ERRCODE = '40001'; END $$;")
	}
	for _, tt := range []struct {
		fails, runs int
		ok          bool
	}{{3, 4, true}, {9, 4, false}} {
		runs := 0
		err := db.Update(t.Context(), func(c sqldb.Conn) error {
			if err := insert(10*tt.fails + runs)(c); err != nil {
				return err
			}
			if runs++; runs <= tt.fails {
				return fail(c)
			}
			return nil
		})
		if (err == nil) != tt.ok || runs != tt.runs {
			t.Errorf("%d runs, %v", runs, err)
		}
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func schema(conn string) string { return conn[strings.LastIndex(conn, "=")+1:] }

func testLost(t *testing.T, c *testpg.Cluster) {
	conn := c.Schema(t)
	newDB(t, conn, pgdb.Options{})
	p := startProxy(t, c, schema(conn))
	db := open(t, p.conn, pgdb.Options{})
	for cut := int32(1); cut <= 2; cut++ {
		runs := 0
		update(t, db, func(c sqldb.Conn) error {
			if runs++; runs == 1 {
				p.cut.Store(cut)
			}
			return insert(int(cut))(c)
		})
		if runs != 2 {
			t.Errorf("cut %d: %d runs", cut, runs)
		}
		runs = 0
		err := db.View(t.Context(), func(c sqldb.Conn) error {
			if runs++; runs == 1 {
				p.cut.Store(cut)
			}
			return c.Query("SELECT 1", func(sqldb.Row) error { return nil })
		})
		if err != nil || runs != 2 {
			t.Errorf("cut %d: %d runs of a View, %v", cut, runs, err)
		}
	}
	if n := count(t, db); n != 2 {
		t.Errorf("%d rows", n)
	}
}

func testUnknown(t *testing.T, c *testpg.Cluster) {
	conn := c.Schema(t)
	newDB(t, conn, pgdb.Options{})
	p := startProxy(t, c, schema(conn))
	db := open(t, p.conn, pgdb.Options{MaxConns: 2})
	for cut := int32(1); cut <= 2; cut++ {
		k, runs := int(cut), 0
		fn := func(cut int32) func(c sqldb.Conn) error {
			return func(c sqldb.Conn) error {
				runs++
				err := c.Query("SELECT count(*) FROM t", func(sqldb.Row) error { return nil })
				p.cut.Store(cut)
				k += 100
				return errors.Join(err, sqldb.Later(c, "INSERT INTO t (k, v) VALUES (?, 0)", k))
			}
		}
		update(t, db, fn(0)) // its statements are prepared now
		runs = 0
		before := count(t, db)
		if err := db.Update(t.Context(), fn(cut)); !errors.Is(err, pgdb.ErrUnknown) || runs != 1 {
			t.Errorf("cut %d: %d runs, %v", cut, runs, err)
		}
		if cut == 1 && count(t, db) != before {
			t.Error("the server has what it never heard")
		}
	}
}

// A server whose connections only read, as those to a primary that became a standby,
// until somebody makes it write again.
func testDemoted(t *testing.T, c *testpg.Cluster) {
	conn := c.Database(t)
	db := newDB(t, conn, pgdb.Options{MaxConns: 2})
	name := strings.Fields(conn[strings.Index(conn, "dbname=")+len("dbname="):])[0]
	c.Exec(t, "postgres", "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	c.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'")
	runs := 0
	update(t, db, func(conn sqldb.Conn) error {
		err := insert(1)(conn)
		if err != nil {
			c.Exec(t, "postgres", "ALTER DATABASE "+name+" RESET default_transaction_read_only")
		}
		runs++
		return err
	})
	if n := count(t, db); n != 1 || runs < 2 {
		t.Errorf("%d rows after %d runs", n, runs)
	}
}

func testLock(t *testing.T, c *testpg.Cluster) {
	conn := c.Schema(t)
	dbs := []*pgdb.DB{newDB(t, conn, pgdb.Options{}), open(t, conn, pgdb.Options{})}
	update(t, dbs[0], insert(1))
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := dbs[i%2].Update(t.Context(), func(c sqldb.Conn) error {
				if err := sqldb.Lock(c, "one", "two", "one"); err != nil {
					return err
				}
				v := int64(0)
				if err := c.Query("SELECT v FROM t WHERE k = 1", func(r sqldb.Row) error { v = r.Int(0); return nil }); err != nil {
					return err
				}
				return c.Exec("UPDATE t SET v = ? WHERE k = 1", v+1)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v := number(t, dbs[0], "SELECT v FROM t WHERE k = 1"); v != n {
		t.Errorf("%d of %d additions", v, n)
	}
}

// listen returns what a database hears of topic t.
func listen(t *testing.T, db *pgdb.DB) <-chan string {
	t.Helper()
	heard, done := make(chan string, 1000), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- db.Listen(ctx, "t", func(p string) { heard <- p }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, sqldb.ErrClosed) {
			t.Error(err)
		}
	})
	hear(t, heard, "")
	return heard
}

// hear waits for a payload, and passes over those that are empty if it is not.
func hear(t *testing.T, heard <-chan string, want string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case p := <-heard:
			if p == want {
				return
			}
			if p != "" {
				t.Fatalf("heard %q, not %q", p, want)
			}
		case <-deadline:
			t.Fatalf("%q is not heard", want)
		}
	}
}

func notify(payload string) func(sqldb.Conn) error {
	return func(c sqldb.Conn) error {
		c.Notify("t", payload)
		c.Notify("other", payload+"?")
		return c.Exec("UPDATE t SET v = v + 1")
	}
}

func testNotes(t *testing.T, c *testpg.Cluster) {
	conn := c.Schema(t)
	a, b, stranger := newDB(t, conn, pgdb.Options{}), open(t, conn, pgdb.Options{}), newDB(t, c.Schema(t), pgdb.Options{})
	inA, inB := listen(t, a), listen(t, b)
	update(t, stranger, notify("of another schema"))
	_ = a.Update(t.Context(), func(c sqldb.Conn) error { return errors.Join(notify("undone")(c), errBoom) })
	for i := range 20 {
		p := fmt.Sprint("note ", i)
		update(t, a, notify(p))
		hear(t, inA, p)
		hear(t, inB, p)
	}
}

func testLostNote(t *testing.T, c *testpg.Cluster) {
	conn := c.Schema(t)
	a, b := newDB(t, conn, pgdb.Options{}), open(t, conn, pgdb.Options{Poll: 20 * time.Millisecond})
	heard := listen(t, b)
	for deadline := time.Now().Add(patience); !b.Settled(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("other transactions do not end")
		}
	}
	for len(heard) > 0 {
		<-heard
	}
	a.Mute()
	for range 3 { // at most one is for another reason
		update(t, a, notify("lost"))
		hear(t, heard, "")
	}
}

func testReconnect(t *testing.T, c *testpg.Cluster) {
	conn := c.Schema(t)
	a, b := newDB(t, conn, pgdb.Options{}), open(t, conn+" application_name=listener", pgdb.Options{})
	heard := listen(t, b)
	update(t, a, notify("one"))
	hear(t, heard, "one")
	c.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listener' AND query LIKE 'listen%'")
	hearAgain(t, heard, a)
}

// hearAgain sends from another process until that is heard.
func hearAgain(t *testing.T, heard <-chan string, from *pgdb.DB) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		update(t, from, notify("again"))
		next := time.After(100 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case p := <-heard:
				if p == "again" {
					return
				}
			case <-next:
				waiting = false
			}
		}
	}
	t.Fatal("it does not listen any more")
}

func testTrips(t *testing.T, c *testpg.Cluster) {
	var trips atomic.Int32
	var trace sync.Mutex
	var queries bytes.Buffer
	db := newDB(t, c.Schema(t), pgdb.Options{Trip: func() { trips.Add(1) }, Trace: func(q string, n int) {
		trace.Lock()
		defer trace.Unlock()
		fmt.Fprintln(&queries, q, n)
	}})
	for _, tt := range []struct {
		name  string
		trips int32
		run   func(context.Context, func(sqldb.Conn) error) error
		fn    func(sqldb.Conn) error
	}{
		{"nothing", 0, db.Update, func(sqldb.Conn) error { return nil }},
		{"three statements", 1, db.Update, func(c sqldb.Conn) error {
			c.Notify("t", "x")
			return errors.Join(sqldb.Lock(c, "x"), sqldb.Later(c, "DELETE FROM t"), sqldb.Later(c, "INSERT INTO t (k, v) VALUES (1, ?)", 1))
		}},
		{"two questions", 3, db.Update, func(c sqldb.Conn) error {
			q := func() error { return c.Query("SELECT count(*) FROM t", func(sqldb.Row) error { return nil }) }
			return errors.Join(sqldb.Later(c, "DELETE FROM t"), q(), q(), sqldb.Later(c, "DELETE FROM t"))
		}},
		{"a view", 2, db.View, func(c sqldb.Conn) error {
			return c.Query("SELECT count(*) FROM t", func(sqldb.Row) error { return nil })
		}},
	} {
		trips.Store(0)
		if err := tt.run(t.Context(), tt.fn); err != nil {
			t.Fatal(err)
		}
		if n := trips.Load(); n != tt.trips {
			t.Errorf("%s: %d round trips, want %d", tt.name, n, tt.trips)
		}
	}
	if s := queries.String(); !strings.Contains(s, "INSERT INTO t (k, v) VALUES (1, ?) 1\n") {
		t.Errorf("traced:\n%s", s)
	}
}

func testClose(t *testing.T, c *testpg.Cluster) {
	db := newDB(t, c.Schema(t), pgdb.Options{})
	began, finish, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- db.Update(context.Background(), func(c sqldb.Conn) error {
			close(began)
			<-finish
			return insert(1)(c)
		})
	}()
	<-began
	ended := make(chan error, 1)
	go func() { ended <- db.Listen(context.Background(), "t", func(string) {}) }()
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	if err := <-ended; !errors.Is(err, sqldb.ErrClosed) {
		t.Errorf("Listen: %v", err)
	}
	for !errors.Is(db.Update(context.Background(), insert(2)), sqldb.ErrClosed) {
		t.Error("an Update of a closed database")
	}
	close(finish)
	if err := <-done; err != nil {
		t.Errorf("Update in progress: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// What was acknowledged survives a crash of the server, and its clients find it
// again by themselves.
func TestServerCrashes(t *testing.T) {
	c := testpg.Start(t, testpg.Options{})
	conn := c.Database(t)
	db := newDB(t, conn, pgdb.Options{})
	heard := listen(t, db)
	for k := range 5 {
		update(t, db, insert(k))
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), insert(100)); err == nil || errors.Is(err, pgdb.ErrUnknown) {
		t.Errorf("without a server: %v", err)
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	update(t, db, insert(5))
	if n := count(t, db); n != 6 {
		t.Errorf("%d rows", n)
	}
	update(t, db, notify("back")) // in this process
	hear(t, heard, "back")
	hearAgain(t, heard, open(t, conn, pgdb.Options{}))
}

func TestUnusableServers(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	c.Exec(t, "postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	if _, err := pgdb.Open(t.Context(), c.URL("latin"), pgdb.Options{}); !errors.Is(err, pgdb.ErrServer) {
		t.Errorf("LATIN1: %v", err)
	}
	if _, err := pgdb.Open(t.Context(), c.URL("postgres")+" search_path=nowhere", pgdb.Options{}); !errors.Is(err, pgdb.ErrServer) {
		t.Errorf("no schema: %v", err)
	}
	if _, err := pgdb.Open(t.Context(), c.URL("none"), pgdb.Options{Attempts: 1}); err == nil {
		t.Error("a database that is not there")
	}
}
