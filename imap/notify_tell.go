package imap

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// maxNotices is how many mailboxes the client is told of at once; when more have
// changed it is told that, and must look for itself (RFC 5465, 5.8).
const maxNotices = 2_000

// notices tells what has changed, when the session was woken between commands or
// in IDLE, or after a command.
func (c *conn) notices() error {
	if n := c.note; c.sel != nil && n.selected != selectedNever {
		if err := c.follow(n.selected == selectedAtOnce); err != nil {
			return err
		}
	}
	c.tellListing()
	return c.w.lost()
}

// asks reports whether a command asks what there is in the selected mailbox, or
// cannot but tell.
func asks(cmd *command) bool {
	switch cmd.name {
	case "NOOP", "CHECK", "IDLE", "EXPUNGE", "MOVE", "REPLACE":
		return true
	}
	return false
}

// pollNotify tells what changed in other mailboxes. After a command that may have
// changed them it looks first, so that what the client did itself comes before the
// OK.
func (c *conn) pollNotify(cmd *command) error {
	if c.note == nil || c.note.feed == nil {
		return nil
	}
	switch cmd.name {
	case "NOOP", "APPEND", "COPY", "MOVE", "REPLACE", "EXPUNGE", "STORE", "CREATE", "DELETE", "RENAME",
		"SUBSCRIBE", "UNSUBSCRIBE", "CLOSE", "SETACL", "DELETEACL", "SETMETADATA":
		if _, err := c.note.feed.refresh(c.ctx); err != nil {
			c.log.Error("imap: reading the mailboxes for NOTIFY", "err", err)
		}
	}
	c.tellListing()
	return c.w.lost()
}

// tellListing tells what changed in other mailboxes.
func (c *conn) tellListing() {
	n := c.note
	if n == nil || n.feed == nil {
		return
	}
	was, is := n.told, n.feed.cur.Load()
	if is == nil || was == is {
		return
	}
	n.told = is
	if n.events&serverMetadataChange != 0 {
		c.tellEntries("", is.own.since(was.own))
	}
	count := 0
	was.diff(is, func(_, _ *listed) { count++ })
	if count > maxNotices {
		c.w.linef("* OK [NOTIFICATIONOVERFLOW] Too much has changed; as after NOTIFY NONE, nothing more is told")
		c.unnotify()
		c.note = &notify{}
		return
	}
	names := naming{c: c}
	was.diff(is, func(old, is *listed) { c.tellFolder(&names, old, is) })
}

// tellEntries names entries that changed (RFC 5464, 4.4.2).
func (c *conn) tellEntries(mailbox string, names []string) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	c.w.raw("* METADATA ")
	c.w.mailbox(mailbox)
	for _, n := range names {
		c.w.sp()
		if strings.IndexFunc(n, func(r rune) bool { return !isASCIIAtom(byte(r)) }) < 0 {
			c.w.raw(n)
		} else {
			c.w.string(n)
		}
	}
	c.w.crlf()
}

// tellFolder tells what changed in a mailbox; old is nil for a new one, and is for
// one that is no more.
func (c *conn) tellFolder(names *naming, old, is *listed) {
	n := c.note
	var evs notifyEvents
	var oldName, name string
	var ok bool
	if old != nil {
		if oldName, ok = c.nameOf(names, old); ok {
			evs |= n.wants(&old.Folder, oldName, old.Account == c.account)
		}
	}
	if is != nil {
		if name, ok = c.nameOf(names, is); ok {
			evs |= n.wants(&is.Folder, name, is.Account == c.account)
		}
	}
	switch {
	case evs == 0 || !ok:
		return
	case is == nil:
		// Whether somebody else's was deleted or is only hidden is not ours to
		// tell.
		if evs&mailboxName != 0 {
			c.listChange(string(imap.MailboxAttrNonExistent), old, oldName, "")
		}
		return
	case old == nil:
		if evs&mailboxName != 0 || evs&subscriptionChange != 0 && is.Subscribed {
			c.listChange("", is, name, "")
		}
	case oldName != name && evs&mailboxName != 0:
		c.listChange("", is, name, oldName)
	case old.Rights.Has("r") != is.Rights.Has("r") && evs&mailboxName != 0,
		old.Subscribed != is.Subscribed && evs&subscriptionChange != 0:
		c.listChange("", is, name, "")
	}
	if old != nil && evs&mailboxMetadataChange != 0 {
		c.tellEntries(name, is.entries.since(old.entries))
	}
	if evs&messageEvents == 0 || !is.Rights.Has("r") || c.sel != nil && c.sel.id == is.ID {
		return
	}
	var want statusOptions
	switch {
	case old == nil, !old.Rights.Has("r"), old.UIDValidity != is.UIDValidity:
		if is.UIDNext == 1 {
			return // empty, as it was made
		}
		want.NumMessages, want.UIDNext, want.NumUnseen = true, true, evs&flagChange != 0
	case old.UIDNext != is.UIDNext, old.Messages != is.Messages:
		want.NumMessages, want.UIDNext, want.NumUnseen = true, true, evs&flagChange != 0
	case evs&flagChange != 0 && (old.Unseen != is.Unseen || c.condstore && old.ModSeq != is.ModSeq):
		want.NumUnseen = true
	default:
		return
	}
	c.noteStatus(is, name, &want)
}

// tellStatus is what NOTIFY SET STATUS asks for: how the mailboxes are from which
// changes are counted (RFC 5465, 3.1).
func (c *conn) tellStatus() {
	names := naming{c: c}
	for _, f := range c.note.told.boxes {
		name, ok := c.nameOf(&names, f)
		evs := c.note.wants(&f.Folder, name, f.Account == c.account)
		switch {
		case !ok:
		case evs&messageEvents == 0, c.sel != nil && c.sel.id == f.ID:
		case !f.Rights.Has("r"):
			c.listChange("", f, name, "")
		default:
			var want statusOptions
			want.NumMessages, want.UIDNext, want.NumUnseen = true, true, evs&flagChange != 0
			c.noteStatus(f, name, &want)
		}
	}
}

func (c *conn) noteStatus(f *listed, name string, want *statusOptions) {
	want.UIDValidity, want.HighestModSeq = true, c.condstore // RFC 5465, 5.2
	mb := f.Mailbox
	mb.Name = name
	c.writeStatus(mb, want)
}

// listChange writes a LIST response about a change.
func (c *conn) listChange(attr string, f *listed, name, oldName string) {
	var attrs []string
	if attr != "" {
		attrs = append(attrs, attr)
	}
	if attr == "" {
		if !f.Rights.Has("r") {
			attrs = append(attrs, `\NoAccess`)
		}
		if f.Subscribed {
			attrs = append(attrs, string(imap.MailboxAttrSubscribed))
		}
		if a := useAttr(f.Role); a != "" && f.Account == c.account {
			attrs = append(attrs, a)
		}
	}
	c.w.raw("* LIST (")
	c.w.raw(strings.Join(attrs, " "))
	c.w.raw(`) "` + delimiter + `" `)
	c.w.mailbox(name)
	if oldName != "" {
		c.w.raw(` ("OLDNAME" (`)
		c.w.mailbox(oldName)
		c.w.raw("))")
	}
	c.w.crlf()
}

// nameOf is the name that the client uses for a mailbox, and false if there is none.
func (c *conn) nameOf(names *naming, f *listed) (string, bool) {
	name, ok, err := names.name(&f.Mailbox)
	if err != nil {
		c.log.Error("imap: whose mailbox it is, for NOTIFY", "err", err)
	}
	return name, ok && err == nil
}

// tellNew sends what NOTIFY asked to be sent of new messages, the last of the
// selected mailbox. What cannot be read is left out: the client knows that there is
// a message.
func (c *conn) tellNew(count int) {
	n := c.note
	if n == nil || n.items == nil || n.selected == selectedNever {
		return
	}
	items := *n.items
	items.UID, items.ModSeq = !c.uidOnly, items.ModSeq || c.condstore // RFC 5465, 5.2
	size := c.sel.snap.size
	err := c.load([]span{{size - count, size}}, items.level(), func(es []*entry) error {
		for _, e := range es {
			if e.msg == nil && items.needs(hotRows) {
				continue
			}
			err := c.fetchMessage(&items, e)
			if lost := c.w.lost(); lost != nil {
				return lost
			}
			if err != nil && !c.w.abandon() {
				return errors.Join(errClosed, err)
			}
		}
		return nil
	})
	if err != nil && !gone(err) {
		c.log.Error("imap: reading new messages for NOTIFY", "err", err)
	}
}

// watch has the session woken when its selected mailbox changes, if it wants to.
func (c *conn) watch() error {
	sel := c.sel
	if sel == nil || sel.watched || c.note == nil || c.note.selected == selectedNever {
		return nil
	}
	sel.watched = true
	c.srv.state.views.wait(sel.view, c)
	// What came meanwhile.
	return c.update(c.ctx, c.note.selected == selectedAtOnce)
}

// unwatch ends what watch began, and IDLE.
func (c *conn) unwatch() {
	if c.sel.watched {
		c.sel.watched = false
		c.srv.state.views.leave(c.sel.view, c)
	}
}
