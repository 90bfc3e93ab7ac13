package packblob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mailkeel/mailkeel/store/blob"
)

// ErrDamaged means that the bytes of a blob are not those it was named after. Such
// an error is blob.ErrNotFound and blob.ErrDamaged too.
var ErrDamaged = errors.New("packblob: blob is damaged")

// A State says what became of something that is not as it was written.
type State string

const (
	// DamagedBlob has other bytes than its name says. It is kept, is not found any
	// more, and is whole again when the same bytes are written once more. Discard
	// gives it up.
	DamagedBlob State = "damaged blob"
	// UnreadableBlob is there, and the disk gave an error when it was read last. It is
	// read again whenever somebody asks for it, and is told of until that goes well or
	// the same bytes are written once more.
	UnreadableBlob State = "unreadable blob"
	// UnreadableBytes are parts of a segment that the disk did not give when it was
	// looked for records. They are read again from time to time; until then a blob
	// that is not known may be there.
	UnreadableBytes State = "unreadable bytes"
	// DamagedBytes are no record, and nobody can tell of what. They are kept.
	DamagedBytes State = "damaged bytes"
	// DeadDamage is a damaged record that is not needed: that of a blob which was
	// deleted or lies elsewhere too, of a deletion, or of an age. At worst a blob
	// that nothing names comes back, and is swept again.
	DeadDamage State = "damage to what is not needed"
	// WrongIndex is an index file that says something else than its segment. Repair
	// makes it again; nothing is lost.
	WrongIndex State = "wrong index"
	// Stray is a file that is not ours. It is left alone.
	Stray State = "stray file"
)

// Damage is something in the files that is not as it was written.
type Damage struct {
	State   State
	Ref     blob.Ref // empty if that cannot be told
	Segment uint32   // the number of the file, if it is in one
	Offset  int64    // of the record in it, if there is one
	Reason  string   // for people
}

func (d Damage) String() string {
	s := string(d.State)
	if d.Ref != "" {
		s += " " + string(d.Ref)
	}
	if d.Segment != 0 {
		s += fmt.Sprintf(" in %s at %d", segmentName(d.Segment), d.Offset)
	}
	return s + ": " + d.Reason
}

type damagedError struct{ d Damage }

func (e *damagedError) Error() string { return "packblob: " + e.d.String() }

func (e *damagedError) Is(target error) bool {
	return target == ErrDamaged || target == blob.ErrDamaged || target == blob.ErrNotFound
}

// unreadableError is about a blob that can be read another time.
type unreadableError struct {
	d   Damage
	err error // nil if it was met before
}

func (e *unreadableError) Error() string        { return "packblob: " + e.d.String() }
func (e *unreadableError) Is(target error) bool { return target == blob.ErrUnreadable }
func (e *unreadableError) Unwrap() error        { return e.err }

// park notes that a blob is damaged. The caller holds mu, if others are there.
func (s *Store) park(h hash, at spot, reason string) Damage {
	d := Damage{DamagedBlob, h.ref(), at.seg, at.off(), reason}
	s.damaged[h] = d
	s.log.Error("packblob: a blob is damaged", "blob", d.Ref, "segment", d.Segment, "offset", d.Offset, "reason", reason)
	return d
}

// report notes damage to what has no name.
func (s *Store) report(at spot, reason string) {
	s.reports = append(s.reports, Damage{State: DamagedBytes, Segment: at.seg, Offset: at.off(), Reason: reason})
	s.log.Error("packblob: damage", "segment", at.seg, "offset", at.off(), "reason", reason)
}

// lose notes that parts of a segment cannot be read.
func (s *Store) lose(g *segment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.lost[g.id]; !known {
		s.log.Error("packblob: parts of a segment cannot be read", "segment", g.id, "err", err)
	}
	s.lost[g.id] = Damage{State: UnreadableBytes, Segment: g.id, Reason: err.Error()}
}

// parked returns the segments that hold bytes which are damaged or cannot be read now.
// They are not to be removed. The caller holds mu.
func (s *Store) parked() map[uint32]bool {
	set := map[uint32]bool{}
	for _, d := range s.reports {
		set[d.Segment] = true
	}
	for _, d := range s.damaged {
		set[d.Segment] = true
	}
	for _, d := range s.unread {
		set[d.Segment] = true
	}
	for id := range s.lost {
		set[id] = true
	}
	return set
}

// Damaged lists what is known to be damaged, or could not be read. CheckAll looks for
// more.
func (s *Store) Damaged() []Damage {
	s.mu.Lock()
	list := slices.Clone(s.reports)
	list = slices.AppendSeq(list, maps.Values(s.damaged))
	list = slices.AppendSeq(list, maps.Values(s.unread))
	list = slices.AppendSeq(list, maps.Values(s.lost))
	s.mu.Unlock()
	sortDamage(list)
	return list
}

func sortDamage(list []Damage) {
	slices.SortFunc(list, func(a, b Damage) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Ref, b.Ref))
	})
}

// Discard gives up damaged blobs, which is right when nothing names them, or when those
// who do were told. It says how many there were. Their bytes go when their segment is
// rewritten.
func (s *Store) Discard(ctx context.Context, refs ...blob.Ref) (n int, err error) {
	var wait []*batch
	var large []hash
	for _, ref := range refs {
		h, ok := parseRef(ref)
		s.mu.Lock()
		d, damaged := s.damaged[h]
		if s.closed {
			err = ErrClosed
		} else if ok && damaged {
			delete(s.damaged, h)
			n++
			large = append(large, h)
			if d.Segment != 0 {
				wait = append(wait, s.queue(deleteItem(h, spot{d.Segment, uint32(d.Offset / 8)})))
			}
		}
		s.mu.Unlock()
		if err = cmp.Or(err, ctx.Err()); err != nil {
			break
		}
	}
	if werr := s.waitAll(slices.Compact(wait)); err == nil {
		err = werr
	}
	for _, h := range large {
		s.removeLarge(h) // if it has a file
	}
	s.wake()
	return n, err
}
