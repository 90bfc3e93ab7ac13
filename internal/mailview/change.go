package mailview

import (
	"context"
	"fmt"
	"iter"

	"github.com/mailkeel/mailkeel/store"
)

// A Flag is one that people set.
type Flag uint8

const (
	Seen Flag = iota
	Flagged
)

// Keywords, in the spelling of RFC 5788's registry. Junk and NonJunk are those of
// programs that are older than it.
const (
	keyForwarded = "$Forwarded"
	keyJunk      = "$Junk"
	keyNotJunk   = "$NotJunk"
)

// Mark sets or takes away a flag of messages, and says how many changed. Messages that
// have gone are passed over, here and below.
func (b *Box) Mark(ctx context.Context, folder store.MailboxID, flag Flag, on bool, uids ...store.UID) (int, error) {
	var name string
	switch flag {
	case Seen:
		name = store.FlagSeen
	case Flagged:
		name = store.FlagFlagged
	default:
		return 0, fmt.Errorf("%w: flag %d", store.ErrInvalid, flag)
	}
	c := store.FlagChange{Add: []string{name}}
	if !on {
		c = store.FlagChange{Remove: []string{name}}
	}
	changed, _, err := b.access.SetFlags(ctx, folder, c, uids...)
	return len(changed), err
}

// Move puts messages into another folder, and says how many.
func (b *Box) Move(ctx context.Context, from, to store.MailboxID, uids ...store.UID) (int, error) {
	if from == to {
		_, err := b.access.Mailbox(ctx, from)
		return 0, err
	}
	moved, err := b.access.Move(ctx, from, to, uids...)
	return len(moved), err
}

// Delete moves messages to Trash, which is made if it is missing; those that lie there
// are removed for good.
func (b *Box) Delete(ctx context.Context, folder store.MailboxID, uids ...store.UID) (int, error) {
	mb, err := b.access.Mailbox(ctx, folder)
	if err != nil {
		return 0, err
	}
	if mb.Role == "trash" {
		gone, err := b.access.Expunge(ctx, folder, uids...)
		return len(gone), err
	}
	to, err := b.place(ctx, &mb, "trash")
	if err != nil {
		return 0, err
	}
	return b.Move(ctx, folder, to, uids...)
}

// MarkJunk says that messages are junk, or are not, and moves them to Junk or to INBOX,
// of which it says how many. Those that lie there are marked alone.
func (b *Box) MarkJunk(ctx context.Context, folder store.MailboxID, junk bool, uids ...store.UID) (int, error) {
	mb, err := b.access.Mailbox(ctx, folder)
	if err != nil {
		return 0, err
	}
	c, role := store.FlagChange{Add: []string{keyNotJunk}, Remove: []string{keyJunk, "Junk"}}, "inbox"
	if junk {
		c, role = store.FlagChange{Add: []string{keyJunk}, Remove: []string{keyNotJunk, "NonJunk"}}, "junk"
	}
	to := folder // it may be there already
	if junk && mb.Role != "junk" || !junk && mb.Name != inbox {
		if to, err = b.place(ctx, &mb, role); err != nil {
			return 0, err
		}
	}
	changed, _, err := b.access.SetFlags(ctx, folder, c, uids...)
	if err != nil || to == folder {
		return len(changed), err
	}
	return b.Move(ctx, folder, to, uids...)
}

// place returns where messages of a folder go: to the folder with a role of the same
// owner, if that is shared too and takes them, and else to one's own, made if it is
// missing.
func (b *Box) place(ctx context.Context, from *store.Folder, role string) (store.MailboxID, error) {
	if from.Account != b.account {
		shared, err := b.access.Shared(ctx)
		if err != nil {
			return 0, err
		}
		for _, f := range shared {
			if f.Account == from.Account && (f.Role == role || role == "inbox" && f.Name == inbox) && f.Rights.Has("i") {
				return f.ID, nil
			}
		}
	}
	f, err := b.RoleFolder(ctx, role)
	return f.ID, err
}

// everything returns the UIDs of all messages of a folder.
func (b *Box) everything(ctx context.Context, id store.MailboxID) (uids []store.UID, err error) {
	err = b.access.Scan(ctx, id, store.Query{Brief: true}, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		uids = nil
		for m, err := range ms {
			if err != nil {
				return err
			}
			uids = append(uids, m.UID)
		}
		return nil
	})
	return uids, err
}
