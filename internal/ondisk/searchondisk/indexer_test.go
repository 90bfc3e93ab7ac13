package searchondisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/store/search"
	"github.com/mailkeel/mailkeel/store/search/ftsindex"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bench struct {
	*testing.T
	*store.Store
	x     *search.Indexer
	index *counted
	box   store.MailboxID
}

// counted counts Docs, and fails when it is told to.
type counted struct {
	*ftsindex.Index
	mu   sync.Mutex
	docs int
	asks int // places that Missing was asked about
	fail error
}

func (c *counted) Missing(ctx context.Context, id store.AccountID, places []search.Place) ([]search.Place, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks += len(places)
	return c.Index.Missing(ctx, id, places)
}

func (c *counted) Apply(ctx context.Context, b search.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	err := c.Index.Apply(ctx, b)
	if err == nil {
		c.docs += len(b.Docs)
	}
	return err
}

func newBench(t *testing.T) *bench {
	s := &store.Store{Backend: new(memstore.Backend), Blobs: new(memblob.Store)}
	x := ftsindex.New(filepath.Join(t.TempDir(), "search.db"), ftsindex.Options{})
	t.Cleanup(func() { x.Close() })
	b := &bench{T: t, Store: s, index: &counted{Index: x}}
	b.restart()
	f, err := s.As("a").Folder(t.Context(), "INBOX")
	b.must(err)
	b.box = f.ID
	return b
}

// restart forgets all but what the store and the index keep.
func (b *bench) restart() { b.x = &search.Indexer{Store: b.Store, Index: b.index, Rest: -1} }

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) put(texts ...string) {
	b.Helper()
	for _, text := range texts {
		w, err := b.Blobs.Create(b.Context())
		b.must(err)
		io.WriteString(w, "Subject: s "+text+"\r\n\r\n"+text+"\r\n")
		info, err := w.Commit()
		b.must(err)
		_, err = b.As("a").Append(b.Context(), b.box, store.Append{Blob: info})
		b.must(err)
	}
}

func (b *bench) catchUp() {
	b.Helper()
	b.must(b.x.CatchUp(b.Context(), "a"))
}

// knows compares what the index knows of a mailbox, and how many have a subject.
func (b *bench) knows(box store.MailboxID, subject string, known, sure int) {
	b.Helper()
	a, err := b.x.Find(b.Context(), "a", search.Query{Mailbox: box, Where: search.Field, Field: "subject", Text: subject})
	if err != nil && !errors.Is(err, search.ErrNoAnswer) {
		b.Fatal(err)
	}
	if len(a.Known) != known || len(a.Sure) != sure {
		b.Errorf("of %q %v are known and %v found, want %d and %d", subject, a.Known, a.Sure, known, sure)
	}
}

func TestAnIndexIsMadeWhenSomebodySearches(t *testing.T) {
	b := newBench(t)
	b.put("one", "two")
	b.must(b.x.CatchUp(t.Context()))
	if b.index.docs != 0 {
		t.Errorf("%d were indexed for nobody", b.index.docs)
	}
	b.knows(b.box, "one", 0, 0)
	b.must(b.x.CatchUp(t.Context()))
	b.knows(b.box, "one", 2, 1)
	b.put("one more")
	b.knows(b.box, "one", 2, 1) // it lags, and says so
	b.must(b.x.CatchUp(t.Context()))
	b.knows(b.box, "one", 3, 2)
}

func TestIndexingGoesOnAfterARestart(t *testing.T) {
	b := newBench(t)
	for i := range 300 {
		b.put(fmt.Sprint("number ", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.x.Busy = func() bool {
		if b.index.docs > 100 {
			cancel() // in the middle
		}
		return false
	}
	if err := b.x.CatchUp(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	half := b.index.docs
	b.restart()
	b.catchUp()
	b.knows(b.box, "number", 300, 300)
	if b.index.docs != 300 || half >= 300 {
		t.Errorf("%d and then %d docs were made for 300 messages", half, b.index.docs)
	}
	b.restart()
	b.catchUp()
	if _, _, err := b.As("a").SetFlags(t.Context(), b.box, store.FlagChange{Add: []string{`\Flagged`}}, 1, 2, 3); err != nil {
		t.Fatal(err)
	}
	b.catchUp()
	if b.index.docs != 300 {
		t.Errorf("%d docs were made for 300 messages", b.index.docs)
	}
}

// TestNewFlagsAreNothingToIndex: what people read all day is not looked for in the
// index again and again.
func TestNewFlagsAreNothingToIndex(t *testing.T) {
	b := newBench(t)
	b.put("one", "two", "three")
	seen := func(uids ...store.UID) {
		t.Helper()
		for _, uid := range uids { // each a change of its own
			_, _, err := b.As("a").SetFlags(t.Context(), b.box, store.FlagChange{Add: []string{store.FlagSeen}}, uid)
			b.must(err)
		}
	}
	b.catchUp()
	b.index.asks = 0
	seen(1, 2, 3)
	b.catchUp()
	if b.index.asks != 0 {
		t.Errorf("the index was asked about %d messages that it had", b.index.asks)
	}
	b.put("four")
	seen(4)
	b.catchUp()
	if b.index.asks != 1 || b.index.docs != 4 {
		t.Errorf("asked about %d, %d docs", b.index.asks, b.index.docs)
	}
	// One that came before, and is changed before it was seen by a new indexer.
	b.put("five")
	b.restart()
	seen(5)
	b.catchUp()
	b.knows(b.box, "s", 5, 5)
}

func TestMessagesThatMoveAndGo(t *testing.T) {
	b := newBench(t)
	b.put("one", "two", "three", "four")
	b.catchUp()
	a := b.As("a")
	to, err := a.Create(t.Context(), "Other", "")
	b.must(err)
	_, err = a.Move(t.Context(), b.box, to.ID, 1)
	b.must(err)
	_, err = a.Expunge(t.Context(), b.box, 2)
	b.must(err)
	b.catchUp()
	b.knows(b.box, "o", 2, 1) // written anew without the two
	b.knows(to.ID, "one", 1, 1)
	b.must(a.Delete(t.Context(), to.ID))
	b.catchUp()
	b.knows(to.ID, "one", 0, 0)
}

func TestADeletedAccountIsForgotten(t *testing.T) {
	b := newBench(t)
	b.put("one")
	b.catchUp()
	for more := true; more; {
		var err error
		more, err = b.DeleteAccount(t.Context(), "a", 100)
		b.must(err)
	}
	b.catchUp()
	if s, err := b.index.States(t.Context()); err != nil || len(s) != 0 {
		t.Error(s, err)
	}
}

// Beyond the horizon nobody says what has gone, so the account is indexed anew. So it
// is when the store was put back to an earlier time.
func TestTheHorizon(t *testing.T) {
	b := newBench(t)
	b.put("one", "two", "three")
	b.catchUp()
	_, err := b.As("a").Expunge(t.Context(), b.box, 1)
	b.must(err)
	b.put("four")
	b.must(b.Forget(t.Context(), "a", 1<<40))
	b.put("five")
	b.restart()
	b.catchUp()
	b.knows(b.box, "s", 4, 4)

	states, err := b.index.States(t.Context())
	b.must(err)
	future := states["a"]
	future.Through += 1000
	b.must(b.index.Apply(t.Context(), search.Batch{Account: "a", From: states["a"], State: future}))
	b.restart()
	b.knows(b.box, "s", 0, 0) // nothing is believed of it
	b.catchUp()
	b.knows(b.box, "s", 4, 4)
}

func TestAnotherProcessIndexesToo(t *testing.T) {
	b := newBench(t)
	b.put("one", "two")
	b.catchUp()
	other := &search.Indexer{Store: b.Store, Index: b.index, Rest: -1}
	b.must(other.CatchUp(t.Context(), "a"))
	b.put("three")
	b.must(other.CatchUp(t.Context()))
	b.put("four")
	b.catchUp()
	b.knows(b.box, "s", 4, 4)
	if b.index.docs != 4 {
		t.Errorf("%d docs", b.index.docs)
	}
}

func TestAFailureIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.put("one")
	b.index.fail = errors.New("full")
	if err := b.x.CatchUp(t.Context(), "a"); !errors.Is(err, b.index.fail) {
		t.Error(err)
	}
	b.index.fail = nil
	b.catchUp()
	b.knows(b.box, "one", 1, 1)
}

// Run indexes what is wanted at once, and what comes a little later.
func TestRun(t *testing.T) {
	b := newBench(t)
	clock := new(testclock.Clock)
	b.x.Clock = clock
	b.put("one", "two")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.x.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	until := func(n int) {
		for {
			b.index.mu.Lock()
			is := b.index.docs
			b.index.mu.Unlock()
			if is >= n {
				return
			}
			clock.Advance(settleTime)
			if ctx.Err() != nil {
				t.Fatal("never")
			}
		}
	}
	b.knows(b.box, "one", 0, 0)
	until(2)
	b.put("three")
	until(3)
}

const settleTime = 5e9
