package packblob

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

var errIndexWrong = errors.New("packblob: index file is damaged")

// keep completes segments and rewrites them, until Close.
func (s *Store) keep() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.work:
		}
		if err := s.upkeep(context.Background()); err != nil && !errors.Is(err, ErrClosed) {
			s.log.Warn("packblob: upkeep failed and is tried again later", "err", err)
		}
	}
}

// wake gives the keeper something to do.
func (s *Store) wake() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

func (s *Store) upkeep(ctx context.Context) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	err := s.sealAll()
	for err == nil {
		g, kerr := s.pick()
		if g == nil || kerr != nil {
			return kerr
		}
		err = s.rewrite(ctx, g)
		if err == nil {
			err = s.sealAll()
		}
	}
	return err
}

// sealAll completes the segments that are not written any more.
func (s *Store) sealAll() (err error) {
	s.mu.Lock()
	list := s.toSeal
	s.toSeal = nil
	s.mu.Unlock()
	for i, g := range list {
		if err = s.seal(g); err != nil {
			s.mu.Lock()
			s.toSeal = append(s.toSeal, list[i:]...)
			s.mu.Unlock()
			return err
		}
	}
	return nil
}

// seal writes the rest of a segment's index and gives back the room behind its end.
func (s *Store) seal(g *segment) error {
	s.mu.Lock()
	end := g.end
	s.mu.Unlock()
	keep := max(end, g.keep)
	if keep == blockSize { // nothing was ever written to it
		s.drop(g)
		s.release(g)
		return nil
	}
	f, err := g.file()
	if err != nil {
		return err
	}
	if err := f.Truncate(keep); err != nil {
		return err
	}
	g.size = keep
	if g.book.err == nil {
		err := g.book.write(end, true)
		if err == nil {
			err = g.book.sync()
		}
		if err != nil {
			s.log.Warn("packblob: an index was not written and is made again", "segment", g.id, "err", err)
		}
	}
	g.book.close()
	if g.book.err != nil {
		if err := s.reindex(g, end); err != nil {
			return err
		}
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	g.book.notes = nil
	s.mu.Lock()
	g.sealed = true
	s.mu.Unlock()
	s.release(g)
	s.wake() // there may be something to rewrite now
	return nil
}

// reindex makes an index file from the segment.
func (s *Store) reindex(g *segment, end int64) error {
	f, err := g.file()
	if err != nil {
		return err
	}
	book := &notebook{fs: s.fs, path: indexPath(g.path) + ".tmp", tag: g.tag, upTo: blockSize}
	defer book.close()
	_, err = scan(f, g.tag, blockSize, end, false, func(x note) {
		book.add(x)
		if to := int64(x.at)*8 + noteRecord(x); x.kind != kindDamaged && book.due(to) {
			_ = book.write(to, false) // the error stays with book
		}
	})
	if err == nil {
		err = book.write(end, true)
	}
	if err == nil {
		err = book.sync()
	}
	if err == nil {
		err = s.fs.Rename(book.path, indexPath(g.path))
	}
	if err != nil {
		_ = s.fs.Remove(book.path)
	}
	return err
}

// eachNote reads the index of a complete segment.
func (s *Store) eachNote(g *segment, fn func(note) error) error {
	f, err := s.fs.OpenFile(indexPath(g.path), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for off, sealed := int64(0), false; !sealed; {
		c, notes, ok, err := readChunk(f, off)
		if err != nil {
			return err
		}
		if !ok {
			return errIndexWrong
		}
		for ; len(notes) > 0; notes = notes[noteSize:] {
			if err := fn(decodeNote(notes)); err != nil {
				return err
			}
		}
		off += chunkHead + int64(c.count)*noteSize
		sealed = c.sealed
	}
	return nil
}

// pick returns a complete segment of which less than half is needed, or nil.
func (s *Store) pick() (*segment, error) {
	for {
		var g *segment
		s.mu.Lock()
		for _, at := range s.segs {
			if at.sealed && !at.parked && 2*(at.live+at.kept) < at.end-blockSize && (g == nil || at.id < g.id) {
				g = at
			}
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
					kept += noteRecord(x)
				}
			}
			return nil
		})
		if errors.Is(err, errIndexWrong) {
			err = s.reindex(g, g.end)
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
	step := int64(0)
	err := s.eachNote(g, func(x note) error {
		b, n, err := s.copyRecord(g, x)
		if err != nil || b == nil {
			return err
		}
		if !slices.Contains(wait, b) {
			wait = append(wait, b)
		}
		if step += n; step < rewriteStep {
			return nil
		}
		err = s.waitAll(wait)
		if err == nil {
			err = s.pause(ctx, step)
		}
		wait, step = wait[:0], 0
		return err
	})
	if werr := s.waitAll(wait); err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	left := g.live > 0 || g.parked
	g.parked = left
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
		return s.queue(it), noteRecord(x), nil
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
		if err = s.readError(x.hash, p, err); errors.Is(err, ErrDamaged) {
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
	return s.queue(it), p.record(), nil
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
