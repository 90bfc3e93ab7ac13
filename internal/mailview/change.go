package mailview

import (
	"context"

	"github.com/mailkeel/mailkeel/store"
)

// A Flag is one that people set.
type Flag uint8

const (
	Seen Flag = iota
	Flagged
)

// Mark sets or takes away a flag of messages, and says how many changed. Messages that
// have gone are passed over, here and below.
func (b *Box) Mark(ctx context.Context, folder store.MailboxID, flag Flag, on bool, uids ...store.UID) (int, error) {
	return 0, errNotYet
}

// Move puts messages into another folder, and says how many.
func (b *Box) Move(ctx context.Context, from, to store.MailboxID, uids ...store.UID) (int, error) {
	return 0, errNotYet
}

// Delete moves messages to Trash, which is made if it is missing; those that lie there
// are removed for good, and so are drafts.
func (b *Box) Delete(ctx context.Context, folder store.MailboxID, uids ...store.UID) (int, error) {
	return 0, errNotYet
}

// MarkJunk says that messages are junk, or are not, and moves them to Junk or to INBOX.
// Those that lie there are marked alone.
func (b *Box) MarkJunk(ctx context.Context, folder store.MailboxID, junk bool, uids ...store.UID) (int, error) {
	return 0, errNotYet
}
