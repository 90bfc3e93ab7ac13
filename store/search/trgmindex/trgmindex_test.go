package trgmindex

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
	"github.com/mailkeel/mailkeel/store/search/searchtest"
)

func open(t *testing.T, conn string) *Index {
	t.Helper()
	db, err := pgdb.Open(t.Context(), conn, pgdb.Options{MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	x, err := New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestConformance(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	conns := map[search.Index]string{}
	searchtest.Run(t, searchtest.Options{
		New: func(t *testing.T) search.Index {
			conn := pg.Schema(t)
			x := open(t, conn)
			conns[x] = conn
			return x
		},
		Reopen: func(t *testing.T, x search.Index) search.Index { return open(t, conns[x]) },
	})
}

// explain returns the plan of a query.
func explain(t *testing.T, x *Index, q search.Query) string {
	t.Helper()
	query, args, _, ok := statement(&q)
	if !ok {
		t.Fatalf("%+v is not asked", q)
	}
	var plan strings.Builder
	err := x.db.View(t.Context(), func(c sqldb.Conn) error {
		plan.Reset()
		if err := c.Exec(planning); err != nil {
			return err
		}
		return c.Query("EXPLAIN "+query, func(r sqldb.Row) error {
			plan.WriteString(r.Text(0) + "\n")
			return nil
		}, append([]any{int64(q.Mailbox), int64(1), int64(1<<32 - 1)}, args...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// PostgreSQL looks a text up in the index of trigrams, without being told to, and what
// is known of a mailbox in its key.
func TestTextsAreLookedUp(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	x := open(t, pg.Database(t))
	var s search.State
	for i := range 50 {
		b := search.Batch{Account: "a", From: s, State: search.State{Through: s.Through + 1, Start: 1}}
		for k := range 100 {
			uid := store.UID(100*i + k + 1)
			subject := fmt.Sprintf("topic number%dx", uid)
			b.Docs = append(b.Docs, search.Doc{Mailbox: 1, UID: uid, Fields: []search.HeaderField{{Name: "subject", Text: subject}},
				Header: []byte("subject: " + subject), Body: []byte(strings.Repeat("the quick brown fox jumps over the lazy dog ", 10) + fmt.Sprintf("word%dy", uid))})
		}
		if err := x.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		s = b.State
	}
	if err := x.db.Update(t.Context(), func(c sqldb.Conn) error { return c.Exec(`ANALYZE search_doc`) }); err != nil {
		t.Fatal(err)
	}
	for _, q := range []search.Query{
		{Where: search.Body, Text: "word4711y"},
		{Where: search.Header, Text: "number4711x"},
		{Where: search.Field, Field: "subject", Text: "number4711x"},
	} {
		q.Mailbox = 1
		if plan := explain(t, x, q); !strings.Contains(plan, "search_doc_trigrams") {
			t.Errorf("%+v:\n%s", q, plan)
		}
		a, err := x.Find(t.Context(), "a", q)
		if err != nil || len(a.Known) != 5000 || len(a.Maybe) != 0 || len(a.Sure) != 1 || a.Sure[0] != 4711 {
			t.Errorf("%+v: %d, %v, %v, %v", q, len(a.Known), a.Sure, a.Maybe, err)
		}
	}
}

// What PostgreSQL cannot keep, or what is too much, is read, and the rest of the
// message is not.
func TestWhatIsNotKeptIsRead(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	x := open(t, pg.Database(t))
	subject := []search.HeaderField{{Name: "subject", Text: "hello"}}
	docs := []search.Doc{
		{Fields: subject, Body: []byte("hello \x00 nul")},
		{Fields: subject, Body: []byte("hello \xff bytes")},
		{Fields: subject, Body: []byte(strings.Repeat("much ", maxBody/5+1))},
		{Fields: subject, Body: []byte("hello"), Long: true},
		{Fields: subject, Body: []byte("hello"), Header: []byte(strings.Repeat("h", maxHeader+1))},
		{Fields: []search.HeaderField{{Name: "subject", Text: strings.Repeat("x", maxFields)}}, Body: []byte("hello")},
		{Fields: []search.HeaderField{{Name: "subject", Text: "a\nx-other: b"}}, Body: []byte("hello")},
		{Fields: []search.HeaderField{{Name: "x\x00", Text: "\xfe"}}, Body: []byte("hello \ufdd0\ufdef")},
	}
	for i := range docs {
		docs[i].Mailbox, docs[i].UID = 1, store.UID(i+1)
	}
	if err := x.Apply(t.Context(), search.Batch{Account: "a", State: search.State{Through: 1, Start: 1}, Docs: docs}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		q           search.Query
		sure, maybe string
	}{
		{search.Query{Where: search.Body, Text: "hello"}, "[5 6 7 8]", "[1 2 3 4]"},
		{search.Query{Where: search.Body, Text: "o \ufdd0\ufdef"}, "[8]", "[1 2 3 4]"},
		{search.Query{Where: search.Header, Text: "absent"}, "[]", "[5]"},
		{search.Query{Where: search.Field, Field: "subject", Text: "hello"}, "[1 2 3 4 5]", "[6 7 8]"},
		{search.Query{Where: search.Field, Field: "subject"}, "[1 2 3 4 5]", "[6 7 8]"},
	} {
		tt.q.Mailbox = 1
		a, err := x.Find(t.Context(), "a", tt.q)
		if err != nil || fmt.Sprint(a.Sure) != tt.sure || fmt.Sprint(a.Maybe) != tt.maybe || len(a.Known) != len(docs) {
			t.Errorf("%+v: %+v, %v", tt.q, a, err)
		}
	}
	for _, q := range []search.Query{
		{Where: search.Body, Text: "he"}, {Where: search.Body, Text: "o \x00"}, {Where: search.Body, Text: "hel\xff"},
		{Where: search.Field, Field: "x\x00", Text: "a"}, {Where: search.Field, Field: "a:b"}, {Where: search.Header, Text: strings.Repeat("x", maxText+1)},
	} {
		q.Mailbox = 1
		if a, err := x.Find(t.Context(), "a", q); !errors.Is(err, search.ErrNoAnswer) {
			t.Errorf("%+v: %+v, %v", q, a, err)
		}
	}
}

// Of several processes that go on from one State, one does, and nothing of the others
// is there.
func TestProcessesApplyOneAtATime(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	conn := pg.Database(t)
	nodes := []*Index{open(t, conn), open(t, conn), open(t, conn)}
	var s search.State
	for round := range 20 {
		var wg sync.WaitGroup
		errs := make([]error, len(nodes))
		for i, x := range nodes {
			wg.Go(func() {
				errs[i] = x.Apply(t.Context(), search.Batch{Account: "a", From: s, State: search.State{Through: s.Through + 1 + store.ModSeq(i), Start: 1},
					Docs: []search.Doc{{Mailbox: store.MailboxID(i + 1), UID: store.UID(round + 1), Body: []byte("hello")}}})
			})
		}
		wg.Wait()
		done := -1
		for i, err := range errs {
			switch {
			case err == nil && done < 0:
				done = i
			case !errors.Is(err, search.ErrChanged):
				t.Fatalf("round %d: process %d: %v", round, i, err)
			}
		}
		if done < 0 {
			t.Fatal("nobody went on")
		}
		states, err := nodes[round%3].States(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := search.State{Through: s.Through + 1 + store.ModSeq(done), Start: 1}
		if s = states["a"]; s != want {
			t.Fatalf("%+v, want %+v", s, want)
		}
		var places []search.Place
		for i := range nodes {
			places = append(places, search.Place{Mailbox: store.MailboxID(i + 1), UID: store.UID(round + 1)})
		}
		if missing, err := nodes[0].Missing(t.Context(), "a", places); err != nil || len(missing) != 2 {
			t.Fatal(missing, err)
		}
	}
}

// A role that may not make the extension is told so, and gets no tables; one that finds
// it there needs no such right.
func TestWithoutTheExtension(t *testing.T) {
	pg := testpg.Start(t, testpg.Options{NoSync: true})
	pg.Exec(t, "postgres", "CREATE ROLE mail LOGIN")
	pg.Exec(t, "postgres", "CREATE DATABASE mail TEMPLATE template0 ENCODING 'UTF8'")
	pg.Exec(t, "mail", "CREATE SCHEMA tables AUTHORIZATION mail")
	conn := strings.Replace(pg.URL("mail"), "user=postgres", "user=mail", 1) + " search_path=tables"
	db, err := pgdb.Open(t.Context(), conn, pgdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	refused := func(why string) {
		t.Helper()
		if _, err := New(t.Context(), db); !errors.Is(err, ErrExtension) {
			t.Errorf("%s: %v", why, err)
		}
	}
	refused("no right to create it")
	pg.Exec(t, "mail", "CREATE SCHEMA hidden")
	pg.Exec(t, "mail", "CREATE EXTENSION pg_trgm SCHEMA hidden")
	refused("its schema is not for everybody")
	err = db.View(t.Context(), func(c sqldb.Conn) error {
		return c.Query(`SELECT count(*) FROM pg_tables WHERE tablename LIKE 'search%'`, func(r sqldb.Row) error {
			if r.Int(0) != 0 {
				t.Errorf("%d tables are there", r.Int(0))
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
	pg.Exec(t, "mail", "GRANT USAGE ON SCHEMA hidden TO mail")
	if _, err := New(t.Context(), db); err != nil {
		t.Error(err)
	}
}
