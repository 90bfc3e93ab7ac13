package packblob

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// manySmall is how many segments may be less than an eighth of what the next one is
// going to be: a full disk leaves them behind, and syncs that fail. Each one that is
// copied into larger ones was small, so nothing is copied for ever.
const manySmall = 16

// pick returns the complete segment of which least is needed, if that is less than
// half of it or if there are many small ones, or nil. On a full disk those go first
// that take no room to rewrite.
func (s *Store) pick() (*segment, error) {
	for {
		var g, smallest *segment
		small, n := s.nextSize()/8, 0
		s.mu.Lock()
		parked := s.parked()
		for _, at := range s.segs {
			if !at.sealed || parked[at.id] {
				continue
			}
			if 2*(at.live+at.kept) < at.end-blockSize && (g == nil || at.live+at.kept < g.live+g.kept) {
				g = at
			}
			if at.end < small {
				if n++; smallest == nil || at.end < smallest.end {
					smallest = at
				}
			}
		}
		if g == nil && n > manySmall {
			g = smallest
		}
		unknown := g != nil && g.kept == 0
		s.mu.Unlock()
		if !unknown {
			return g, nil
		}
		kept := int64(1) // so that it is known
		err := s.eachNote(g, func(x note) error {
			if x.kind == kindTouch || x.kind == kindDelete {
				if s.needed(g, x) != nil {
					kept += x.record
				}
			}
			return nil
		})
		if errors.Is(err, errIndexWrong) {
			err = s.reindex(g, g.end)
		}
		if errors.Is(err, errLost) {
			s.lose(g, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		g.kept = kept
		s.mu.Unlock()
	}
}

// needed returns a copy of a touch or a delete if it says something that is said
// nowhere else.
func (s *Store) needed(g *segment, x note) *item {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch x.kind {
	case kindTouch:
		if p, ok := s.index.get(x.hash); ok && p.seg != g.id && p.noted == seconds(x.stamp) {
			return &item{kind: kindTouch, hash: x.hash, young: x.stamp}
		}
	case kindDelete:
		if v := x.void(); v.seg != g.id && s.segs[v.seg] != nil {
			return deleteItem(x.hash, v)
		}
	}
	return nil
}

// rewriteStep is after how many bytes a rewriting pauses.
const rewriteStep = 256 << 10

// rewrite copies what is needed of a segment to the end of the log, and when that
// is durable drops the segment.
func (s *Store) rewrite(ctx context.Context, g *segment) error {
	s.mu.Lock()
	g.users++
	s.mu.Unlock()
	defer s.release(g)
	var wait []*batch
	err := s.eachNote(g, func(x note) error {
		b, n, err := s.copyRecord(g, x)
		if err != nil || b == nil {
			return err
		}
		if !slices.Contains(wait, b) {
			wait = append(wait, b)
		}
		if s.copied += n; s.copied < rewriteStep {
			return nil
		}
		err = s.waitAll(wait)
		if err == nil {
			err = s.pause(ctx, s.copied)
		}
		wait, s.copied = wait[:0], 0
		return err
	})
	if werr := s.waitAll(wait); err == nil {
		err = werr
	}
	if err != nil {
		s.mu.Lock()
		g.kept = 0 // looked at anew, with its index
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	left := g.live > 0 || s.parked()[g.id]
	s.mu.Unlock()
	if !left {
		s.drop(g)
		s.rewritten.Add(1)
	}
	return nil
}

// copyRecord queues a copy of a record if it is needed, and says how long it is.
func (s *Store) copyRecord(g *segment, x note) (*batch, int64, error) {
	if x.kind == kindTouch || x.kind == kindDelete {
		it := s.needed(g, x)
		if it == nil {
			return nil, 0, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return nil, 0, ErrClosed
		}
		return s.queue(it), x.record, nil
	}
	from := spot{g.id, x.at}
	s.mu.Lock()
	p, ok := s.index.get(x.hash)
	s.mu.Unlock()
	if !ok || p.spot != from {
		return nil, 0, nil
	}
	f, err := g.file()
	if err != nil {
		return nil, 0, err
	}
	payload, err := s.payload(f, g.tag, x.hash, p, true)
	if err != nil {
		if err = s.readError(x.hash, p, err); errors.Is(err, ErrDamaged) || errors.Is(err, blob.ErrUnreadable) {
			err = nil // the segment stays
		}
		return nil, 0, err
	}
	it := &item{kind: x.kind, hash: x.hash, size: p.size(), payload: payload, sum: checksum(payload), young: p.young, copyOf: &from}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0, ErrClosed
	}
	if p, ok := s.index.get(x.hash); !ok || p.spot != from {
		return nil, 0, nil
	}
	return s.queue(it), p.record, nil
}

// pause bounds the rate of a rewriting.
func (s *Store) pause(ctx context.Context, n int64) error {
	if s.rate < 0 {
		return ctx.Err()
	}
	timer := s.clock.NewTimer(time.Duration(n * int64(time.Second) / s.rate))
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return ErrClosed
	}
}
