package packblob

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// errLost means that the disk did not give all of a segment.
var errLost = fmt.Errorf("packblob: some of it cannot be read: %w", syscall.EIO)

// rereadAfter is how long what could not be read is left alone, because a disk may
// take seconds to say that it cannot. A blob by itself is read whenever it is asked for.
const rereadAfter = time.Minute

// reread tries again what the disk did not give: segments that could not be looked at
// whole, and large blobs without a record. It is for the keeper.
func (s *Store) reread(now bool) error {
	t := s.clock.Now()
	if !now && t.Before(s.again) {
		return nil
	}
	s.again = t.Add(rereadAfter)
	s.mu.Lock()
	var list []*segment
	for id := range s.lost {
		if g := s.segs[id]; g != nil {
			list = append(list, g)
		}
	}
	s.mu.Unlock()
	for _, g := range list {
		err := s.rescan(g)
		if unreadable(err) {
			s.lose(g, err)
		} else if err != nil {
			return err
		}
	}
	s.adoptOrphans()
	return nil
}

// rescan looks for records in a segment once more. It returns errLost, or another EIO,
// if that cannot be done yet; what was found is there nevertheless.
func (s *Store) rescan(g *segment) error {
	if g.sealed { // only its index could not be read
		err := s.reindex(g, g.end)
		if err == nil {
			err = s.fs.SyncDir(s.dir)
		}
		if err == nil {
			s.found(g)
		}
		return err
	}
	f, err := g.file()
	if err != nil {
		return err
	}
	if g.tag == (tag{}) {
		t, ok, err := readTag(f)
		if err != nil {
			return err
		}
		if !ok {
			s.mu.Lock()
			s.report(spot{seg: g.id}, headLost)
			g.sealed = true
			s.toSeal = slices.DeleteFunc(s.toSeal, func(x *segment) bool { return x == g })
			s.mu.Unlock()
			s.found(g)
			s.release(g)
			return nil
		}
		g.tag, g.book.tag = t, t
	}
	var again error
	got, err := scan(f, g.tag, blockSize, g.size, scanAll, func(x note) {
		if again == nil {
			again = s.bring(g, x)
		}
	})
	if err = errors.Join(err, again); err != nil {
		return err
	}
	if got.lost {
		return errLost
	}
	s.mu.Lock()
	g.end, g.keep = got.end, got.keep
	s.mu.Unlock()
	s.found(g)
	return nil
}

// found says that all of a segment could be looked at.
func (s *Store) found(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lost, g.id)
	s.log.Info("packblob: a segment can be read again", "segment", g.id)
}

// bring notes a record that a scan of a lost segment found. One that is known, here or
// elsewhere, stays as it is. One that was deleted since comes back, and is swept again.
func (s *Store) bring(g *segment, x note) error {
	if isLarge(x.kind) {
		if _, err := s.fs.Stat(s.largePath(x.hash)); err != nil {
			return ignoreMissing(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := spot{g.id, x.at}
	_, there := s.index.get(x.hash)
	switch {
	case isBlob(x.kind) && !there:
		s.put(x.hash, place{at, x.kind, uint32(x.size), x.record, seconds(x.stamp), x.stamp + int64(slack)})
	case x.kind == kindDamaged && !x.unread && !there && !s.knows(at):
		s.apply(g, x)
	}
	return nil
}

// knows says whether damage was told of. The caller holds mu.
func (s *Store) knows(at spot) bool {
	for _, d := range s.reports {
		if d.Segment == at.seg && d.Offset == at.off() {
			return true
		}
	}
	for _, d := range s.damaged {
		if d.Segment == at.seg && d.Offset == at.off() {
			return true
		}
	}
	return false
}
