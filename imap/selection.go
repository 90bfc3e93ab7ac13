package imap

import (
	"context"
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// A selection is the selected mailbox of a session.
type selection struct {
	id       store.MailboxID
	view     *view
	snap     *snapshot    // what the client was told
	synced   store.ModSeq // up to which it was told everything
	told     store.ModSeq // the largest it was told since the last command
	expunged bool         // it was told of expunged messages since then
	rights   store.Rights
	readOnly bool
	live     []*liveResult // which the client wants to hear about
	saved    imap.UIDSet   // the result of the last SEARCH RETURN (SAVE)
	keywords int           // how many of snap.keywords the client was told
	watched  bool          // the session is woken when the mailbox changes
}

// resolve finds the messages of a set. Numbers that no message has are an error;
// UIDs that no message has are passed over.
func (s *selection) resolve(set imap.NumSet) ([]span, error) {
	if imap.IsSearchRes(set) {
		return s.snap.uidSpans(s.saved), nil
	}
	switch set := set.(type) {
	case imap.SeqSet:
		if ss, ok := s.snap.seqSpans(set); ok {
			return ss, nil
		}
		return nil, bad("No message has such a sequence number")
	case imap.UIDSet:
		return s.snap.uidSpans(set), nil
	}
	return nil, errors.New("imap: neither sequence numbers nor UIDs")
}

// note takes what this session changed itself into what its client was told, so
// that it is not told again.
func (s *selection) note(ms []store.Message) { s.snap = s.snap.with(ms) }

// with returns s with those of ms that are in it as they are now.
func (s *snapshot) with(ms []store.Message) *snapshot {
	changes := make([]change, 0, len(ms))
	for _, m := range ms {
		if _, ok := s.find(m.UID); ok {
			changes = append(changes, change{row: row{m.UID, joinFlags(m.Flags), m.ModSeq}})
		}
	}
	if len(changes) == 0 {
		return s
	}
	return s.apply(changes)
}

// poll tells the client what changed, before the OK of a command.
func (c *conn) poll(cmd *command) error {
	if c.sel != nil && !cmd.quiet {
		if err := c.pollSelected(cmd); err != nil {
			return err
		}
	}
	return c.pollNotify(cmd)
}

// pollSelected tells what changed in the selected mailbox.
func (c *conn) pollSelected(cmd *command) error {
	if c.note != nil && c.note.selected == selectedNever && !asks(cmd) {
		return nil
	}
	// Others may use sequence numbers, so messages must not lose theirs while
	// one of these runs (RFC 9051, 7.5.1).
	expunge := cmd.uid
	switch cmd.name {
	case "FETCH", "STORE", "SEARCH", "SORT", "THREAD": // RFC 5256, 3
	default:
		expunge = true
	}
	expunge = expunge && !cmd.numbers // RFC 7162, 3.2.10.2
	switch cmd.name {
	case "FETCH", "SEARCH", "STORE", "STATUS", "LIST", "APPEND":
		if c.in.pending() {
			return nil // the client has asked for more already; later will do
		}
	}
	return c.update(c.ctx, expunge)
}

// update tells the client what changed. Without expunge, messages that have gone
// keep their numbers.
func (c *conn) update(ctx context.Context, expunge bool) error {
	is, err := c.sel.view.refresh(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDenied):
		return bye("", "The selected mailbox has gone")
	case err != nil:
		c.log.Error("imap: reading the mailbox", "err", err)
		return nil // the client learns of it another time
	}
	c.tell(is, expunge)
	return c.w.lost()
}

// follow is update after the view was moved on by views.follow, which has read for
// all sessions: a thousand that are woken at once read nothing themselves.
func (c *conn) follow(expunge bool) error {
	if err := c.sel.view.lost(); err != nil {
		return c.update(c.ctx, expunge) // for this session to find out
	}
	c.tell(c.sel.view.cur.Load(), expunge)
	return c.w.lost()
}

// tell writes the difference between what the client was told and is.
func (c *conn) tell(is *snapshot, expunge bool) {
	was := c.sel.snap
	defer c.liveChanged()
	if was == is {
		return
	}
	gone, changed, added := was.diff(is)
	next, synced := is, is.box.ModSeq
	if len(gone) > 0 && !expunge {
		changes := make([]change, 0, len(changed)+len(added))
		for _, r := range changed {
			changes = append(changes, change{row: r})
		}
		for _, r := range added {
			changes = append(changes, change{row: r})
		}
		next = was.apply(changes)
		next.box, next.keywords = is.box, is.keywords
		gone, synced = nil, c.sel.synced
	}
	if n := c.note; len(changed) > 0 && n != nil && n.selected != selectedNever && !n.flags {
		changed, synced = nil, c.sel.synced // the client does not want to know now
	}
	c.liveGone(was, gone)
	c.tellGone(was, gone)
	c.sel.snap, c.sel.synced = next, synced
	c.tellKeywords()
	for _, r := range changed {
		if pos, ok := was.find(r.uid); !c.condstore && ok && was.at(pos).flags == r.flags {
			continue
		}
		pos, _ := next.find(r.uid)
		c.fetchFlags(uint32(pos)+1, r, true, true)
	}
	if len(added) > 0 {
		c.w.raw("* ")
		c.w.num(uint64(next.size))
		c.w.raw(" EXISTS")
		c.w.crlf()
		c.tellNew(len(added))
	}
}

// tellGone tells that messages have gone, by their positions in what the client
// knows: with VANISHED if it can take that (RFC 7162, 3.2.10), else with EXPUNGE.
func (c *conn) tellGone(was *snapshot, gone []int) {
	if len(gone) == 0 {
		return
	}
	c.sel.expunged = true
	if c.qresync || c.uidOnly {
		var uids rangeWriter
		for _, pos := range gone {
			uids.add(was.at(pos).uid)
		}
		c.w.raw("* VANISHED ")
		c.w.raw(uids.String())
		c.w.crlf()
		return
	}
	for _, pos := range slices.Backward(gone) { // from the end, so that numbers hold
		c.w.raw("* ")
		c.w.num(uint64(pos) + 1)
		c.w.raw(" EXPUNGE")
		c.w.crlf()
	}
}

// fetchFlags writes a FETCH response that nobody asked for, or that STORE makes: with
// the flags of a message, unless the client knows them, and with its UID, if that is
// wanted or the client knows of MODSEQs (RFC 7162, 3.2.4).
func (c *conn) fetchFlags(seq uint32, r row, uid, flags bool) {
	c.fetchHead(seq, r.uid)
	if (uid || c.condstore) && !c.uidOnly {
		c.w.raw("UID ")
		c.w.num(uint64(r.uid))
		c.w.sp()
	}
	if flags {
		c.w.raw("FLAGS ")
		c.w.flags(r.flags.Value())
		if c.condstore {
			c.w.sp()
		}
	}
	if c.condstore {
		c.modSeq(r)
	}
	c.w.byte(')')
	c.w.crlf()
}

// fetchHead begins a FETCH response, or UIDFETCH where there are no sequence numbers
// (RFC 9586).
func (c *conn) fetchHead(seq uint32, uid store.UID) {
	c.w.raw("* ")
	if c.uidOnly {
		c.w.num(uint64(uid))
		c.w.raw(" UIDFETCH (")
		return
	}
	c.w.num(uint64(seq))
	c.w.raw(" FETCH (")
}
