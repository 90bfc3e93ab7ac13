package ftsindex

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
	"github.com/mailkeel/mailkeel/store/search/searchtest"
)

func open(t *testing.T, path string) *Index {
	x := New(path, Options{})
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func TestConformance(t *testing.T) {
	searchtest.Run(t, searchtest.Options{
		New:    func(t *testing.T) search.Index { return open(t, filepath.Join(t.TempDir(), "search.db")) },
		Reopen: func(t *testing.T, x search.Index) search.Index { return open(t, x.(*Index).path) },
	})
}

func TestNothingIsMadeForReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "search.db")
	x := open(t, path)
	if s, err := x.States(t.Context()); err != nil || len(s) > 0 {
		t.Error(s, err)
	}
	if _, err := x.Find(t.Context(), "a", search.Query{Mailbox: 1, Where: search.Body, Text: "hello"}); err != search.ErrNoAnswer {
		t.Error(err)
	}
	if err := x.Drop(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there")
	}
}

func fill(t *testing.T, x *Index) {
	t.Helper()
	b := search.Batch{Account: "a", State: search.State{Through: 1, Start: 1}}
	for i := range store.UID(200) {
		b.Docs = append(b.Docs, search.Doc{Mailbox: 1, UID: i + 1, Body: []byte("hello"), Fields: []search.HeaderField{{Name: "subject", Text: "s"}}})
	}
	if err := x.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

var query = search.Query{Mailbox: 1, Where: search.Body, Text: "hello"}

// A file that is damaged, or no index at all, is made anew, and nobody sees an error.
func TestADamagedFileIsMadeAnew(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"garbage":   func(b []byte) []byte { return []byte(strings.Repeat("no database ", 1000)) },
		"truncated": func(b []byte) []byte { return b[:len(b)/2/4096*4096] },
		"flipped": func(b []byte) []byte {
			for i := 4096; i < len(b); i += 512 {
				b[i] ^= 0xff
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "search.db")
			x := New(path, Options{})
			fill(t, x)
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			x = open(t, path)
			if _, err := x.States(t.Context()); err != nil {
				t.Errorf("states: %v", err)
			}
			if a, err := x.Find(t.Context(), "a", query); err == nil && len(a.Known) > 0 && len(a.Maybe) != len(a.Known) {
				t.Errorf("%d of %d", len(a.Maybe), len(a.Known))
			} else if err != nil && err != search.ErrNoAnswer {
				t.Errorf("find: %v", err)
			}
			states, err := x.States(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = x.Apply(t.Context(), search.Batch{Account: "a", From: states["a"], State: search.State{Through: 2, Start: 1}})
			if err == search.ErrChanged { // it was made anew just now
				err = x.Apply(t.Context(), search.Batch{Account: "a", State: search.State{Through: 2, Start: 1}})
			}
			if err != nil {
				t.Errorf("apply: %v", err)
			}
		})
	}
}

func TestAnotherVersionIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "search.db")
	x := New(path, Options{})
	fill(t, x)
	db, err := x.open(true)
	if err != nil {
		t.Fatal(err)
	}
	x.mu.RUnlock()
	if err := db.Update(t.Context(), func(c conn) error { return c.Exec(`UPDATE layout SET version = 999`) }); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, path)
	if s, err := x.States(t.Context()); err != nil || len(s) > 0 {
		t.Error(s, err)
	}
	fill(t, x)
	if a, err := x.Find(t.Context(), "a", query); err != nil || len(a.Maybe) != 200 {
		t.Error(a, err)
	}
}

func TestSegmentsAreFew(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "search.db"))
	s := search.State{}
	for i := range store.UID(700) {
		b := search.Batch{Account: "a", From: s, State: search.State{Through: s.Through + 1, Start: 1}}
		b.Docs = append(b.Docs, search.Doc{Mailbox: 1, UID: i + 1, Body: []byte("hello"), Fields: []search.HeaderField{{Name: "subject", Text: "s"}}})
		if err := x.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		s = b.State
	}
	db, err := x.open(true)
	if err != nil {
		t.Fatal(err)
	}
	defer x.mu.RUnlock()
	n := 0
	err = db.View(t.Context(), func(c conn) error {
		segs, err := segments(c, 1)
		n = len(segs)
		return err
	})
	if err != nil || n > 12 {
		t.Errorf("%d segments, %v", n, err)
	}
}

func FuzzSegment(f *testing.F) {
	uids, columns, _ := encode([]doc{{uid: 3, fields: []value{{name: "a", text: "hello"}}}, {uid: 9, long: true, fields: []value{{name: "a", cut: true}, {name: "a", text: "x"}}}})
	f.Add(uids, columns["a"], []byte("l"))
	f.Fuzz(func(t *testing.T, uids, data, what []byte) {
		docs, err := decodeUIDs(nil, uids)
		if err != nil {
			return
		}
		_ = column(data, len(docs), func(at int, _ []byte, _ bool) bool { _ = docs[at]; return true })
		_ = matches(data, len(docs), what, func(at int, _ bool) { _ = docs[at] })
	})
}

type conn = sqldb.Conn
