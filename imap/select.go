package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// selectMailbox is SELECT and EXAMINE (RFC 9051, 6.3.2 and 6.3.3). Whatever comes
// of it, the mailbox that was selected is not any more.
func (c *conn) selectMailbox(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	params := c.selectParams(cmd)
	if err := cmd.end(); err != nil {
		return err
	}
	if c.sel != nil {
		c.unselect()
		c.w.linef("* OK [CLOSED] Previous mailbox is now closed")
	}
	folder, err := c.folder(name)
	if err != nil {
		return err
	}
	v, snap, err := c.srv.state.views.get(c.ctx, c.access, folder.ID)
	if err != nil {
		return err
	}
	sel := &selection{id: folder.ID, view: v, snap: snap, synced: snap.box.ModSeq, rights: folder.Rights}
	sel.readOnly = cmd.name == "EXAMINE" || !strings.ContainsAny(string(folder.Rights), "swte")
	c.sel = sel
	cmd.quiet = true // it is all new

	c.w.linef("* %d EXISTS", snap.size)
	if !c.rev2 {
		c.w.linef("* 0 RECENT")
	}
	c.tellKeywords()
	if first := firstUnseen(snap); first > 0 && !c.rev2 && !c.uidOnly {
		c.w.linef("* OK [UNSEEN %d] First unseen message", first)
	}
	c.w.linef("* OK [UIDVALIDITY %d] UIDs valid", snap.box.UIDValidity)
	c.w.linef("* OK [UIDNEXT %d] Predicted next UID", snap.box.UIDNext)
	c.w.linef("* OK [HIGHESTMODSEQ %d] Highest", snap.box.ModSeq)
	c.w.linef("* OK [MAILBOXID (%s)] Same whatever its name", mailboxID(folder.ID))
	if c.rev2 {
		c.w.raw(`* LIST () "` + delimiter + `" `)
		c.w.mailbox(folder.Name)
		c.w.crlf()
	}
	c.condstore = c.condstore || params.condstore // it was just told where it is
	if params.qresync != nil {
		if err := c.resynchronize(params.qresync); err != nil {
			c.unselect()
			return err
		}
	}
	cmd.code = "READ-WRITE"
	if sel.readOnly {
		cmd.code = "READ-ONLY"
	}
	return nil
}

// firstUnseen is the number of the first message without \Seen, or zero.
func firstUnseen(s *snapshot) uint32 {
	if s.box.Unseen == 0 {
		return 0
	}
	seen := map[flagSet]bool{}
	for seq, r := range s.all(s.everything()) {
		is, known := seen[r.flags]
		if !known {
			is = hasFlag(r.flags, string(imap.FlagSeen))
			seen[r.flags] = is
		}
		if !is {
			return seq
		}
	}
	return 0
}

// tellKeywords lists the flags that messages may have, if the client does not know
// yet (RFC 9051, 7.3.5).
func (c *conn) tellKeywords() {
	sel := c.sel
	known := sel.snap.keywords
	if n := len(known); sel.keywords == n+1 {
		return
	}
	sel.keywords = len(known) + 1 // one more than zero: they were told
	var sb strings.Builder
	for i, f := range systemFlags {
		if i > 0 {
			sb.WriteByte(' ')
		}
		sb.WriteString(f)
	}
	for _, f := range usualKeywords {
		sb.WriteString(" " + f)
	}
next:
	for i, f := range known {
		if i == maxListedFlags {
			break
		}
		for _, u := range usualKeywords {
			if strings.EqualFold(u, f) {
				continue next
			}
		}
		sb.WriteString(" " + f)
	}
	all := sb.String()
	c.w.raw("* FLAGS (")
	c.w.raw(all)
	c.w.byte(')')
	c.w.crlf()
	switch {
	case sel.readOnly:
		c.w.linef("* OK [PERMANENTFLAGS ()] No permanent flags")
	case !sel.rights.Has("w"):
		c.w.linef("* OK [PERMANENTFLAGS (%s)] Some flags", strings.Join(sel.mayStore(), " "))
	default:
		c.w.raw("* OK [PERMANENTFLAGS (")
		c.w.raw(all)
		c.w.raw(` \*)] Limited`)
		c.w.crlf()
	}
}

// mayStore returns those of the system flags that the rights allow without w.
func (s *selection) mayStore() (flags []string) {
	if s.rights.Has("s") {
		flags = append(flags, string(imap.FlagSeen))
	}
	if s.rights.Has("t") {
		flags = append(flags, string(imap.FlagDeleted))
	}
	return flags
}

// unselect leaves the selected mailbox, if there is one.
func (c *conn) unselect() {
	if c.sel != nil {
		c.unwatch()
		c.srv.state.views.put(c.sel.view)
		c.sel = nil
	}
}
