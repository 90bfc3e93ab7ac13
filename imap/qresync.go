package imap

import (
	"errors"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// Quick resynchronisation (RFC 7162, 3.2): a client that comes back says how far it
// was, and hears what has gone and what has changed since.

func formatModSeq(n store.ModSeq) string { return strconv.FormatUint(uint64(n), 10) }

// A resync is the QRESYNC parameter of SELECT (RFC 7162, 3.2.5).
type resync struct {
	uidValidity uint32
	after       store.ModSeq
	known       []numRange // UIDs; nil means all that there ever were
	seqs, uids  []numRange // sequence match data, pair by pair
}

// selectParams are what follows the name of a mailbox in SELECT.
type selectParams struct {
	condstore bool
	qresync   *resync
}

func (c *conn) selectParams(cmd *command) (o selectParams) {
	if !cmd.more() {
		return o
	}
	cmd.list(func() {
		switch cmd.keyword() {
		case "CONDSTORE":
			o.condstore = true
		case "QRESYNC":
			if !c.qresync {
				cmd.fail("QRESYNC is not enabled")
			}
			cmd.sp()
			o.qresync = cmd.resync()
			if o.qresync.seqs != nil && c.uidOnly {
				cmd.err = errUIDRequired
			}
		default:
			cmd.fail("unknown parameter")
		}
	})
	return o
}

// resync reads the arguments of QRESYNC. UIDs may be left out, and sequence match
// data too.
func (p *parser) resync() *resync {
	r := new(resync)
	p.want('(')
	r.uidValidity = p.nzNumber()
	p.sp()
	r.after = p.modSeqValue()
	more := p.peek() == ' '
	if more {
		p.sp()
	}
	if more && p.peek() != '(' {
		r.known = p.noStar()
		if more = p.peek() == ' '; more {
			p.sp()
		}
	}
	if more {
		p.want('(')
		r.seqs = p.noStar()
		p.sp()
		r.uids = p.noStar()
		p.want(')')
		if p.ok() && rangesLen(r.seqs) != rangesLen(r.uids) {
			p.fail("as many sequence numbers as UIDs")
		}
	}
	p.want(')')
	return r
}

// noStar reads a set without "*".
func (p *parser) noStar() []numRange {
	rs := p.ranges()
	for _, r := range rs {
		if r.lo == 0 || r.hi == 0 {
			p.fail("no * here")
		}
	}
	return rs
}

func rangesLen(rs []numRange) (n uint64) {
	for _, r := range rs {
		n += uint64(r.hi-r.lo) + 1
	}
	return n
}

// lastMatch returns the last UID of the match data that the client has right: up to
// there it knows of all that has gone (RFC 7162, 3.2.5.2).
func (r *resync) lastMatch(s *snapshot) (last store.UID) {
	uids := slices.Clone(r.uids)
	for _, q := range r.seqs {
		for seq := q.lo; seq <= q.hi && len(uids) > 0; {
			u := &uids[0]
			n := min(q.hi-seq, u.hi-u.lo) // pairs of this run, but one
			if int64(seq) > int64(s.size) {
				return last
			}
			for i := range uint32(min(uint64(n), uint64(s.size)-uint64(seq)) + 1) {
				if s.at(int(seq+i)-1).uid == store.UID(u.lo+i) {
					last = store.UID(u.lo + i)
				}
			}
			if seq += n; u.lo+n == u.hi {
				uids = uids[1:]
			} else {
				u.lo += n + 1
			}
			if seq == q.hi {
				break
			}
			seq++
		}
	}
	return last
}

// resynchronize answers the QRESYNC parameter, in a mailbox that was just selected.
func (c *conn) resynchronize(r *resync) error {
	s := c.sel.snap
	if r.uidValidity != s.box.UIDValidity {
		return nil // the client sees that from what it was told
	}
	known := r.known
	if known == nil {
		known = []numRange{{1, 0}}
	}
	if after, last := r.after, r.lastMatch(s); after > s.box.ModSeq {
		r.after = 0 // it was of a future that a restored backup took back
		var gone rangeWriter
		s.missing(known, last, &gone)
		c.writeEarlier(&gone)
	} else if err := c.writeVanished(known, after, last); err != nil {
		return err
	}
	set := make(imap.UIDSet, len(known))
	for i, k := range known {
		set[i] = imap.UIDRange{Start: imap.UID(k.lo), Stop: imap.UID(k.hi)}
	}
	for seq, m := range s.all(s.changedSince(s.uidSpans(set), r.after)) {
		c.fetchFlags(seq, m, true, true)
	}
	return nil
}

// writeVanished tells which of known have gone since a MODSEQ, but for UIDs up to
// last. What the client still believes to be there is told another time, as is what
// came and went since.
//
// The store knows them one by one, unless it has forgotten: then it is all of known
// that are not there.
func (c *conn) writeVanished(known []numRange, after store.ModSeq, last store.UID) error {
	s := c.sel.snap
	if after >= s.box.ModSeq {
		return nil
	}
	var gone rangeWriter
	uids, err := c.access.Vanished(c.ctx, c.sel.id, after)
	switch {
	case errors.Is(err, store.ErrHorizon):
		s.missing(known, last, &gone)
	case err != nil:
		return err
	default:
		for _, uid := range uids {
			for len(known) > 0 && known[0].hi != 0 && store.UID(known[0].hi) < uid {
				known = known[1:]
			}
			if len(known) == 0 || uid >= s.box.UIDNext {
				break
			}
			if _, there := s.find(uid); !there && uid > last && store.UID(known[0].lo) <= uid {
				gone.add(uid)
			}
		}
	}
	c.writeEarlier(&gone)
	return nil
}

func (c *conn) writeEarlier(gone *rangeWriter) {
	if set := gone.String(); set != "" {
		c.w.raw("* VANISHED (EARLIER) ")
		c.w.raw(set)
		c.w.crlf()
	}
}

// missing gives w those of the UIDs in set above last that no message has. It takes
// a step for each range and each message.
func (s *snapshot) missing(set []numRange, last store.UID, w *rangeWriter) {
	for _, r := range set {
		lo, hi := max(store.UID(r.lo), last+1), store.UID(r.hi)
		if hi == 0 || hi >= s.box.UIDNext {
			hi = s.box.UIDNext - 1
		}
		if lo > hi {
			continue
		}
		from, _ := s.find(lo)
		to, there := s.find(hi)
		if there {
			to++
		}
		for _, m := range s.all([]span{{from, to}}) {
			w.addRange(lo, m.uid-1)
			lo = m.uid + 1
		}
		w.addRange(lo, hi)
	}
}

// uidRanges returns a set of UIDs as ranges, in order, but for "*" alone: that is a
// message which is there.
func (s *selection) uidRanges(set imap.NumSet) []numRange {
	if imap.IsSearchRes(set) {
		set = s.saved
	}
	uids, _ := set.(imap.UIDSet)
	out := make([]numRange, 0, len(uids))
	for _, r := range uids {
		if r.Start != 0 {
			out = append(out, numRange{uint32(r.Start), uint32(r.Stop)})
		}
	}
	return out
}
