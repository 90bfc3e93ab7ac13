package imap

import (
	"iter"
	"math/bits"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// search is SEARCH and UID SEARCH (RFC 9051, 6.4.4).
func (c *conn) search(cmd *command) error {
	cmd.sp()
	p := c.searchParser(cmd)
	r := p.returns()
	p.searchCharset()
	k := p.searchKeys()
	err := p.fuzzyEnd(r.relevancy)
	if err == nil {
		err = c.wantsUpdates(cmd, &r)
	}
	var found *result
	if err == nil {
		cmd.numbers = p.numbers
		c.asksModSeq(p, &r)
		found, err = c.find(cmd, k)
	}
	if err == nil && r.relevancy {
		r.score, err = c.relevancy(cmd, k)
	}
	if err != nil {
		return c.unsaved(&r, err)
	}
	if r.save {
		c.sel.saved = saved(&r, c.sel.snap, found)
	}
	c.answer(cmd, &r, found)
	if r.update {
		c.keepUp(cmd, k, nil, found)
	}
	return nil
}

// searchParser returns a parser of what follows the name of SEARCH and its kin.
func (c *conn) searchParser(cmd *command) *searchParser {
	return &searchParser{parser: cmd.parser, noCharset: c.utf8, uidOnly: c.uidOnly, now: c.srv.now()}
}

// unsaved is for a command that failed. If it was to save its result and was not
// merely misspelled, "$" is empty now (RFC 9051, 6.4.4.1).
func (c *conn) unsaved(r *returns, err error) error {
	if e, _ := answer(err); r.save && c.sel != nil && e.Type == imap.StatusResponseTypeNo {
		c.sel.saved = nil
	}
	return err
}

// An outcome is the messages that a command found, in the order in which it tells
// them.
type outcome interface {
	len() int
	// numbers yields their sequence numbers or UIDs.
	numbers(uid bool) iter.Seq[uint32]
}

// answer tells what SEARCH or SORT found, in the form that was asked for.
func (c *conn) answer(cmd *command, r *returns, found outcome) {
	switch {
	case !r.answered(): // only SAVE
	case r.given:
		c.extendedResult(cmd, r, found)
	case c.rev2 && cmd.name == "SEARCH":
		c.extendedResult(cmd, &returns{all: true, modSeq: r.modSeq}, found)
	default:
		c.w.raw("* ")
		c.w.raw(cmd.name)
		for n := range found.numbers(cmd.uid) {
			c.w.sp()
			c.w.num(uint64(n))
		}
		if n := c.highestFound(r, found); n > 0 {
			c.w.raw(" (MODSEQ ")
			c.w.num(uint64(n))
			c.w.byte(')')
		}
		c.w.crlf()
	}
}

// extendedResult writes ESEARCH (RFC 9051, 7.3.4).
func (c *conn) extendedResult(cmd *command, r *returns, found outcome) {
	c.w.raw("* ESEARCH (TAG ")
	c.w.string(cmd.tag)
	c.w.byte(')')
	if cmd.uid {
		c.w.raw(" UID")
	}
	c.resultData(cmd.uid, r, found)
	c.w.crlf()
}

// resultData writes the items of an ESEARCH response.
func (c *conn) resultData(uid bool, r *returns, found outcome) {
	count := found.len()
	if count > 0 {
		first, last := ends(found, uid)
		if r.min {
			c.w.raw(" MIN ")
			c.w.num(uint64(first))
		}
		if r.max {
			c.w.raw(" MAX ")
			c.w.num(uint64(last))
		}
	}
	if r.count {
		c.w.raw(" COUNT ")
		c.w.num(uint64(count))
	}
	if r.all && count > 0 {
		c.w.raw(" ALL ")
		c.w.set(found.numbers(uid))
	}
	if r.partial != nil {
		c.w.raw(" PARTIAL (")
		c.w.raw(r.partial.String())
		if lo, hi := r.partial.of(count); lo == hi {
			c.w.raw(" NIL)")
		} else {
			c.w.sp()
			c.w.set(slice(found.numbers(uid), lo, hi))
			c.w.byte(')')
		}
	}
	if n := c.highestFound(r, found); n > 0 {
		c.w.raw(" MODSEQ ")
		c.w.num(uint64(n))
	}
	if r.score != nil && count > 0 {
		// RFC 6203, 4: those of what ALL or PARTIAL tells.
		lo, hi := 0, count
		if r.partial != nil {
			lo, hi = r.partial.of(count)
		}
		c.w.raw(" RELEVANCY (")
		first := true
		for seq := range slice(found.numbers(false), lo, hi) {
			if !first {
				c.w.sp()
			}
			first = false
			c.w.num(uint64(r.score(seq)))
		}
		c.w.byte(')')
	}
}

// ends returns the first and the last number of what was found.
func ends(found outcome, uid bool) (first, last uint32) {
	for n := range found.numbers(uid) {
		if first == 0 {
			first = n
		}
		last = n
	}
	return first, last
}

// slice yields the numbers lo up to but without hi, from zero.
func slice(numbers iter.Seq[uint32], lo, hi int) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		i := 0
		for n := range numbers {
			if i >= hi || i >= lo && !yield(n) {
				return
			}
			i++
		}
	}
}

// set writes numbers as a set, in the order in which they come: runs that ascend
// become ranges.
func (w *writer) set(numbers iter.Seq[uint32]) {
	var first, last uint32
	begun := false
	end := func() {
		w.num(uint64(first))
		if last > first {
			w.byte(':')
			w.num(uint64(last))
		}
	}
	for n := range numbers {
		if begun && n == last+1 {
			last = n
			continue
		}
		if begun {
			end()
			w.byte(',')
		}
		first, last, begun = n, n, true
	}
	if begun {
		end()
	}
}

// A result is which messages of a snapshot were found: a bit for each.
type result struct {
	snap *snapshot
	bits []uint64
}

func newResult(s *snapshot) *result { return &result{s, make([]uint64, (s.size+63)/64)} }

func (r *result) has(pos int) bool { return r.bits[pos/64]&(1<<(pos%64)) != 0 }

func (r *result) add(pos int) { r.bits[pos/64] |= 1 << (pos % 64) }

// runs yields what was found as spans, in order.
func (r *result) runs() iter.Seq[span] {
	return func(yield func(span) bool) {
		run := span{-1, -1}
		for i, word := range r.bits {
			for word != 0 {
				pos := i*64 + bits.TrailingZeros64(word)
				word &= word - 1
				if pos == run.hi {
					run.hi++
					continue
				}
				if run.lo >= 0 && !yield(run) {
					return
				}
				run = span{pos, pos + 1}
			}
		}
		if run.lo >= 0 {
			yield(run)
		}
	}
}

// numbers yields the sequence numbers or UIDs of what was found.
func (r *result) numbers(uid bool) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for run := range r.runs() {
			for seq, row := range r.snap.all([]span{run}) {
				if uid {
					seq = uint32(row.uid)
				}
				if !yield(seq) {
					return
				}
			}
		}
	}
}

func (r *result) len() (n int) {
	for _, word := range r.bits {
		n += bits.OnesCount64(word)
	}
	return n
}

// saved returns what "$" stands for from now on: all that was found, but only what
// was told if that is the first, the last or a part of it (RFC 9051, 6.4.4.1;
// RFC 9394, 3.2). A run of messages is a range of UIDs, for there are no others
// between.
func saved(r *returns, s *snapshot, found outcome) (set imap.UIDSet) {
	n := found.len()
	seqs := make([]uint32, 0, n)
	if n == 0 || r.all || r.count || !r.min && !r.max && r.partial == nil {
		seqs = slices.AppendSeq(seqs, found.numbers(false))
	} else {
		lo, hi := 0, 0
		if r.partial != nil {
			lo, hi = r.partial.of(n)
		}
		i := 0
		for seq := range found.numbers(false) {
			if r.min && i == 0 || r.max && i == n-1 || i >= lo && i < hi {
				seqs = append(seqs, seq)
			}
			i++
		}
	}
	slices.Sort(seqs)
	for len(seqs) > 0 {
		k := 1
		for k < len(seqs) && seqs[k] == seqs[k-1]+1 {
			k++
		}
		set = append(set, imap.UIDRange{
			Start: imap.UID(s.at(int(seqs[0]) - 1).uid),
			Stop:  imap.UID(s.at(int(seqs[k-1]) - 1).uid),
		})
		seqs = seqs[k:]
	}
	return set
}
