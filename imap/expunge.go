package imap

import (
	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// expunge is EXPUNGE (RFC 9051, 6.4.3) and UID EXPUNGE (6.4.9). The responses are
// those that any session gets.
func (c *conn) expunge(cmd *command) error {
	var set imap.UIDSet
	if cmd.uid {
		cmd.sp()
		set = cmd.uidSet()
	}
	if err := cmd.end(); err != nil {
		return err
	}
	if err := c.writable(); err != nil {
		return err
	}
	snap, err := c.sel.view.refresh(c.ctx) // with what others marked
	if err != nil {
		return err
	}
	spans := snap.everything()
	if cmd.uid {
		if imap.IsSearchRes(set) {
			set = c.sel.saved
		}
		spans = snap.uidSpans(set)
	}
	uids := marked(snap, spans)
	if len(uids) == 0 {
		return nil
	}
	_, err = c.access.ExpungeMarked(c.ctx, c.sel.id, uids...)
	return err
}

// marked returns the UIDs of messages with \Deleted.
func marked(s *snapshot, spans []span) (uids []store.UID) {
	if s.box.Marked == 0 {
		return nil
	}
	deleted := map[flagSet]bool{}
	for _, r := range s.all(spans) {
		is, known := deleted[r.flags]
		if !known {
			is = hasFlag(r.flags, store.FlagDeleted)
			deleted[r.flags] = is
		}
		if is {
			uids = append(uids, r.uid)
		}
	}
	return uids
}

// writable refuses to change a mailbox that EXAMINE opened.
func (c *conn) writable() error {
	if c.sel.readOnly {
		return no(imap.ResponseCodeNoPerm, "Mailbox is read-only")
	}
	return nil
}
