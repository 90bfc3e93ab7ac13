package imap

import "strconv"

// A partialRange is which of many results are wanted (RFC 9394): the first is 1.
// It counts from the end if that is set, where 1 is the last.
type partialRange struct {
	a, b    uint32 // as the client sent them, in any order; zero means no range
	fromEnd bool
}

// partialRange reads "1:500", or "-1:-100" that counts from the end.
func (p *parser) partialRange() (r partialRange) {
	r.fromEnd = p.take('-')
	r.a = p.nzNumber()
	p.want(':')
	if r.fromEnd {
		p.want('-')
	}
	r.b = p.nzNumber()
	return r
}

// of returns which of n results these are: lo up to but without hi, from zero.
// They are equal if there are none.
func (r partialRange) of(n int) (lo, hi int) {
	first, last := min(uint64(min(r.a, r.b)), uint64(n)+1), min(uint64(max(r.a, r.b)), uint64(n))
	lo, hi = int(first)-1, int(last)
	if r.fromEnd {
		lo, hi = n-hi, n-lo
	}
	return lo, max(lo, hi)
}

// String is the range as the client sent it.
func (r partialRange) String() string {
	sign := ""
	if r.fromEnd {
		sign = "-"
	}
	return sign + strconv.FormatUint(uint64(r.a), 10) + ":" + sign + strconv.FormatUint(uint64(r.b), 10)
}
