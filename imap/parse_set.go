package imap

import (
	"cmp"
	"math"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// numRange is a range of a set; zero is "*".
type numRange struct{ lo, hi uint32 }

// seqSet reads a set of sequence numbers, or "$" (RFC 9051, 6.4.4.1), which is a
// set of UIDs: those that the last SEARCH saved.
func (p *parser) seqSet() imap.NumSet {
	if p.saved() {
		return imap.SearchRes()
	}
	rs := p.ranges()
	set := make(imap.SeqSet, len(rs))
	for i, r := range rs {
		set[i] = imap.SeqRange{Start: r.lo, Stop: r.hi}
	}
	return set
}

// uidSet reads a set of UIDs, or "$".
func (p *parser) uidSet() imap.UIDSet {
	if p.saved() {
		return imap.SearchRes()
	}
	rs := p.ranges()
	set := make(imap.UIDSet, len(rs))
	for i, r := range rs {
		set[i] = imap.UIDRange{Start: imap.UID(r.lo), Stop: imap.UID(r.hi)}
	}
	return set
}

// numSet reads what the command with or without UID takes.
func (p *parser) numSet(uid bool) imap.NumSet {
	if uid {
		return p.uidSet()
	}
	return p.seqSet()
}

// saved takes "$".
func (p *parser) saved() bool {
	if p.peek() == '$' && (len(p.line) == 1 || !isSetChar(p.line[1])) {
		return p.take('$')
	}
	return false
}

// isSet reports whether a set is next, as opposed to a word.
func (p *parser) isSet() bool {
	c := p.peek()
	return isDigit(c) || c == '*' || c == '$'
}

// ranges reads a sequence-set, sorted and with what overlaps or touches joined, in
// n log n steps however it is spelled. In "n:*" the zero stands last; "*" alone is
// {0, 0}.
func (p *parser) ranges() []numRange {
	var rs []numRange
	for {
		lo := p.setNumber()
		hi := lo
		if p.take(':') {
			hi = p.setNumber()
		}
		if !p.ok() {
			return nil
		}
		if lo == 0 || hi != 0 && hi < lo {
			lo, hi = hi, lo
		}
		rs = append(rs, numRange{lo, hi})
		if !p.take(',') {
			return joinRanges(rs)
		}
	}
}

func (p *parser) setNumber() uint32 {
	if p.take('*') {
		return 0
	}
	return p.nzNumber()
}

// joinRanges sorts rs and joins what overlaps or touches.
func joinRanges(rs []numRange) []numRange {
	const star = math.MaxUint32 + 1 // "*" is more than any number
	order := func(n uint32) uint64 {
		if n == 0 {
			return star
		}
		return uint64(n)
	}
	slices.SortFunc(rs, func(a, b numRange) int { return cmp.Compare(order(a.lo), order(b.lo)) })
	out := rs[:0]
	for _, r := range rs {
		if n := len(out); n > 0 {
			last := &out[n-1]
			end := order(last.hi)
			// The largest number touches "*" only on paper.
			if end == star || order(r.lo) != star && order(r.lo) <= end+1 {
				if order(r.hi) > end {
					last.hi = r.hi
				}
				continue
			}
		}
		out = append(out, r)
	}
	return out
}
