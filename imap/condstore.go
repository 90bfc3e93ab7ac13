package imap

import "github.com/mailkeel/mailkeel/store"

// Conditional STORE (RFC 7162, 3.1). Every message has a MODSEQ, also for clients
// that never ask; those that do are told it in each FETCH response that they did not
// ask for, and with each STORE.

// enableCondstore is called by every command that shows that the client knows of
// MODSEQs. The first of them tells where the selected mailbox is.
func (c *conn) enableCondstore() {
	if c.condstore {
		return
	}
	c.condstore = true
	if c.sel != nil {
		c.writeHighest()
	}
}

func (c *conn) writeHighest() {
	c.w.linef("* OK [HIGHESTMODSEQ %d] Highest", c.sel.synced)
}

// tellHighest corrects, before a command is answered, what the client takes for the
// point from which it can go on another time: that is otherwise the largest MODSEQ
// that it saw. It is less if there are changes before that which could not be told
// yet, and more after an EXPUNGE (RFC 7162, 3.2, 3.2.7 and 6).
func (c *conn) tellHighest(cmd *command, ok bool) {
	sel := c.sel
	if sel == nil {
		return
	}
	needed := sel.told > sel.synced || sel.expunged
	sel.told, sel.expunged = 0, false
	switch {
	case !needed || !c.condstore:
	case ok && cmd.code == "" && !cmd.answered:
		cmd.code = "HIGHESTMODSEQ " + formatModSeq(sel.synced)
	default:
		c.writeHighest()
	}
}

// modSeq writes the MODSEQ of a message.
func (c *conn) modSeq(r row) {
	c.w.raw("MODSEQ (")
	c.w.num(uint64(r.modSeq))
	c.w.byte(')')
	c.sel.told = max(c.sel.told, r.modSeq)
}

// modSeqValue reads a MODSEQ, or zero.
func (p *parser) modSeqValue() store.ModSeq { return store.ModSeq(p.number64()) }

// changedSince returns those of spans that changed after a MODSEQ.
func (s *snapshot) changedSince(spans []span, after store.ModSeq) (out []span) {
	for seq, r := range s.all(spans) {
		if r.modSeq <= after {
			continue
		}
		if n, pos := len(out), int(seq)-1; n > 0 && out[n-1].hi == pos {
			out[n-1].hi++
		} else {
			out = append(out, span{pos, pos + 1})
		}
	}
	return out
}

// cutSpans returns the messages lo up to but without hi of those in spans, from
// zero.
func cutSpans(spans []span, lo, hi int) (out []span) {
	for _, s := range spans {
		n := s.hi - s.lo
		if a, b := max(lo, 0), min(hi, n); a < b {
			out = append(out, span{s.lo + a, s.lo + b})
		}
		lo, hi = lo-n, hi-n
	}
	return out
}
