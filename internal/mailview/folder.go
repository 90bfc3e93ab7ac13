package mailview

import (
	"context"

	"github.com/mailkeel/mailkeel/store"
)

// A Folder is a mailbox as a person sees it.
type Folder struct {
	ID    store.MailboxID
	Name  string // whole, with store.Separator between its parts
	Label string // the last part of Name
	Depth int    // how many folders that are listed stand above it
	// Role is what an own folder is for: "inbox", "drafts", "sent", "archive",
	// "junk", "trash", another special use, or empty. Labels of folders with one of these
	// are best replaced by words in the language of the reader.
	Role string
	// Owner is the address of who shares the folder; empty for one's own.
	Owner string
	// Messages and Unseen are zero in a folder that may not be read.
	Messages, Unseen int
	Rights           store.Rights
}

// Kept reports whether the folder cannot be renamed or deleted: see ErrKept.
func (f *Folder) Kept() bool { return f.Role != "" }

// May reports whether one has all of these rights in the folder (RFC 4314): "r" to
// read, "s" to mark as read, "w" to flag, "i" to file into it, "te" to move and delete what
// lies there, "k" to make folders below, "x" to rename and delete it.
func (f *Folder) May(rights store.Rights) bool { return f.Rights.Has(rights) }

// Folders returns the folders in the order in which people want them: their own, of each
// level INBOX first, then drafts, sent, archive, junk and trash, then the others by
// name, each with those below it behind it; and then those that others share.
func (b *Box) Folders(ctx context.Context) ([]Folder, error) { return nil, errNotYet }

// Folder returns one folder, or store.ErrNotFound.
func (b *Box) Folder(ctx context.Context, id store.MailboxID) (Folder, error) {
	return Folder{}, errNotYet
}

// RoleFolder returns the own folder that has a role, made if it is missing: "inbox",
// "drafts", "sent", "archive", "junk" or "trash".
func (b *Box) RoleFolder(ctx context.Context, role string) (Folder, error) {
	return Folder{}, errNotYet
}

// CreateFolder makes a folder below another, or at the top if parent is zero. Errors are
// those of store.Access.CreateIn: ErrExists, ErrInvalid for a label that cannot be,
// ErrDenied, ErrLimit.
func (b *Box) CreateFolder(ctx context.Context, parent store.MailboxID, label string) (Folder, error) {
	return Folder{}, errNotYet
}

// RenameFolder gives a folder another label; it stays where it is. ErrKept, and the
// errors of CreateFolder.
func (b *Box) RenameFolder(ctx context.Context, id store.MailboxID, label string) error {
	return errNotYet
}

// DeleteFolder moves the messages of a folder to Trash and deletes it. Folders below it
// stay. ErrKept for INBOX and those with a role.
func (b *Box) DeleteFolder(ctx context.Context, id store.MailboxID) error { return errNotYet }

// EmptyFolder removes all messages of Trash or Junk for good, and says how many.
// store.ErrInvalid for any other folder.
func (b *Box) EmptyFolder(ctx context.Context, id store.MailboxID) (n int, err error) {
	return 0, errNotYet
}
