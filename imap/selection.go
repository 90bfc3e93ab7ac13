package imap

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// A selection is the selected mailbox of a session.
type selection struct {
	id       store.MailboxID
	view     *view
	snap     *snapshot // what the client was told
	rights   store.Rights
	readOnly bool
	saved    imap.UIDSet // the result of the last SEARCH RETURN (SAVE)
	keywords int         // how many of snap.keywords the client was told
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
func (s *selection) note(ms []store.Message) {
	changes := make([]change, 0, len(ms))
	for _, m := range ms {
		if _, ok := s.snap.find(m.UID); ok {
			changes = append(changes, change{row: row{m.UID, joinFlags(m.Flags), m.ModSeq}})
		}
	}
	if len(changes) > 0 {
		s.snap = s.snap.apply(changes)
	}
}

// poll tells the client what changed in its mailbox, before the OK of a command.
func (c *conn) poll(cmd *command) error {
	if cmd.quiet || c.sel == nil {
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
	if was == is {
		return
	}
	gone, changed, added := was.diff(is)
	next := is
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
		gone = nil
	}
	for i := len(gone) - 1; i >= 0; i-- { // from the end, so that numbers hold
		c.w.raw("* ")
		c.w.num(uint64(gone[i]) + 1)
		c.w.raw(" EXPUNGE")
		c.w.crlf()
	}
	c.sel.snap = next
	c.tellKeywords()
	for _, r := range changed {
		if pos, ok := was.find(r.uid); ok && was.at(pos).flags == r.flags {
			continue
		}
		pos, _ := next.find(r.uid)
		c.fetchFlags(uint32(pos)+1, r, true)
	}
	if len(added) > 0 {
		c.w.raw("* ")
		c.w.num(uint64(next.size))
		c.w.raw(" EXISTS")
		c.w.crlf()
	}
}

// fetchFlags writes a FETCH response with the flags of a message.
func (c *conn) fetchFlags(seq uint32, r row, uid bool) {
	c.w.raw("* ")
	c.w.num(uint64(seq))
	c.w.raw(" FETCH (")
	if uid {
		c.w.raw("UID ")
		c.w.num(uint64(r.uid))
		c.w.sp()
	}
	c.w.raw("FLAGS ")
	c.w.flags(r.flags.Value())
	c.w.byte(')')
	c.w.crlf()
}
