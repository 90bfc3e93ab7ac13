package mailview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
)

// A Folder is a mailbox as a person sees it.
type Folder struct {
	ID    store.MailboxID
	Name  string // whole, with store.Separator between its parts
	Label string // the last part of Name
	Depth int    // how many folders that are listed stand above it
	// Role is what an own folder is for: "inbox", "drafts", "sent", "archive",
	// "junk", "trash", another special use, or empty. The labels of those are best
	// replaced by words in the language of the reader.
	Role string
	// Owner is the address of who shares the folder; empty for one's own.
	Owner string
	// Messages and Unseen are zero in a folder that may not be read.
	Messages, Unseen int
	Rights           store.Rights

	kept bool
}

// Kept reports whether the folder cannot be renamed or deleted: see ErrKept.
func (f *Folder) Kept() bool { return f.kept }

// May reports whether one has all of these rights in the folder (RFC 4314): "r" to
// read, "s" to mark as read, "w" to flag, "i" to file into it, "te" to move and delete
// what lies there, "k" to make folders below, "x" to rename and delete it.
func (f *Folder) May(rights store.Rights) bool { return f.Rights.Has(rights) }

const inbox = "INBOX"

// Folders returns the folders in the order in which people want them: their own, of each
// level INBOX first, then drafts, sent, archive, junk and trash, then the others by
// name, each with those below it behind it; and then those that others share.
func (b *Box) Folders(ctx context.Context) ([]Folder, error) {
	own, err := b.access.Folders(ctx)
	if err != nil {
		return nil, err
	}
	shared, err := b.access.Shared(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Folder, 0, len(own)+len(shared))
	for _, mb := range own {
		out = append(out, folderOf(mb, ""))
	}
	sortFolders(out)
	for len(shared) > 0 {
		n := slices.IndexFunc(shared, func(f store.Folder) bool { return f.Account != shared[0].Account })
		if n < 0 {
			n = len(shared)
		}
		owner, err := b.owner(ctx, shared[0].Account)
		if err != nil {
			return nil, err
		}
		from := len(out)
		for _, mb := range shared[:n] {
			out = append(out, folderOf(mb, owner))
		}
		sortFolders(out[from:])
		shared = shared[n:]
	}
	return out, nil
}

// owner returns what others call an account.
func (b *Box) owner(ctx context.Context, id store.AccountID) (string, error) {
	if id == b.account {
		return "", nil
	}
	r, ok := b.mail.Directory.(accounts.Roster)
	if !ok {
		return string(id), nil
	}
	who, err := r.ByID(ctx, id)
	if errors.Is(err, accounts.ErrNoUser) {
		return string(id), nil
	} else if err != nil {
		return "", err
	}
	return who.Address, nil
}

// folderOf is a folder whose Depth is not known to differ from the parts of its name.
func folderOf(mb store.Folder, owner string) Folder {
	f := Folder{ID: mb.ID, Name: mb.Name, Owner: owner, Rights: mb.Rights, Depth: strings.Count(mb.Name, store.Separator), kept: kept(&mb.Mailbox)}
	f.Label = mb.Name[strings.LastIndex(mb.Name, store.Separator)+1:]
	if owner == "" {
		if f.Role = mb.Role; mb.Name == inbox {
			f.Role = "inbox"
		}
	}
	if mb.Rights.Has("r") {
		f.Messages, f.Unseen = mb.Messages, mb.Unseen
	}
	return f
}

// rank orders folders of one level.
func rank(f *Folder) int {
	if f.Name == inbox {
		return 0
	}
	order := []string{"drafts", "sent", "archive", "junk", "trash"}
	if i := slices.Index(order, f.Role); i >= 0 {
		return 1 + i
	}
	return 1 + len(order)
}

// sortFolders orders the folders of one owner as a tree, and sets their Depth.
func sortFolders(fs []Folder) {
	at := make(map[string]*Folder, len(fs))
	for i := range fs {
		at[fs[i].Name] = &fs[i]
	}
	type key struct {
		rank int
		name string // folded
		raw  string
	}
	keys := make(map[store.MailboxID][]key, len(fs)) // of the folder and those above it
	for i := range fs {
		f := &fs[i]
		var path []key
		parts := strings.Split(f.Name, store.Separator)
		f.Depth = -1
		for n := range parts {
			k := key{rank: 1 << 10, name: textfold.String(parts[n]), raw: parts[n]}
			if above := at[strings.Join(parts[:n+1], store.Separator)]; above != nil {
				k.rank = rank(above)
				f.Depth++
			}
			path = append(path, k)
		}
		keys[f.ID] = path
	}
	slices.SortFunc(fs, func(x, y Folder) int {
		return slices.CompareFunc(keys[x.ID], keys[y.ID], func(a, b key) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name), cmp.Compare(a.raw, b.raw))
		})
	})
}

// Folder returns one folder, or store.ErrNotFound. Its Depth is that of its name.
func (b *Box) Folder(ctx context.Context, id store.MailboxID) (Folder, error) {
	_, f, err := b.folder(ctx, id)
	return f, err
}

func (b *Box) folder(ctx context.Context, id store.MailboxID) (store.Folder, Folder, error) {
	mb, err := b.access.Mailbox(ctx, id)
	if err != nil {
		return store.Folder{}, Folder{}, err
	}
	owner, err := b.owner(ctx, mb.Account)
	if err != nil {
		return store.Folder{}, Folder{}, err
	}
	return mb, folderOf(mb, owner), nil
}

// RoleFolder returns the own folder that has a role, made if it is missing: "inbox",
// "drafts", "sent", "archive", "junk" or "trash".
func (b *Box) RoleFolder(ctx context.Context, role string) (Folder, error) {
	if role == "inbox" {
		mb, err := b.access.Folder(ctx, inbox)
		if err != nil {
			return Folder{}, err
		}
		return folderOf(mb, ""), nil
	}
	if role == "" {
		return Folder{}, fmt.Errorf("%w: no role", store.ErrInvalid)
	}
	// Somebody else may make one, or take the name, meanwhile.
	var err error
	for range 3 {
		var all []store.Folder
		if all, err = b.access.Folders(ctx); err != nil {
			return Folder{}, err
		}
		if i := slices.IndexFunc(all, func(f store.Folder) bool { return f.Role == role }); i >= 0 {
			return folderOf(all[i], ""), nil
		}
		var mb store.Mailbox
		if mb, err = b.makeRole(ctx, all, role); err == nil {
			return folderOf(store.Folder{Mailbox: mb, Rights: store.AllRights}, ""), nil
		}
		if !errors.Is(err, store.ErrExists) {
			break
		}
	}
	return Folder{}, err
}

// makeRole gives a role to the folder that has its name, as transports call it, or makes
// one.
func (b *Box) makeRole(ctx context.Context, all []store.Folder, role string) (store.Mailbox, error) {
	base := strings.ToUpper(role[:1]) + role[1:]
	for n := 1; n < 100; n++ {
		name := base
		if n > 1 {
			name = fmt.Sprintf("%s %d", base, n)
		}
		i := slices.IndexFunc(all, func(f store.Folder) bool { return f.Name == name })
		if i < 0 {
			return b.access.Create(ctx, name, role)
		}
		if all[i].Role == "" {
			mb := all[i].Mailbox
			mb.Role = role
			return mb, b.access.SetRole(ctx, mb.ID, role)
		}
	}
	return store.Mailbox{}, fmt.Errorf("%w: folders named %s", store.ErrLimit, base)
}

// CreateFolder makes a folder below another, or at the top if parent is zero. Errors are
// those of store.Access.CreateIn: ErrExists, ErrInvalid for a label that cannot be,
// ErrDenied, ErrLimit.
func (b *Box) CreateFolder(ctx context.Context, parent store.MailboxID, label string) (Folder, error) {
	label, err := cleanLabel(label)
	if err != nil {
		return Folder{}, err
	}
	var mb store.Mailbox
	if parent != 0 {
		mb, err = b.access.CreateIn(ctx, parent, label)
	} else {
		mb, err = b.access.Create(ctx, label, "")
	}
	if err != nil {
		return Folder{}, err
	}
	return b.Folder(ctx, mb.ID)
}

// cleanLabel returns the last part of a name, as people type it.
func cleanLabel(label string) (string, error) {
	label = strings.TrimSpace(label)
	if label == "" || strings.Contains(label, store.Separator) || strings.ContainsFunc(label, deceiving) {
		return "", fmt.Errorf("%w: folder label %.64q", store.ErrInvalid, label)
	}
	return label, nil
}

// RenameFolder gives a folder another label; it stays where it is. ErrKept, and the
// errors of CreateFolder.
func (b *Box) RenameFolder(ctx context.Context, id store.MailboxID, label string) error {
	mb, f, err := b.folder(ctx, id)
	if err != nil {
		return err
	}
	if label, err = cleanLabel(label); err != nil {
		return err
	}
	if kept(&mb.Mailbox) {
		return ErrKept
	}
	name := strings.TrimSuffix(f.Name, f.Label) + label
	if name == f.Name {
		return nil
	}
	return b.access.Rename(ctx, id, name)
}

// kept reports whether a mailbox is not renamed or deleted, whoever's it is.
func kept(mb *store.Mailbox) bool { return mb.Name == inbox || mb.Role != "" }

// changeStep is how many messages one transaction moves or removes, so that others need
// not wait long.
const changeStep = 2000

// DeleteFolder moves the messages of a folder to Trash and deletes it. Folders below it
// stay. ErrKept for INBOX and those with a role.
func (b *Box) DeleteFolder(ctx context.Context, id store.MailboxID) error {
	mb, _, err := b.folder(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case kept(&mb.Mailbox):
		return ErrKept
	case !mb.Rights.Has("x"):
		return store.ErrDenied // before anything moves
	}
	to, err := b.place(ctx, &mb, "trash")
	if err != nil {
		return err
	}
	// What comes in meanwhile is moved, too.
	for range 10 {
		uids, err := b.everything(ctx, id)
		if err != nil {
			return err
		}
		if len(uids) == 0 {
			break
		}
		for part := range slices.Chunk(uids, changeStep) {
			if _, err := b.access.Move(ctx, id, to, part...); err != nil {
				return err
			}
		}
	}
	return b.access.Delete(ctx, id)
}

// EmptyFolder removes all messages of Trash or Junk for good, and says how many.
// store.ErrInvalid for any other folder.
func (b *Box) EmptyFolder(ctx context.Context, id store.MailboxID) (n int, err error) {
	mb, _, err := b.folder(ctx, id)
	if err != nil {
		return 0, err
	}
	if mb.Role != "trash" && mb.Role != "junk" {
		return 0, fmt.Errorf("%w: only trash and junk are emptied", store.ErrInvalid)
	}
	uids, err := b.everything(ctx, id)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(uids, changeStep) {
		gone, err := b.access.Expunge(ctx, id, part...)
		if n += len(gone); err != nil {
			return n, err
		}
	}
	return n, nil
}
