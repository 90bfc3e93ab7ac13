// Package searchtest checks implementations of search.Index.
package searchtest

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// Options say how to make the index under test.
type Options struct {
	// New returns an empty index. It registers its own cleanup with t.
	New func(t *testing.T) search.Index
	// Reopen returns the index again after it was closed. If nil, those tests are
	// skipped.
	Reopen func(t *testing.T, x search.Index) search.Index
}

type bench struct {
	*testing.T
	search.Index
	o     Options
	state map[store.AccountID]search.State
	docs  map[search.Place]search.Doc
}

// Run runs the whole suite as subtests of t.
func Run(t *testing.T, o Options) {
	for _, tt := range []struct {
		name string
		fn   func(*bench)
	}{
		{"AnEmptyIndexHasNoAnswer", empty},
		{"FieldsAreFoundByNameAndText", fields},
		{"TextsAreFoundAnywhereInThem", texts},
		{"WhatHasGoneIsForgotten", gone},
		{"AMailboxIsForgottenAsAWhole", boxes},
		{"AnAccountIsForgottenAsAWhole", drop},
		{"AnAccountSeesOnlyItsMailboxes", foreign},
		{"WhatIsThereIsNotMissing", missing},
		{"ABatchGoesOnFromTheOneBefore", stale},
		{"RangesNarrowAnswers", ranges},
		{"LongBodiesMustBeRead", long},
		{"WhatWasAppliedIsThereAfterReopening", reopened},
		{"RandomDocsAreFoundAsByReading", model},
		{"AnswersWhileIndexing", together},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.fn(&bench{t, o.New(t), o, map[store.AccountID]search.State{}, map[search.Place]search.Doc{}})
		})
	}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// apply applies docs of an account, and what has gone.
func (b *bench) apply(id store.AccountID, batch search.Batch) {
	b.Helper()
	batch.Account, batch.From = id, b.state[id]
	batch.State = search.State{Through: batch.From.Through + 1, Start: 1}
	b.must(b.Apply(b.Context(), batch))
	b.state[id] = batch.State
	for _, d := range batch.Docs {
		if at := (search.Place{Mailbox: d.Mailbox, UID: d.UID}); b.docs[at].UID == 0 {
			b.docs[at] = d
		}
	}
	for _, p := range batch.Gone {
		delete(b.docs, p)
	}
	for _, box := range batch.Boxes {
		for p := range b.docs {
			if p.Mailbox == box {
				delete(b.docs, p)
			}
		}
	}
}

func document(box store.MailboxID, uid store.UID, body string, fields ...string) search.Doc {
	d := search.Doc{Mailbox: box, UID: uid, Body: []byte(body)}
	var lines []string
	for i := 0; i+1 < len(fields); i += 2 {
		d.Fields = append(d.Fields, search.HeaderField{Name: fields[i], Text: fields[i+1]})
		lines = append(lines, fields[i]+": "+fields[i+1])
	}
	d.Header = []byte(strings.Join(lines, "\n"))
	return d
}

func matches(d *search.Doc, q *search.Query) bool {
	switch q.Where {
	case search.Field:
		return slices.ContainsFunc(d.Fields, func(f search.HeaderField) bool {
			return f.Name == q.Field && strings.Contains(f.Text, q.Text)
		})
	case search.Header:
		return slices.ContainsFunc(strings.Split(string(d.Header), "\n"), func(l string) bool { return strings.Contains(l, q.Text) })
	}
	return slices.ContainsFunc(strings.Split(string(d.Body), "\n"), func(l string) bool { return strings.Contains(l, q.Text) })
}

// ask asks, and compares with the docs. decided says that it must not leave anything
// open.
func (b *bench) ask(id store.AccountID, q search.Query) search.Answer {
	b.Helper()
	a, err := b.Find(b.Context(), id, q)
	if errors.Is(err, search.ErrNoAnswer) {
		return a
	}
	b.must(err)
	for _, list := range [][]store.UID{a.Known, a.Sure, a.Maybe} {
		for i := 1; i < len(list); i++ {
			if list[i] <= list[i-1] {
				b.Fatalf("%+v: %v is not in order", q, list)
			}
		}
	}
	last := q.Last
	if last == 0 {
		last = 1<<32 - 1
	}
	has := func(list []store.UID, u store.UID) bool { _, ok := slices.BinarySearch(list, u); return ok }
	for p, d := range b.docs {
		if p.Mailbox != q.Mailbox || p.UID < q.First || p.UID > last {
			continue
		}
		want := matches(&d, &q)
		switch {
		case !has(a.Known, p.UID):
			b.Errorf("%+v: %d is not known", q, p.UID)
		case has(a.Sure, p.UID):
			if !want {
				b.Errorf("%+v: %d is found and does not match", q, p.UID)
			}
		case has(a.Maybe, p.UID):
		case want:
			b.Errorf("%+v: %d is not found", q, p.UID)
		case d.Long && q.Where == search.Body:
			b.Errorf("%+v: of %d there is more than is known", q, p.UID)
		}
	}
	return a
}

func empty(b *bench) {
	for _, w := range []search.Where{search.Field, search.Body, search.Header} {
		a, err := b.Find(b.Context(), "a", search.Query{Mailbox: 1, Where: w, Field: "subject", Text: "hello"})
		if !errors.Is(err, search.ErrNoAnswer) && (err != nil || len(a.Known) > 0) {
			b.Errorf("%v, %v", a, err)
		}
	}
	states, err := b.States(b.Context())
	b.must(err)
	if len(states) > 0 {
		b.Error(states)
	}
	b.must(b.Drop(b.Context(), "a"))
}

func fields(b *bench) {
	b.apply("a", search.Batch{Docs: []search.Doc{
		document(1, 3, "", "subject", "hello world", "x-id", "7", "received", "one", "received", "two"),
		document(1, 5, "", "subject", "", "x-id", "77"),
		document(1, 9, "", "subject", strings.Repeat("long ", 2000)+"end", "to", `"q" 'x' %_\ `+"\u00fc\u4e16"),
	}})
	for _, tt := range []struct {
		field, text string
		sure        []store.UID
	}{
		{"subject", "lo wo", []store.UID{3}}, {"subject", "", []store.UID{3, 5, 9}}, {"x-id", "7", []store.UID{3, 5}}, {"x-id", "77", []store.UID{5}},
		{"received", "one", []store.UID{3}}, {"received", "two", []store.UID{3}}, {"received", "onetwo", nil}, {"none", "", nil}, {"to", `"q"`, []store.UID{9}},
		{"to", "\u00fc\u4e16", []store.UID{9}}, {"to", `%_\`, []store.UID{9}}, {"to", "' or 1", nil}, {"subject", "x-id", nil},
	} {
		a := b.ask("a", search.Query{Mailbox: 1, Where: search.Field, Field: tt.field, Text: tt.text})
		if !slices.Equal(a.Sure, tt.sure) {
			b.Errorf("%s %q: %v, want %v", tt.field, tt.text, a.Sure, tt.sure)
		}
		if len(a.Maybe) > 1 {
			b.Errorf("%s %q leaves open %v", tt.field, tt.text, a.Maybe)
		}
	}
}

func texts(b *bench) {
	b.apply("a", search.Batch{Docs: []search.Doc{
		document(1, 1, "the quick brown fox\njumps over\nthe lazy dog", "subject", "foxes"),
		document(1, 2, "r\u00e9sum\u00e9 \u4e16\u754c\u4eba\u6c11 \"quoted\" 100%_\\ 'x'"),
		document(1, 3, ""),
	}})
	found := 0
	for _, text := range []string{"quick", "ick bro", "fox", "fox\u00a0", "over the", "dog", "sum\u00e9 \u4e16", "\u754c\u4eba\u6c11", `"quoted"`, `%_\`, "'x'", "' or", "subject: fox", "foxes", "absent", "ab", "x", strings.Repeat("quick", 300)} {
		for _, w := range []search.Where{search.Body, search.Header} {
			a := b.ask("a", search.Query{Mailbox: 1, Where: w, Text: text})
			found += len(a.Sure) + len(a.Maybe)
		}
	}
	if found == 0 {
		b.Error("nothing was found")
	}
	if a := b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "absent"}); len(a.Known) == 3 && len(a.Maybe) > 0 {
		b.Errorf("what no message has may be in %v", a.Maybe)
	}
}

func many(box store.MailboxID, from, n int) (docs []search.Doc) {
	for i := range n {
		docs = append(docs, document(box, store.UID(from+i), fmt.Sprintf("body number%dx here", from+i), "subject", fmt.Sprintf("topic%d", (from+i)%7)))
	}
	return docs
}

func gone(b *bench) {
	for i := range 20 {
		b.apply("a", search.Batch{Docs: many(1, 1+100*i, 40)})
	}
	var dead []search.Place
	for i := range 1000 {
		if dead = append(dead, search.Place{Mailbox: 1, UID: store.UID(2 * i)}); len(dead) == 100 {
			b.apply("a", search.Batch{Gone: dead, Docs: many(1, 5000+i, 1)})
			dead = nil
		}
	}
	b.ask("a", search.Query{Mailbox: 1, Where: search.Field, Field: "subject", Text: "topic3"})
	b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "number101x"})
	b.apply("a", search.Batch{Gone: []search.Place{{Mailbox: 1, UID: 2}, {Mailbox: 7, UID: 1}}}) // again, and of nowhere
	// With all it had, too.
	dead = nil
	for p := range b.docs {
		dead = append(dead, p)
	}
	b.apply("a", search.Batch{Gone: dead})
	if a := b.ask("a", search.Query{Mailbox: 1, Where: search.Field, Field: "subject", Text: ""}); len(a.Sure) > 0 {
		b.Errorf("%v are left", a.Sure)
	}
}

func boxes(b *bench) {
	b.apply("a", search.Batch{Docs: append(many(1, 1, 100), many(2, 1, 100)...)})
	b.apply("a", search.Batch{Boxes: []store.MailboxID{1, 9}})
	b.ask("a", search.Query{Mailbox: 2, Where: search.Field, Field: "subject", Text: "topic3"})
	if a, err := b.Find(b.Context(), "a", search.Query{Mailbox: 1, Where: search.Field, Field: "subject"}); !errors.Is(err, search.ErrNoAnswer) && len(a.Known) > 0 {
		b.Errorf("%v, %v", a, err)
	}
}

func drop(b *bench) {
	b.apply("a", search.Batch{Docs: append(many(1, 1, 10), many(2, 1, 10)...)})
	b.apply("b", search.Batch{Docs: many(3, 1, 10)})
	b.must(b.Drop(b.Context(), "a"))
	states, err := b.States(b.Context())
	b.must(err)
	if len(states) != 1 || states["b"] != b.state["b"] {
		b.Error(states)
	}
	for _, box := range []store.MailboxID{1, 2} {
		if a, err := b.Find(b.Context(), "a", search.Query{Mailbox: box, Where: search.Field, Field: "subject"}); !errors.Is(err, search.ErrNoAnswer) && len(a.Known) > 0 {
			b.Errorf("%v, %v", a, err)
		}
	}
	clear(b.docs)
	delete(b.state, "a")
	b.apply("a", search.Batch{Docs: many(1, 1, 10)})
	b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "number7x"})
}

func foreign(b *bench) {
	b.apply("a", search.Batch{Docs: many(1, 1, 10)})
	b.apply("b", search.Batch{Docs: many(2, 1, 10)})
	for _, w := range []search.Where{search.Field, search.Body} {
		if a, err := b.Find(b.Context(), "a", search.Query{Mailbox: 2, Where: w, Field: "subject", Text: "topic"}); !errors.Is(err, search.ErrNoAnswer) && len(a.Known)+len(a.Sure)+len(a.Maybe) > 0 {
			b.Errorf("%v, %v", a, err)
		}
	}
}

func missing(b *bench) {
	all := []search.Place{{Mailbox: 1, UID: 5}, {Mailbox: 1, UID: 7}, {Mailbox: 2, UID: 5}}
	got, err := b.Missing(b.Context(), "a", all)
	b.must(err)
	if !slices.Equal(got, all) {
		b.Error(got)
	}
	b.apply("a", search.Batch{Docs: many(1, 5, 1)})
	b.apply("a", search.Batch{Docs: []search.Doc{document(1, 5, "other"), document(1, 6, "x"), document(1, 6, "y")}}) // there, and twice
	got, err = b.Missing(b.Context(), "a", all)
	b.must(err)
	if !slices.Equal(got, all[1:]) {
		b.Error(got)
	}
	b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "number5x"})
	b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "other"})
}

func stale(b *bench) {
	b.apply("a", search.Batch{Docs: many(1, 1, 1)})
	err := b.Apply(b.Context(), search.Batch{Account: "a", State: search.State{Through: 9, Start: 1}, Docs: many(1, 2, 1)})
	if !errors.Is(err, search.ErrChanged) {
		b.Error(err)
	}
	states, err := b.States(b.Context())
	b.must(err)
	if states["a"] != b.state["a"] {
		b.Error(states)
	}
	if got, err := b.Missing(b.Context(), "a", []search.Place{{Mailbox: 1, UID: 2}}); err != nil || len(got) != 1 {
		b.Error("half of a batch is there:", got, err)
	}
}

func ranges(b *bench) {
	b.apply("a", search.Batch{Docs: many(1, 1, 100)})
	for _, q := range []search.Query{{Where: search.Field, Field: "subject", Text: "topic3"}, {Where: search.Body, Text: "number"}} {
		q.Mailbox, q.First, q.Last = 1, 20, 30
		a := b.ask("a", q)
		for _, u := range slices.Concat(a.Sure, a.Maybe) {
			if u < 20 || u > 30 {
				b.Errorf("%+v finds %d", q, u)
			}
		}
	}
}

func long(b *bench) {
	d := document(1, 1, "only the beginning")
	d.Long = true
	b.apply("a", search.Batch{Docs: append(many(1, 2, 5), d)})
	b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "the end"})
	b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "beginning"})
}

func reopened(b *bench) {
	if b.o.Reopen == nil {
		b.Skip("it cannot be reopened")
	}
	b.apply("a", search.Batch{Docs: many(1, 1, 100)})
	b.must(b.Close())
	b.Index = b.o.Reopen(b.T, b.Index)
	states, err := b.States(b.Context())
	b.must(err)
	if states["a"] != b.state["a"] {
		b.Error(states)
	}
	if a := b.ask("a", search.Query{Mailbox: 1, Where: search.Field, Field: "subject", Text: "topic3"}); len(a.Sure) == 0 {
		b.Error("nothing is found")
	}
	b.apply("a", search.Batch{Docs: many(1, 101, 100)})
	b.ask("a", search.Query{Mailbox: 1, Where: search.Body, Text: "number150x"})
}

func model(b *bench) {
	r := rand.New(rand.NewSource(1))
	letters := []rune("ab c\u00e4\u4e16\"'")
	word := func(n int) string {
		var s strings.Builder
		for range r.Intn(n) {
			s.WriteRune(letters[r.Intn(len(letters))])
		}
		return s.String()
	}
	next := map[store.MailboxID]store.UID{}
	for range 60 {
		var batch search.Batch
		for range r.Intn(30) {
			box := store.MailboxID(1 + r.Intn(3))
			next[box] += store.UID(1 + r.Intn(3))
			batch.Docs = append(batch.Docs, document(box, next[box], word(40)+"\n"+word(40), "subject", word(20), "x-"+string(letters[r.Intn(2)]), word(5), "subject", word(3)))
		}
		for p := range b.docs {
			if r.Intn(20) == 0 {
				batch.Gone = append(batch.Gone, p)
			}
		}
		b.apply("a", batch)
		for range 5 {
			b.ask("a", search.Query{Mailbox: store.MailboxID(1 + r.Intn(3)), Where: search.Where(r.Intn(3)), Field: []string{"subject", "x-a", "x-b"}[r.Intn(3)], Text: word(5)})
		}
	}
}

func together(b *bench) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				a, err := b.Find(b.Context(), "a", search.Query{Mailbox: 1, Where: search.Field, Field: "subject", Text: "topic3"})
				if err != nil && !errors.Is(err, search.ErrNoAnswer) {
					b.Error(err)
				}
				want := 0
				for _, u := range a.Known {
					if u%7 == 3 {
						want++
					}
				}
				if len(a.Sure) != want {
					b.Errorf("%d of %d are found", len(a.Sure), want)
				}
			}
		})
	}
	defer wg.Wait()
	defer close(done)
	for i := range 30 {
		b.apply("a", search.Batch{Docs: many(1, 1+10*i, 10)})
	}
}
