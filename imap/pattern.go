package imap

import (
	"strings"

	"github.com/mailkeel/mailkeel/store"
)

// A pattern is a mailbox name with the wildcards of LIST: "*" stands for anything,
// "%" for anything without a delimiter (RFC 9051, 6.3.9).
//
// It is matched by keeping, as bits, how many of its plain bytes may have been
// seen after each byte of the name. So a name of n bytes takes n times m/64 steps
// for a pattern of m bytes, whatever they are made of.
type pattern struct {
	never  bool // longer than any name
	plain  map[byte][]uint64
	star   []uint64 // bit i: a "*" stands before plain byte i
	pct    []uint64
	last   int // the bit of a full match
	states []uint64
	next   []uint64
	steps  int // words looked at, for tests
}

// maxPattern is how many plain bytes a pattern may have: no name has more, not
// those of others, which begin with a prefix and an address.
const maxPattern = 2500

func newPattern(s string) *pattern {
	n := 0
	for i := range len(s) {
		if s[i] != '*' && s[i] != '%' {
			n++
		}
	}
	if n > maxPattern {
		return &pattern{never: true}
	}
	words := n/64 + 1
	p := &pattern{
		plain: map[byte][]uint64{}, last: n,
		star: make([]uint64, words), pct: make([]uint64, words),
		states: make([]uint64, words), next: make([]uint64, words),
	}
	i := 0
	for _, b := range []byte(s) {
		w, bit := i/64, uint64(1)<<(i%64)
		switch b {
		case '*':
			p.star[w] |= bit
			continue
		case '%':
			p.pct[w] |= bit
			continue
		}
		if p.plain[b] == nil {
			p.plain[b] = make([]uint64, words)
		}
		p.plain[b][w] |= bit
		i++
	}
	return p
}

// match reports whether name matches. INBOX matches in any case.
func (p *pattern) match(name string) bool {
	if p.never {
		return false
	}
	fold := 0 // bytes that have no case
	if name == inbox || strings.HasPrefix(name, inbox+delimiter) {
		fold = len(inbox)
	}
	clear(p.states)
	p.states[0] = 1
	for i := range len(name) {
		b := name[i]
		is := p.plain[b]
		var also []uint64
		if i < fold {
			also = p.plain[b|0x20]
		}
		var carry, any uint64
		for w, s := range p.states {
			p.steps++
			stay := p.star[w]
			if b != store.Separator[0] {
				stay |= p.pct[w]
			}
			var hit uint64
			if is != nil {
				hit = is[w]
			}
			if also != nil {
				hit |= also[w]
			}
			hit &= s
			n := s&stay | hit<<1 | carry
			carry = hit >> 63
			p.next[w] = n
			any |= n
		}
		if any == 0 {
			return false
		}
		p.states, p.next = p.next, p.states
	}
	return p.states[p.last/64]&(1<<(p.last%64)) != 0
}
