package imap

import (
	"iter"
	"slices"
	"sort"
	"strings"
	"unique"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// A flagSet is the flags of a message, joined with spaces, as FETCH shows them.
// Messages have few different ones, so each is kept once and compared by address.
type flagSet = unique.Handle[string]

func joinFlags(flags []string) flagSet { return unique.Make(strings.Join(flags, " ")) }

// hasFlag reports whether flags hold f, in any case.
func hasFlag(flags flagSet, f string) bool {
	for x := range strings.SplitSeq(flags.Value(), " ") {
		if strings.EqualFold(x, f) {
			return true
		}
	}
	return false
}

// A row is what a session knows of a message.
type row struct {
	uid    store.UID
	flags  flagSet
	modSeq store.ModSeq
}

// chunkRows is about how many rows a chunk has: a change of one message copies
// that many, and each session compares them.
const chunkRows = 128

// A chunk is a run of rows. Snapshots share chunks, so they never change.
type chunk struct {
	before int // rows in earlier chunks
	rows   []row
}

// A snapshot is the messages of a mailbox at one moment, in order of UID. It never
// changes; apply makes the next one, which shares most of its memory.
type snapshot struct {
	chunks   []chunk
	size     int
	box      store.Mailbox // with the counters of that moment
	keywords []string      // ever seen here; it only grows
}

// A span is messages by position, from zero: lo up to but without hi.
type span struct{ lo, hi int }

func spanLen(ss []span) (n int) {
	for _, s := range ss {
		n += s.hi - s.lo
	}
	return n
}

// at returns the row at a position.
func (s *snapshot) at(pos int) row {
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].before > pos }) - 1
	return s.chunks[i].rows[pos-s.chunks[i].before]
}

// find returns the position of uid, or of the first message after it.
func (s *snapshot) find(uid store.UID) (pos int, ok bool) {
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].rows[0].uid > uid }) - 1
	if i < 0 {
		return 0, false
	}
	c := s.chunks[i]
	j, ok := slices.BinarySearchFunc(c.rows, uid, func(r row, u store.UID) int { return cmpUID(r.uid, u) })
	return c.before + j, ok
}

func cmpUID(a, b store.UID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// last returns the largest UID, or zero.
func (s *snapshot) last() store.UID {
	if s.size == 0 {
		return 0
	}
	rows := s.chunks[len(s.chunks)-1].rows
	return rows[len(rows)-1].uid
}

// all yields the messages of spans with their sequence numbers.
func (s *snapshot) all(spans []span) iter.Seq2[uint32, row] {
	return func(yield func(uint32, row) bool) {
		for _, sp := range spans {
			i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].before > sp.lo }) - 1
			for pos := sp.lo; pos < sp.hi; i++ {
				c := s.chunks[i]
				for _, r := range c.rows[pos-c.before : min(len(c.rows), sp.hi-c.before)] {
					pos++
					if !yield(uint32(pos), r) {
						return
					}
				}
			}
		}
	}
}

// everything is the span of all messages.
func (s *snapshot) everything() []span {
	if s.size == 0 {
		return nil
	}
	return []span{{0, s.size}}
}

// uids returns the UIDs of spans.
func (s *snapshot) uids(spans []span) []store.UID {
	out := make([]store.UID, 0, spanLen(spans))
	for _, r := range s.all(spans) {
		out = append(out, r.uid)
	}
	return out
}

// seqSpans finds the messages of a set of sequence numbers. A number that no
// message has, "*" in an empty mailbox too, is an error (RFC 9051, 9,
// seq-number).
func (s *snapshot) seqSpans(set imap.SeqSet) ([]span, bool) {
	out := make([]span, 0, len(set))
	for _, r := range set {
		lo, hi := int(r.Start), int(r.Stop)
		if lo == 0 {
			lo = s.size
		}
		if hi == 0 {
			hi = s.size
		}
		if lo > hi {
			lo, hi = hi, lo
		}
		if lo < 1 || hi > s.size {
			return nil, false
		}
		out = append(out, span{lo - 1, hi})
	}
	return joinSpans(out), true
}

// uidSpans finds those messages of a set of UIDs that are there.
func (s *snapshot) uidSpans(set imap.UIDSet) []span {
	out := make([]span, 0, len(set))
	for _, r := range set {
		lo, hi := store.UID(r.Start), store.UID(r.Stop)
		if lo == 0 {
			lo = s.last()
		}
		if hi == 0 {
			hi = s.last()
		}
		if lo > hi {
			lo, hi = hi, lo
		}
		from, _ := s.find(lo)
		to, ok := s.find(hi)
		if ok {
			to++
		}
		if from < to {
			out = append(out, span{from, to})
		}
	}
	return joinSpans(out)
}

// joinSpans sorts spans and joins those that overlap or touch: "*" can be any
// message.
func joinSpans(ss []span) []span {
	slices.SortFunc(ss, func(a, b span) int { return a.lo - b.lo })
	out := ss[:0]
	for _, s := range ss {
		if n := len(out); n > 0 && s.lo <= out[n-1].hi {
			out[n-1].hi = max(out[n-1].hi, s.hi)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// A change is a row as it is now, or the end of it.
type change struct {
	row
	gone bool
}

// apply returns the snapshot after changes, which are in order of UID. A change of
// a message that is not there adds it, or does nothing if it is gone.
func (s *snapshot) apply(changes []change) *snapshot {
	if next := s.flagged(changes); next != nil {
		return next
	}
	next := &snapshot{box: s.box, keywords: s.keywords, chunks: make([]chunk, 0, len(s.chunks)+1+len(changes)/chunkRows)}
	add := func(rows []row) {
		for len(rows) > 0 {
			n := len(rows)
			if n > 2*chunkRows {
				n = chunkRows
			}
			next.chunks = append(next.chunks, chunk{next.size, rows[:n:n]})
			next.size += n
			rows = rows[n:]
		}
	}
	for i := 0; i < len(s.chunks) || i == 0; i++ {
		var rows []row
		if i < len(s.chunks) {
			rows = s.chunks[i].rows
		}
		n := len(changes)
		if i+1 < len(s.chunks) {
			end := s.chunks[i+1].rows[0].uid
			n, _ = slices.BinarySearchFunc(changes, end, func(c change, u store.UID) int { return cmpUID(c.uid, u) })
		}
		if n > 0 {
			rows = merge(rows, changes[:n])
			changes = changes[n:]
		}
		add(rows)
	}
	return next
}

// flagged is apply if flags changed and nothing else; nil if it is not so. Chunks stay
// what they were but for those rows.
func (s *snapshot) flagged(changes []change) *snapshot {
	if n := len(changes); n > 0 && changes[n-1].uid > s.last() { // a new message
		return nil
	}
	next := &snapshot{box: s.box, keywords: s.keywords, chunks: slices.Clone(s.chunks), size: s.size}
	at := -1 // the chunk at hand, which is a copy
	for _, c := range changes {
		i := sort.Search(len(next.chunks), func(i int) bool { return next.chunks[i].rows[0].uid > c.uid }) - 1
		if c.gone || i < 0 {
			return nil
		}
		rows := next.chunks[i].rows
		j, ok := slices.BinarySearchFunc(rows, c.uid, func(r row, u store.UID) int { return cmpUID(r.uid, u) })
		if !ok {
			return nil
		}
		if i != at {
			rows, at = slices.Clone(rows), i
			next.chunks[i].rows = rows
		}
		rows[j] = c.row
	}
	return next
}

// merge applies changes to rows.
func merge(rows []row, changes []change) []row {
	out := make([]row, 0, len(rows)+len(changes))
	for _, c := range changes {
		n, same := slices.BinarySearchFunc(rows, c.uid, func(r row, u store.UID) int { return cmpUID(r.uid, u) })
		out = append(out, rows[:n]...)
		if rows = rows[n:]; same {
			rows = rows[1:]
		}
		if !c.gone {
			out = append(out, c.row)
		}
	}
	return append(out, rows...)
}

// diff compares what a client was told, s, with what is. It passes over chunks
// that both share.
//
// gone are the positions in s of messages that are no more; changed are those of
// other flags or a larger MODSEQ, as they are; added are new.
func (s *snapshot) diff(is *snapshot) (gone []int, changed, added []row) {
	a, b := cursor{s: s}, cursor{s: is}
	for a.more() && b.more() {
		if a.j == 0 && b.j == 0 && len(a.rows()) == len(b.rows()) && &a.rows()[0] == &b.rows()[0] {
			a.i, b.i = a.i+1, b.i+1
			continue
		}
		// Mostly flags have changed and nothing else.
		xs, ys := a.rows()[a.j:], b.rows()[b.j:]
		same := 0
		for n := min(len(xs), len(ys)); same < n && xs[same].uid == ys[same].uid; same++ {
			if xs[same].modSeq < ys[same].modSeq {
				changed = append(changed, ys[same])
			}
		}
		if same > 0 {
			a.skip(same)
			b.skip(same)
			continue
		}
		switch x, y := xs[0], ys[0]; {
		case x.uid < y.uid:
			gone = append(gone, a.pos())
			a.next()
		default:
			// The client was told that it is gone before the view knew.
			b.next()
		}
	}
	for ; a.more(); a.next() {
		gone = append(gone, a.pos())
	}
	for ; b.more(); b.next() {
		added = append(added, b.row())
	}
	return gone, changed, added
}

// A cursor walks over the rows of a snapshot.
type cursor struct {
	s    *snapshot
	i, j int
}

func (c *cursor) more() bool  { return c.i < len(c.s.chunks) }
func (c *cursor) rows() []row { return c.s.chunks[c.i].rows }
func (c *cursor) row() row    { return c.rows()[c.j] }
func (c *cursor) pos() int    { return c.s.chunks[c.i].before + c.j }

func (c *cursor) next() { c.skip(1) }

// skip passes over n rows of a chunk.
func (c *cursor) skip(n int) {
	if c.j += n; c.j == len(c.rows()) {
		c.i, c.j = c.i+1, 0
	}
}
