package imap

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// slowViews is a Backend whose Views are counted, and can be held.
type slowViews struct {
	store.Backend
	n    atomic.Int32
	hold chan struct{} // nil lets them pass
}

func (s *slowViews) View(ctx context.Context, fn func(store.Tx) error) error {
	s.n.Add(1)
	if s.hold != nil {
		<-s.hold
	}
	return s.Backend.View(ctx, fn)
}

// Twenty sessions that want to know what is now, while one reads, read once more
// together.
func TestOneReadingServesAllWhoWait(t *testing.T) {
	b := &slowViews{Backend: new(memstore.Backend)}
	s := &store.Store{Backend: b, Blobs: new(memblob.Store)}
	put(t, s, "a1", inbox, "1\n")
	v, _ := selectIn(t, &views{}, s, "a1", "INBOX")
	hold := make(chan struct{})
	b.hold = hold
	b.n.Store(0)
	base := v.asked.Load()
	var wg sync.WaitGroup
	var shots [21]*snapshot
	for i := range shots {
		wg.Go(func() {
			var err error
			if shots[i], err = v.refresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
		for v.asked.Load() < base+uint64(i)+1 || b.n.Load() == 0 {
			runtime.Gosched()
		}
	}
	close(hold)
	wg.Wait()
	if n := b.n.Load(); n > 2 {
		t.Errorf("%d readings", n)
	}
	for _, s := range shots {
		if s != shots[0] {
			t.Error("they differ")
		}
	}
}
