package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// fetch is FETCH and UID FETCH (RFC 9051, 6.4.5).
//
// What the client was told already, numbers and flags, is not read again. Messages
// that have gone meanwhile are passed over; so are those that cannot be read, and
// then the answer is NO after all others were sent.
func (c *conn) fetch(cmd *command) error {
	cmd.sp()
	set := cmd.numSet(cmd.uid)
	cmd.sp()
	items := cmd.fetchItems()
	items.UID = items.UID || cmd.uid && !c.uidOnly
	mods := c.fetchModifiers(cmd)
	if err := cmd.end(); err != nil {
		return err
	}
	spans, err := c.sel.resolve(set)
	if err != nil {
		return err
	}
	items.ModSeq = items.ModSeq || mods.since
	if items.ModSeq {
		c.enableCondstore()
	}
	if mods.vanished {
		if err := c.writeVanished(c.sel.uidRanges(set), mods.after, 0); err != nil {
			return err
		}
	}
	spans = mods.narrow(c.sel.snap, spans)
	if !items.needs(hotRows) {
		for seq, r := range c.sel.snap.all(spans) {
			if c.fetchMessage(items, &entry{seq: seq, row: r}); c.w.Err != nil {
				break
			}
		}
		return c.w.lost()
	}
	// Reading must go on when nothing can be written, so that people can still
	// get at their mail: an error of marking it as seen is only logged.
	mark := items.marks() && !c.sel.readOnly && c.sel.rights.Has("s")
	gone := false
	var failed error
	err = c.load(spans, items.level(), func(es []*entry) error {
		if mark {
			c.markSeen(es)
		}
		for _, e := range es {
			if e.msg == nil {
				gone = true
				continue
			}
			err := c.fetchMessage(items, e)
			if err := c.w.lost(); err != nil {
				return err
			}
			if err != nil {
				if !c.w.abandon() {
					return errors.Join(errClosed, err)
				}
				failed = err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case gone && !cmd.uid:
		return errGone
	}
	return nil
}

// markSeen sets \Seen on those messages that lack it.
func (c *conn) markSeen(es []*entry) {
	var uids []store.UID
	for _, e := range es {
		if e.msg != nil && !hasFlag(e.row.flags, string(imap.FlagSeen)) {
			uids = append(uids, e.row.uid)
		}
	}
	if len(uids) == 0 {
		return
	}
	change := store.FlagChange{Add: []string{string(imap.FlagSeen)}}
	changed, _, err := c.access.SetFlags(c.ctx, c.sel.id, change, uids...)
	if err != nil {
		c.log.Error("imap: marking messages as seen", "err", err)
		return
	}
	c.sel.note(changed)
	i := 0
	for _, m := range changed {
		for i < len(es) && es[i].row.uid < m.UID {
			i++
		}
		if i < len(es) && es[i].row.uid == m.UID {
			es[i].row.flags, es[i].row.modSeq, es[i].marked = joinFlags(m.Flags), m.ModSeq, true
		}
	}
}

// fetchMessage writes the response for one message. After an error the response is
// not ended.
func (c *conn) fetchMessage(items *fetchItems, e *entry) error {
	c.fetchHead(e.seq, e.row.uid)
	first := true
	name := func(s string) {
		if !first {
			c.w.sp()
		}
		first = false
		c.w.raw(s)
	}
	if items.UID || e.marked && c.condstore && !c.uidOnly {
		name("UID ")
		c.w.num(uint64(e.row.uid))
	}
	if items.Flags || e.marked {
		name("FLAGS ")
		c.w.flags(e.row.flags.Value())
	}
	if items.ModSeq || e.marked && c.condstore {
		name("")
		c.modSeq(e.row)
	}
	if items.InternalDate {
		name("INTERNALDATE ")
		c.w.dateTime(e.msg.Received)
	}
	if items.RFC822Size {
		name("RFC822.SIZE ")
		c.w.num(uint64(e.msg.Size))
	}
	if items.emailID || items.threadID || items.saveDate || items.preview {
		if err := c.fetchExtras(items, e, name); err != nil {
			return err
		}
	}
	if items.Envelope {
		env, err := e.envelope()
		if err != nil {
			return err
		}
		name("ENVELOPE ")
		c.w.envelope(env)
	}
	if items.BodyStructure != nil || items.body {
		root, err := e.structure()
		if err != nil {
			return err
		}
		if items.BodyStructure != nil {
			name("BODYSTRUCTURE ")
			c.w.structure(root, true)
		}
		if items.body {
			name("BODY ")
			c.w.structure(root, false)
		}
	}
	for i := range items.BodySection {
		name("")
		c.sectionName(items, i)
		if err := c.writeSection(e, items, i); err != nil {
			return err
		}
	}
	for _, s := range items.BinarySectionSize {
		n, err := c.binarySize(e, s.Part)
		if err != nil {
			return err
		}
		name("BINARY.SIZE")
		c.w.part(s.Part)
		c.w.sp()
		c.w.num(uint64(n))
	}
	for _, s := range items.BinarySection {
		name("BINARY")
		c.w.part(s.Part)
		c.w.origin(s.Partial)
		if err := c.writeBinary(e, s); err != nil {
			return err
		}
	}
	c.w.byte(')')
	c.w.crlf()
	return nil
}
