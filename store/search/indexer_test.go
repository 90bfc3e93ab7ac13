package search_test

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/store/search"
)

// slow is an Index whose Apply takes a while, and that notes when.
type slow struct {
	mu       sync.Mutex
	applied  []span
	messages int
}

type span struct{ from, to time.Time }

const step = 100 * time.Millisecond

func (s *slow) Apply(_ context.Context, b search.Batch) error {
	begin := time.Now()
	time.Sleep(step)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied, s.messages = append(s.applied, span{begin, time.Now()}), s.messages+len(b.Docs)
	return nil
}

func (s *slow) so() (applied []span, messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied, s.messages
}

func (s *slow) Find(context.Context, store.AccountID, search.Query) (search.Answer, error) {
	return search.Answer{}, search.ErrNoAnswer
}
func (s *slow) States(context.Context) (map[store.AccountID]search.State, error) { return nil, nil }
func (s *slow) Missing(_ context.Context, _ store.AccountID, ps []search.Place) ([]search.Place, error) {
	return ps, nil
}
func (s *slow) Drop(context.Context, store.AccountID) error { return nil }
func (s *slow) Close() error                                { return nil }

// TestIndexingLetsOthersWork: it takes a quarter of the time at most, and while the server
// is busy it takes a step in ten seconds, so that the index is there one day all the same.
func TestIndexingLetsOthersWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &store.Store{Backend: new(memstore.Backend), Blobs: new(memblob.Store)}
		w, err := st.Blobs.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "Subject: x\r\n\r\nsome text\r\n")
		info, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		ann := st.As("ann")
		inbox, err := ann.Folder(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		const n = 2000
		ms := make([]store.Append, n)
		for i := range ms {
			ms[i].Blob = info
		}
		if _, err := ann.Append(t.Context(), inbox.ID, ms...); err != nil {
			t.Fatal(err)
		}
		var busy atomic.Bool
		index := new(slow)
		x := &search.Indexer{Store: st, Index: index, Busy: busy.Load}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { x.Run(ctx) })
		defer running.Wait()
		defer cancel()

		synctest.Wait()
		if applied, _ := index.so(); len(applied) > 0 {
			t.Error("it is indexed before anybody searches")
		}
		busy.Store(true)
		if _, err := x.Find(ctx, "ann", search.Query{Mailbox: inbox.ID, Text: "x"}); err != search.ErrNoAnswer {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		applied, _ := index.so()
		if len(applied) < 2 || len(applied) > 8 {
			t.Errorf("%d steps in a minute in which the server was busy", len(applied))
		}
		busy.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		applied, messages := index.so()
		if messages != n {
			t.Errorf("%d of %d messages are indexed", messages, n)
		}
		for i := 1; i < len(applied); i++ {
			if rest := applied[i].from.Sub(applied[i-1].to); rest < 3*step {
				t.Errorf("step %d begins %v after the one before, which took %v", i, rest, step)
			}
		}
	})
}
