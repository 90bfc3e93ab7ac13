package packblob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/mailkeel/mailkeel/store/blob"
)

// Check reads a blob and compares it with its name: ErrDamaged if they differ.
func (s *Store) Check(ctx context.Context, ref blob.Ref) error {
	r, err := s.Open(ctx, ref, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	buf := make([]byte, 32<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if h := hash(hash256(sum)); h.ref() != ref {
		want, _ := parseRef(ref)
		s.mu.Lock()
		p, _ := s.index.get(want)
		s.mu.Unlock()
		return s.readError(want, p, fmt.Errorf("%w: their hash is %s", errWrong, h.ref()))
	}
	return nil
}

// CheckAll reads everything: each record of each segment, also those that are not
// needed, and compares it with its index file; each blob, and compares it with its
// name; and the names in the folder. It returns all that is not as it was written,
// found now or before. The Store can be used meanwhile.
func (s *Store) CheckAll(ctx context.Context) ([]Damage, error) {
	list, _, err := s.Examine(ctx, false, nil)
	return list, err
}

// Repair is CheckAll, and makes index files that are wrong again. It returns what is
// left and what was repaired.
func (s *Store) Repair(ctx context.Context) (left, repaired []Damage, err error) {
	return s.Examine(ctx, true, nil)
}

// Examine is CheckAll, or Repair, and tells how many bytes it has read, after each
// segment and blob, if somebody wants to know. Blobs are read twice.
func (s *Store) Examine(ctx context.Context, repair bool, progress func(read int64)) (left, repaired []Damage, err error) {
	read := int64(0)
	count := func(n int64) {
		if read += n; progress != nil {
			progress(read)
		}
	}
	if err := s.upkeep(ctx, true); err != nil { // complete what can be, so that it has an index
		s.log.Warn("packblob: upkeep failed and is tried again later", "err", err)
	}
	s.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.segs))
	s.mu.Unlock()
	for _, id := range ids {
		found, err := s.checkSegment(ctx, id)
		if err != nil {
			return nil, nil, fmt.Errorf("packblob: %w", err)
		}
		count(s.written(id))
		for _, d := range found {
			if d.State == WrongIndex && repair && s.repairIndex(id) == nil {
				repaired = append(repaired, d)
			} else {
				left = append(left, d)
			}
		}
	}
	for info, err := range s.List(ctx) {
		if err != nil {
			return nil, nil, err
		}
		if err := s.Check(ctx, info.Ref); err != nil && !errors.Is(err, blob.ErrNotFound) && !errors.Is(err, blob.ErrUnreadable) {
			return nil, nil, err
		}
		count(info.Size)
	}
	strays, err := s.strays()
	if err != nil {
		return nil, nil, fmt.Errorf("packblob: %w", err)
	}
	left = slices.Concat(s.Damaged(), left, strays)
	sortDamage(left)
	return left, repaired, ctx.Err()
}

// written is how many bytes a segment has.
func (s *Store) written(id uint32) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.segs[id]; g != nil {
		return g.end
	}
	return 0
}

// Stats are numbers to show.
type Stats struct {
	Blobs    int
	Bytes    int64 // of them
	Segments int
	OnDisk   int64 // bytes of records in segments
	Live     int64 // of these, those of blobs that are there
	Damaged  int
	// Unreadable are blobs, and segments of which not all could be looked at, that the
	// disk gave an error for and that are read again.
	Unreadable int
	// Since Open.
	Torn      int // segments whose last batch was cut off
	Syncs     int64
	Rewritten int64 // segments
}

// Stats counts no files and reads none.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Blobs: s.index.n, Bytes: s.index.bytes, Segments: len(s.segs), Damaged: len(s.damaged) + len(s.reports), Unreadable: len(s.unread) + len(s.lost),
		Torn: s.torn, Syncs: s.syncs.Load(), Rewritten: s.rewritten.Load(),
	}
	for _, g := range s.segs {
		st.OnDisk += g.end - blockSize
		st.Live += g.live
	}
	return st
}

// List sorts a 256th of the blobs at a time. It leaves out damaged ones.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for i := range s.index.parts {
			if err := ctx.Err(); err != nil {
				yield(blob.Info{}, err)
				return
			}
			s.mu.Lock()
			closed, list := s.closed, s.index.parts[i].all()
			s.mu.Unlock()
			if closed {
				yield(blob.Info{}, ErrClosed)
				return
			}
			slices.SortFunc(list, func(a, b slot) int { return bytes.Compare(a.hash[:], b.hash[:]) })
			for _, e := range list {
				if !yield(e.place().info(e.hash), nil) {
					return
				}
			}
		}
	}
}
