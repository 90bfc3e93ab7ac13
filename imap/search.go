package imap

import (
	"iter"
	"math/bits"

	"github.com/emersion/go-imap/v2"
)

// search is SEARCH and UID SEARCH (RFC 9051, 6.4.4).
func (c *conn) search(cmd *command) error {
	cmd.sp()
	p := searchParser{parser: cmd.parser, noCharset: c.utf8}
	options := p.searchOptions()
	criteria := p.searchKeys()
	save := options != nil && options.ReturnSave
	err := cmd.end()
	var found *result
	if err == nil {
		found, err = c.find(criteria)
	}
	if err != nil {
		if e, _ := answer(err); save && e.Type == imap.StatusResponseTypeNo {
			c.sel.saved = nil // RFC 9051, 6.4.4.1
		}
		return err
	}
	if save {
		c.sel.saved = found.saved(options)
	}
	switch {
	case options != nil && !options.ReturnAll && !options.ReturnCount && !options.ReturnMin && !options.ReturnMax:
		// Only SAVE, which is not answered.
	case options != nil:
		c.extendedResult(cmd, options, found)
	case c.rev2:
		c.extendedResult(cmd, &imap.SearchOptions{ReturnAll: true}, found)
	default:
		c.w.raw("* SEARCH")
		for n := range found.numbers(cmd.uid) {
			c.w.sp()
			c.w.num(uint64(n))
		}
		c.w.crlf()
	}
	return nil
}

// extendedResult writes ESEARCH (RFC 9051, 7.3.4).
func (c *conn) extendedResult(cmd *command, o *imap.SearchOptions, found *result) {
	c.w.raw("* ESEARCH (TAG ")
	c.w.string(cmd.tag)
	c.w.byte(')')
	if cmd.uid {
		c.w.raw(" UID")
	}
	var low, high, count uint32
	for n := range found.numbers(cmd.uid) {
		if count == 0 {
			low = n
		}
		high = n
		count++
	}
	if count > 0 {
		if o.ReturnMin {
			c.w.raw(" MIN ")
			c.w.num(uint64(low))
		}
		if o.ReturnMax {
			c.w.raw(" MAX ")
			c.w.num(uint64(high))
		}
	}
	if o.ReturnCount {
		c.w.raw(" COUNT ")
		c.w.num(uint64(count))
	}
	if o.ReturnAll && count > 0 {
		c.w.raw(" ALL ")
		c.w.set(found.numbers(cmd.uid))
	}
	c.w.crlf()
}

// set writes numbers, which ascend, as a set.
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

// saved returns what "$" stands for from now on: all that was found, but only the
// first or the last if nothing else was asked for (RFC 9051, 6.4.4.1). A run of
// messages is a range of UIDs, for there are no others between.
func (r *result) saved(o *imap.SearchOptions) (set imap.UIDSet) {
	for run := range r.runs() {
		set = append(set, imap.UIDRange{
			Start: imap.UID(r.snap.at(run.lo).uid),
			Stop:  imap.UID(r.snap.at(run.hi - 1).uid),
		})
	}
	n := len(set)
	if n == 0 || o.ReturnAll || o.ReturnCount || !o.ReturnMin && !o.ReturnMax {
		return set
	}
	first := imap.UIDRange{Start: set[0].Start, Stop: set[0].Start}
	last := imap.UIDRange{Start: set[n-1].Stop, Stop: set[n-1].Stop}
	switch {
	case !o.ReturnMax:
		return imap.UIDSet{first}
	case !o.ReturnMin:
		return imap.UIDSet{last}
	}
	return imap.UIDSet{first, last}
}
