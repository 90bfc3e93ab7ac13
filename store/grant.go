package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// KindGrant is the Kind of the Object that shares a mailbox. It lies with
	// the owner; its ID is "<mailbox>/<grantee>" and its Data are Rights.
	KindGrant = "grant"
	// KindShared is the Kind of the Object that tells an account of a mailbox
	// that was shared with it. It lies with the grantee; its ID is the mailbox
	// and its Data "subscribed" or nothing. It gives no rights.
	KindShared = "shared"

	maxGrants = 1_000 // of one mailbox
)

// ownKind reports whether only the rules here write objects of a Kind.
func ownKind(kind string) bool {
	return kind == KindGrant || kind == KindShared || kind == keywordKind || strings.HasPrefix(kind, seenKind) || strings.HasPrefix(kind, metadataKind)
}

// Rights are letters of RFC 4314: l to see that a mailbox is there, r to read, s
// to keep one's own \Seen, w to change other flags but \Deleted, i to add
// messages, t to set \Deleted, e to expunge, k to make mailboxes below, x to
// delete or rename, a to grant. p is of no use here.
type Rights string

// AllRights are those of an owner.
const AllRights Rights = "lrswipkxtea"

// Has reports whether r has all of what.
func (r Rights) Has(what Rights) bool {
	for _, c := range what {
		if !strings.ContainsRune(string(r), c) {
			return false
		}
	}
	return true
}

// clean returns r with each letter once, in the order of AllRights.
func (r Rights) clean() (Rights, error) {
	if !AllRights.Has(r) {
		return "", fmt.Errorf("%w: rights %.64q", ErrInvalid, r)
	}
	var out []rune
	for _, c := range AllRights {
		if strings.ContainsRune(string(r), c) {
			out = append(out, c)
		}
	}
	return Rights(out), nil
}

func grantID(mb MailboxID, to AccountID) string { return fmt.Sprintf("%d/%s", mb, to) }

// granted returns what an account was granted in a mailbox of another.
func granted(tx Tx, mb *Mailbox, to AccountID) (Rights, error) {
	for o, err := range tx.Objects(mb.Account, ObjectQuery{Kind: KindGrant, ID: grantID(mb.ID, to)}) {
		return Rights(o.Data), err
	}
	return "", nil
}

// A Grant is what one account may do in a mailbox of another.
type Grant struct {
	To     AccountID
	Rights Rights
}

// grants returns those of a mailbox, by account.
func grants(tx Tx, mb *Mailbox) (out []Grant, err error) {
	prefix := grantID(mb.ID, "")
	for o, err := range tx.Objects(mb.Account, ObjectQuery{Kind: KindGrant}) {
		if err != nil {
			return nil, err
		}
		if to, ok := strings.CutPrefix(o.ID, prefix); ok {
			out = append(out, Grant{AccountID(to), Rights(o.Data)})
		}
	}
	return out, nil
}

// Grants returns who else may do what in a mailbox; the right a.
func (a *Access) Grants(ctx context.Context, id MailboxID) (out []Grant, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "a")
		if err == nil {
			out, err = grants(tx, &mb)
		}
		return err
	})
	return out, err
}

// Grant lets another account use a mailbox; the right a. Empty rights end it, and
// forget what the other has seen and noted. The owner's own rights do not change:
// ErrInvalid. ErrNotFound also if Limit does not know the other account.
func (a *Access) Grant(ctx context.Context, id MailboxID, to AccountID, r Rights) error {
	return a.Regrant(ctx, id, to, func(Rights) Rights { return r })
}

// Regrant is Grant of what fn makes of the rights that there are. fn may run again.
func (a *Access) Regrant(ctx context.Context, id MailboxID, to AccountID, fn func(old Rights) Rights) error {
	if _, err := fn("").clean(); err != nil {
		return err
	}
	if to == "" || strings.ContainsFunc(string(to), badRune) {
		return fmt.Errorf("%w: account %q", ErrInvalid, to)
	}
	_, unknown := a.store.limit(ctx, to)
	return a.store.update(ctx, func(tx Tx) ([]AccountID, error) {
		ids, err := owners(id)(tx)
		return append(ids, to), err
	}, func(w *work) error {
		mb, _, err := a.box(w, id, "a")
		if err != nil {
			return err
		}
		old, err := granted(w, &mb.Mailbox, to)
		if err != nil {
			return err
		}
		r, err := fn(old).clean()
		switch {
		case err != nil:
			return err
		case r != "" && unknown != nil:
			return unknown
		case mb.Account == to:
			return fmt.Errorf("%w: the owner has all rights", ErrInvalid)
		case old == r:
			return nil
		}
		if r == "" {
			if err := w.forgetUser(mb, to); err != nil {
				return err
			}
		} else if gs, err := grants(w, &mb.Mailbox); err != nil || old == "" && len(gs) >= maxGrants {
			return errors.Join(err, ErrLimit)
		}
		return w.grant(mb, to, old, r)
	})
}

// grant writes a grant, and its note if it begins or ends.
func (w *work) grant(mb *workBox, to AccountID, old, r Rights) error {
	if old == "" || r == "" {
		if _, err := w.account(to); err == nil { // a deleted one is not told
			if err := w.object(Object{Account: to, Kind: KindShared, ID: fmt.Sprint(mb.ID), Data: []byte("subscribed"), Deleted: r == ""}); err != nil {
				return err
			}
		}
	}
	w.touch(mb)
	return w.object(Object{Account: mb.Account, Kind: KindGrant, ID: grantID(mb.ID, to), Data: []byte(r), Deleted: r == ""})
}

// inherit gives a new mailbox the grants of one above it. Who was granted something
// there since the accounts were locked is passed over.
func (w *work) inherit(from Mailbox, to *workBox) error {
	gs, err := grants(w, &from)
	if err != nil {
		return err
	}
	for _, g := range gs {
		if w.accs[g.To] == nil || g.To == to.Account {
			continue
		}
		if err := w.grant(to, g.To, "", g.Rights); err != nil {
			return err
		}
	}
	return nil
}

// heirs is the accounts of an update that makes a mailbox: its owner, and those
// who have rights in the nearest one above it.
func heirs(owner AccountID, name string) func(Tx) ([]AccountID, error) {
	return func(tx Tx) ([]AccountID, error) {
		ids := []AccountID{owner}
		up, err := nearest(tx, owner, name)
		if err != nil || up.ID == 0 {
			return ids, err
		}
		gs, err := grants(tx, &up)
		for _, g := range gs {
			ids = append(ids, g.To)
		}
		return ids, err
	}
}

// nearest returns the mailbox that is next above a name, or one without an ID.
func nearest(tx Tx, owner AccountID, name string) (Mailbox, error) {
	for up := parent(name); up != ""; up = parent(up) {
		mb, err := tx.MailboxByName(owner, up)
		if !errors.Is(err, ErrNotFound) {
			return mb, err
		}
	}
	return Mailbox{}, nil
}

// forgetUser removes what is kept of who has no rights in mb any more.
func (w *work) forgetUser(mb *workBox, user AccountID) error {
	set, err := w.seenBy(mb, user)
	if err != nil {
		return err
	}
	set.drop()
	return w.dropMetadata(mb.Account, mb.ID, user)
}

// dropGrants ends all grants of a mailbox. The notes of the grantees stay; Shared
// passes them over.
func (w *work) dropGrants(mb *workBox) error {
	gs, err := grants(w, &mb.Mailbox)
	if err != nil {
		return err
	}
	for _, g := range gs {
		if err := w.forgetUser(mb, g.To); err != nil {
			return err
		}
		if err := w.object(Object{Account: mb.Account, Kind: KindGrant, ID: grantID(mb.ID, g.To), Deleted: true}); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) subscribeShared(user AccountID, id MailboxID, on bool) error {
	o := Object{Account: user, Kind: KindShared, ID: fmt.Sprint(id)}
	for old, err := range w.Objects(user, ObjectQuery{Kind: o.Kind, ID: o.ID}) {
		if err != nil {
			return err
		}
		if (len(old.Data) > 0) == on {
			return nil
		}
	}
	if on {
		o.Data = []byte("subscribed")
	}
	return w.object(o)
}

// Shared returns the mailboxes of others that the account may see, by owner and
// name, with Unseen and Subscribed as they are for this account.
func (a *Access) Shared(ctx context.Context) (out []Folder, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		out = nil
		for o, err := range tx.Objects(a.account, ObjectQuery{Kind: KindShared}) {
			if err != nil {
				return err
			}
			id, err := strconv.ParseInt(o.ID, 10, 64)
			if err != nil {
				continue
			}
			mb, r, err := a.rights(tx, MailboxID(id), "l")
			if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDenied) {
				continue
			} else if err != nil {
				return err
			}
			if err := a.own(tx, &mb); err != nil {
				return err
			}
			mb.Subscribed = len(o.Data) > 0
			out = append(out, Folder{mb, r})
		}
		return nil
	})
	slices.SortFunc(out, func(x, y Folder) int {
		if x.Account != y.Account {
			return strings.Compare(string(x.Account), string(y.Account))
		}
		return strings.Compare(x.Name, y.Name)
	})
	return out, err
}
