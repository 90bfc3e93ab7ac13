package imap

import (
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// modSeqKey reads what follows MODSEQ (RFC 7162, 3.1.5) into c. A message has one
// MODSEQ for all its flags, so which of them is asked for makes no difference.
func (p *searchParser) modSeqKey(c *criteria) {
	p.sp()
	if p.peek() == '"' {
		flag, ok := strings.CutPrefix(p.string(), "/flags/")
		sub := parser{line: []byte(flag)}
		if sub.take('\\'); !ok || sub.atom() == "" || sub.end() != nil {
			p.fail("expected the name of a flag")
		}
		p.sp()
		if kind := p.keyword(); kind != "PRIV" && kind != "SHARED" && kind != "ALL" {
			p.fail("expected priv, shared or all")
		}
		p.sp()
	}
	n := uint64(p.modSeqValue())
	if c.ModSeq == nil {
		c.ModSeq = new(imap.SearchCriteriaModSeq)
	}
	c.ModSeq.ModSeq = max(c.ModSeq.ModSeq, n)
	p.modSeq = true
}

// objectKey reads what follows EMAILID or THREADID (RFC 8474, 6) into c.
func (p *searchParser) objectKey(c *criteria, letter byte, into *int64) {
	p.sp()
	s := p.atom()
	if !p.ok() {
		return
	}
	n, err := strconv.ParseInt(s[1:], 10, 64)
	if s[0] != letter || err != nil || n <= 0 || *into != 0 && *into != n {
		never(c)
		return
	}
	*into = n
}

// savedDay takes SAVEDBEFORE, SAVEDON or SAVEDSINCE into c (RFC 8514, 4.3).
func savedDay(c *criteria, name string, d time.Time) {
	sub := criteria{SearchCriteria: imap.SearchCriteria{Since: c.SavedSince, Before: c.SavedBefore}}
	day(&sub, strings.TrimPrefix(name, "SAVED"), d)
	c.SavedSince, c.SavedBefore = sub.Since, sub.Before
	c.Not = append(c.Not, sub.Not...)
}

// extras is what a matcher asks of a row beside dates and size; zero says nothing.
type extras struct {
	email                   store.MessageID
	thread                  store.ThreadID
	savedSince, savedBefore int // days since year one
}

func (k *criteria) extras() extras {
	return extras{store.MessageID(k.EmailID), store.ThreadID(k.ThreadID), dayOf(k.SavedSince), dayOf(k.SavedBefore)}
}

func (x *extras) match(m *store.Message) bool {
	if *x == (extras{}) {
		return true
	}
	d := dayOf(m.Saved)
	return (x.email == 0 || m.ID == x.email) && (x.thread == 0 || m.Thread == x.thread) &&
		(x.savedSince == 0 || d >= x.savedSince) && (x.savedBefore == 0 || d < x.savedBefore)
}

// highest is the largest MODSEQ of what a search tells (RFC 7162, 3.1.6; RFC 4731,
// 3.2), or zero if that is nothing.
func (r *returns) highest(s *snapshot, found outcome) (n store.ModSeq) {
	all := !r.given || r.all || r.count
	size := found.len()
	lo, hi := 0, 0
	if r.partial != nil {
		lo, hi = r.partial.of(size)
	}
	i := 0
	for seq := range found.numbers(false) {
		if all || r.min && i == 0 || r.max && i == size-1 || i >= lo && i < hi {
			n = max(n, s.at(int(seq)-1).modSeq)
		}
		i++
	}
	return n
}

// asksModSeq notes what was parsed of MODSEQ.
func (c *conn) asksModSeq(p *searchParser, r *returns) {
	if r.modSeq = p.modSeq; p.modSeq {
		c.enableCondstore()
	}
}

// highestFound is r.highest if it is to be told, or zero.
func (c *conn) highestFound(r *returns, found outcome) store.ModSeq {
	if !r.modSeq {
		return 0
	}
	return r.highest(c.sel.snap, found)
}
