package packblob

import (
	"context"
	"errors"
	"os"
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
		if err := s.upkeep(context.Background(), false); err != nil && !errors.Is(err, ErrClosed) {
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

// upkeep completes and rewrites segments. With now, what could not be read is tried
// again at once.
func (s *Store) upkeep(ctx context.Context, now bool) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	err := s.reread(now)
	if err == nil {
		err = s.sealAll()
	}
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
	var list, later []*segment
	for _, g := range s.toSeal {
		if _, lost := s.lost[g.id]; lost {
			later = append(later, g)
		} else {
			list = append(list, g)
		}
	}
	s.toSeal = later
	s.mu.Unlock()
	for i, g := range list {
		err = s.seal(g)
		if errors.Is(err, errLost) { // others go on
			s.lose(g, err)
			s.mu.Lock()
			s.toSeal = append(s.toSeal, g)
			s.mu.Unlock()
			err = nil
		}
		if err != nil {
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

// reindex makes an index file from the segment, or says errLost.
func (s *Store) reindex(g *segment, end int64) error {
	f, err := g.file()
	if err != nil {
		return err
	}
	book := &notebook{fs: s.fs, path: indexPath(g.path) + ".tmp", tag: g.tag, upTo: blockSize}
	defer book.close()
	got, err := scan(f, g.tag, blockSize, end, scanAll, func(x note) {
		book.add(x)
		if to := int64(x.at)*8 + x.record; x.kind != kindDamaged && book.due(to) {
			_ = book.write(to, false) // the error stays with book
		}
	})
	if err == nil && got.lost {
		err = errLost // what there is of an index tells more than a new one would
	}
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
	var buf []byte
	for off, sealed := int64(0), false; !sealed; {
		c, notes, ok, err := readChunk(f, off, buf)
		buf = notes
		if err != nil && !unreadable(err) {
			return err
		}
		if !ok || err != nil {
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
