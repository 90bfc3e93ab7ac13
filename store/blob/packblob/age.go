package packblob

import (
	"context"
	"fmt"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// Touch is durable when it returns, unless the ages on disk are near enough.
func (s *Store) Touch(ctx context.Context, refs ...blob.Ref) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := s.clock.Now().UnixNano()
	var wait []*batch
	err := func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return ErrClosed
		}
		for _, ref := range refs {
			h, ok := parseRef(ref)
			if !ok {
				return fmt.Errorf("packblob: %.80q: %w", string(ref), blob.ErrNotFound)
			}
			p, ok := s.index.get(h)
			if !ok {
				return s.missing(h)
			}
			if b := s.renew(h, p, now); b != nil && (len(wait) == 0 || wait[len(wait)-1] != b) {
				wait = append(wait, b)
			}
		}
		return nil
	}()
	if werr := s.waitAll(wait); err == nil {
		err = werr
	}
	return err
}

func (s *Store) waitAll(batches []*batch) (err error) {
	for _, b := range batches {
		if werr := s.wait(b); err == nil {
			err = werr
		}
	}
	return err
}

// renew makes a blob young, and returns what to wait for. The caller holds mu.
func (s *Store) renew(h hash, p place, now int64) *batch {
	p.young = now
	s.index.set(h, p)
	if now <= int64(p.noted)*int64(time.Second)+int64(slack) {
		return nil
	}
	return s.queue(&item{kind: kindTouch, hash: h, young: now})
}

// DeleteOlder writes records that say so, and returns when they are durable. If the
// disk is full they are not, but blobs go nevertheless, so that there is room
// again: a start may then bring some of them back, which nothing names.
func (s *Store) DeleteOlder(ctx context.Context, before time.Time, refs ...blob.Ref) (n int, err error) {
	var wait []*batch
	var large []hash
	old := before.UnixNano()
	for i, ref := range refs {
		if i%100 == 0 {
			if err = ctx.Err(); err != nil {
				break
			}
		}
		h, ok := parseRef(ref)
		if !ok {
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			err = ErrClosed
			break
		}
		p, ok := s.index.get(h)
		if ok && p.young < old {
			s.forget(h)
			n++
			if isLarge(p.kind) {
				large = append(large, h)
			}
			if b := s.queue(deleteItem(h, p.spot)); len(wait) == 0 || wait[len(wait)-1] != b {
				wait = append(wait, b)
			}
		}
		s.mu.Unlock()
	}
	werr := s.waitAll(wait)
	if noSpace(werr) {
		s.log.Warn("packblob: the disk is too full to note which blobs were deleted", "blobs", n, "err", werr)
		werr = nil
	}
	if err == nil {
		err = werr
	}
	if werr == nil {
		for _, h := range large {
			s.removeLarge(h)
		}
	}
	if n > 0 {
		s.wake()
	}
	return n, err
}
