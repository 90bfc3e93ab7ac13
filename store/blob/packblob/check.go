package packblob

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/mailkeel/mailkeel/store/blob"
)

// ErrDamaged means that the bytes of a blob are not those it was named after. Such
// an error is blob.ErrNotFound too.
var ErrDamaged = errors.New("packblob: blob is damaged")

// Damage is something in the files that is not as it was written. It is kept as
// it is.
type Damage struct {
	Ref     blob.Ref // empty if that cannot be told
	Segment uint32   // the number of the file
	Reason  string
}

type damagedError struct{ d Damage }

func (e *damagedError) Error() string {
	return fmt.Sprintf("%v: %s: %s (%s)", ErrDamaged, e.d.Ref, e.d.Reason, segmentName(e.d.Segment))
}

func (e *damagedError) Is(target error) bool {
	return target == ErrDamaged || target == blob.ErrDamaged || target == blob.ErrNotFound
}

// report notes damage to what has no name.
func (s *Store) report(d Damage) {
	s.reports = append(s.reports, d)
	s.log.Error("packblob: damage", "segment", d.Segment, "reason", d.Reason)
}

// Damaged lists what is known to be damaged. Check and CheckAll look for more.
func (s *Store) Damaged() []Damage {
	s.mu.Lock()
	list := slices.Clone(s.reports)
	for _, d := range s.damaged {
		list = append(list, d)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Damage) int { return cmp.Compare(a.Ref, b.Ref) })
	return list
}

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
		return &damagedError{Damage{Ref: ref, Reason: "its hash is " + string(h.ref())}}
	}
	return nil
}

// CheckAll reads all blobs, and returns all that is damaged then.
func (s *Store) CheckAll(ctx context.Context) ([]Damage, error) {
	for info, err := range s.List(ctx) {
		if err != nil {
			return nil, err
		}
		if err := s.Check(ctx, info.Ref); err != nil && !errors.Is(err, blob.ErrNotFound) {
			return nil, err
		}
	}
	return s.Damaged(), ctx.Err()
}

// Stats are numbers to show.
type Stats struct {
	Blobs    int
	Bytes    int64 // of them
	Segments int
	OnDisk   int64 // bytes of records in segments
	Live     int64 // of these, those of blobs that are there
	Damaged  int
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
		Blobs: s.index.n, Bytes: s.index.bytes, Segments: len(s.segs), Damaged: len(s.damaged) + len(s.reports),
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
