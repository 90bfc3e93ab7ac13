package smtp

import (
	"context"
	"sync"
)

// flow counts transactions. The zero value is ready.
type flow struct {
	mu    sync.Mutex
	now   int           // in progress
	begun uint64        // ever
	rest  chan struct{} // closed when now becomes zero; nil if nobody waits
}

func (f *flow) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	f.begun++
}

func (f *flow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now--; f.now == 0 && f.rest != nil {
		close(f.rest)
		f.rest = nil
	}
}

// Settled returns when no client is in the middle of a transaction, from MAIL until
// the answer to its content, and how many there have been so far: a test that wants
// to know that nothing is under way asks again, until that number stands still. It
// returns ctx's error if ctx ends first.
func (s *Server) Settled(ctx context.Context) (transactions uint64, err error) {
	for {
		s.flow.mu.Lock()
		now, begun := s.flow.now, s.flow.begun
		if now > 0 && s.flow.rest == nil {
			s.flow.rest = make(chan struct{})
		}
		rest := s.flow.rest
		s.flow.mu.Unlock()
		if now == 0 {
			return begun, nil
		}
		select {
		case <-rest:
		case <-ctx.Done():
			return begun, ctx.Err()
		}
	}
}
