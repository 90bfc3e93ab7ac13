package imap

import (
	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// statusOf is STATUS (RFC 9051, 6.3.11).
func (c *conn) statusOf(cmd *command) error {
	cmd.sp()
	name := cmd.mailbox()
	cmd.sp()
	want := cmd.statusItems()
	if err := cmd.end(); err != nil {
		return err
	}
	folder, err := c.folderFor(name, "r")
	if err != nil {
		return err
	}
	return c.writeStatus(folder.Mailbox, want)
}

// statusOptions are the items of STATUS.
type statusOptions struct {
	imap.StatusOptions
	MailboxID bool // RFC 8474, 4.3
}

// statusItems reads the list of what is asked.
func (p *parser) statusItems() *statusOptions {
	o := &statusOptions{}
	n := 0
	p.list(func() {
		n++
		switch p.keyword() {
		case "MESSAGES":
			o.NumMessages = true
		case "RECENT":
			o.NumRecent = true
		case "UIDNEXT":
			o.UIDNext = true
		case "UIDVALIDITY":
			o.UIDValidity = true
		case "UNSEEN":
			o.NumUnseen = true
		case "DELETED":
			o.NumDeleted = true
		case "SIZE":
			o.Size = true
		case "HIGHESTMODSEQ":
			o.HighestModSeq = true
		case "MAILBOXID":
			o.MailboxID = true
		case "APPENDLIMIT":
			o.AppendLimit = true
		case "DELETED-STORAGE":
			o.DeletedStorage = true
		default:
			p.fail("unknown status item")
		}
	})
	if n == 0 {
		p.fail("expected status items")
	}
	return o
}

// writeStatus writes a STATUS response about a mailbox that the account may read.
func (c *conn) writeStatus(mb store.Mailbox, want *statusOptions) error {
	var deleted int64
	if want.DeletedStorage {
		var err error
		if deleted, err = c.access.MarkedBytes(c.ctx, mb.ID); err != nil {
			return err
		}
	}
	if want.HighestModSeq {
		c.enableCondstore()
	}
	c.w.raw("* STATUS ")
	c.w.mailbox(mb.Name)
	sep := " ("
	item := func(asked bool, name string, n uint64) {
		if asked {
			c.w.raw(sep)
			c.w.raw(name)
			c.w.num(n)
			sep = " "
		}
	}
	item(want.NumMessages, "MESSAGES ", uint64(mb.Messages))
	item(want.NumRecent, "RECENT ", 0)
	item(want.UIDNext, "UIDNEXT ", uint64(mb.UIDNext))
	item(want.UIDValidity, "UIDVALIDITY ", uint64(mb.UIDValidity))
	item(want.NumUnseen, "UNSEEN ", uint64(mb.Unseen))
	item(want.NumDeleted, "DELETED ", uint64(mb.Marked))
	item(want.Size, "SIZE ", uint64(mb.Bytes))
	item(want.AppendLimit, "APPENDLIMIT ", uint64(c.srv.maxAppend()))
	item(want.HighestModSeq, "HIGHESTMODSEQ ", uint64(mb.ModSeq))
	if want.MailboxID {
		c.w.raw(sep + "MAILBOXID (" + mailboxID(mb.ID) + ")")
	}
	item(want.DeletedStorage, "DELETED-STORAGE ", uint64(deleted))
	c.w.byte(')')
	c.w.crlf()
	return nil
}
