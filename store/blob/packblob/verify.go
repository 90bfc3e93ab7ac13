package packblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"github.com/mailkeel/mailkeel/store/blob"
)

// checkSegment reads a segment and its index file side by side. Damage to blobs is
// parked; what else is found is returned.
func (s *Store) checkSegment(ctx context.Context, id uint32) (found []Damage, err error) {
	s.keeping.Lock() // index files stay as they are
	defer s.keeping.Unlock()
	s.mu.Lock()
	g := s.segs[id]
	_, lost := s.lost[id]
	if g == nil || lost || g.tag == (tag{}) { // gone, or nothing of it can be told
		s.mu.Unlock()
		return nil, nil
	}
	g.users++
	end, sealed := g.end, g.sealed
	s.mu.Unlock()
	defer s.release(g)
	if !sealed {
		return nil, s.checkOpen(ctx, g, end)
	}
	f, err := g.file()
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull2(s.notes(g))
	defer stop()
	told, ierr, more := next()
	wrong := ierr
	// upTo passes the notes of the index that stand before an offset: the segment has
	// no good record there.
	upTo := func(at uint32) {
		for ; more && ierr == nil && told.at < at; told, ierr, more = next() {
			found = append(found, s.bad(f, g, told)...)
		}
		if ierr != nil {
			wrong = ierr
		}
	}
	_, err = scan(f, g.tag, blockSize, end, scanWhole, func(x note) {
		upTo(x.at)
		same := more && ierr == nil && told.at == x.at
		switch {
		case same && x == told:
		case same && x.kind == kindDamaged:
			found = append(found, s.bad(f, g, told)...)
		case same, x.kind != kindDamaged:
			wrong = fmt.Errorf("it does not tell of the record at %d as it is", int64(x.at)*8)
		default: // no record was there: a batch that was never finished
		}
		if same {
			told, ierr, more = next()
		}
	})
	if err != nil {
		return nil, err
	}
	upTo(1 << 31)
	if ierr != nil && !errors.Is(ierr, errIndexWrong) {
		return nil, ierr
	}
	if wrong != nil {
		found = append(found, Damage{State: WrongIndex, Segment: id, Reason: wrong.Error()})
	}
	return found, ctx.Err()
}

// checkOpen looks at a segment that is written, as far as it was. Its index is not
// complete, and its blobs are read one by one.
func (s *Store) checkOpen(ctx context.Context, g *segment, end int64) error {
	f, err := g.file()
	if err != nil {
		return err
	}
	_, err = scan(f, g.tag, blockSize, end, scanWhole, func(x note) {
		if x.kind == kindDamaged {
			s.bad(f, g, x)
		}
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}

// bad says what it means that a scan found no good record where the index tells of one.
func (s *Store) bad(f io.ReaderAt, g *segment, x note) []Damage {
	at := spot{g.id, x.at}
	s.mu.Lock()
	p, ok := s.index.get(x.hash)
	s.mu.Unlock()
	if ok && p.spot == at {
		if _, err := s.payload(f, g.tag, x.hash, p, false); err != nil {
			_ = s.readError(x.hash, p, err) // it is among Damaged now
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.damaged[x.hash]; ok && d.Segment == at.seg && d.Offset == at.off() {
		return nil // known
	}
	for _, d := range s.reports {
		if d.Segment == at.seg && d.Offset == at.off() {
			return nil
		}
	}
	d := Damage{State: DeadDamage, Segment: at.seg, Offset: at.off(), Reason: errWrong.Error()}
	if x.hash != (hash{}) {
		d.Ref = x.hash.ref()
	}
	return []Damage{d}
}

// notes is eachNote as a sequence.
func (s *Store) notes(g *segment) iter.Seq2[note, error] {
	return func(yield func(note, error) bool) {
		enough := errors.New("enough")
		err := s.eachNote(g, func(x note) error {
			if !yield(x, nil) {
				return enough
			}
			return nil
		})
		if err != nil && err != enough {
			if ignoreMissing(err) == nil {
				err = fmt.Errorf("%w: it is missing", errIndexWrong)
			}
			yield(note{}, err)
		}
	}
}

// repairIndex makes the index file of a complete segment again.
func (s *Store) repairIndex(id uint32) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	g := s.segs[id]
	if g == nil || !g.sealed {
		s.mu.Unlock()
		return nil
	}
	g.users++
	end := g.end
	s.mu.Unlock()
	defer s.release(g)
	err := s.reindex(g, end)
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		s.log.Warn("packblob: an index could not be made again", "segment", id, "err", err)
	}
	return err
}

// strays looks for files that are not ours.
func (s *Store) strays() (found []Damage, err error) {
	for _, dir := range []string{s.dir, filepath.Join(s.dir, "large")} {
		entries, err := s.fs.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			_, seg := parseName(e.Name(), ".seg")
			_, idx := parseName(e.Name(), ".idx")
			_, hash := parseRef(blob.Ref("sha256-" + e.Name()))
			ours := seg || idx || e.IsDir() && e.Name() == "large"
			if dir != s.dir {
				ours = hash
			}
			if !ours && !strings.HasSuffix(e.Name(), ".tmp") {
				found = append(found, Damage{State: Stray, Reason: filepath.Join(dir, e.Name())})
			}
		}
	}
	return found, nil
}
