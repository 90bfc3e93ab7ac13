package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// FoldersSince returns those of the account's own mailboxes that changed after a
// ModSeq, by name and tombstones too, and the ModSeq of the account at that moment:
// what to ask with the next time. Zero returns all that are live. ErrHorizon if
// tombstones were forgotten since then, or a restored backup took it back; then
// begin again with zero. It is for who keeps a list up to date at each hint of
// WakeFolders.
func (a *Access) FoldersSince(ctx context.Context, after ModSeq) (out []Folder, now ModSeq, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		out = nil
		accs, err := tx.Accounts(a.account)
		if err != nil {
			return err
		}
		switch now = accs[0].ModSeq; {
		case accs[0].Deleted:
			return ErrNotFound
		case after != 0 && (after < accs[0].Horizon || after > now):
			return ErrHorizon
		case after != 0 && after == now:
			return nil
		}
		for mb, err := range tx.Mailboxes(a.account, Since{After: after, Tombstones: after != 0}) {
			if err != nil {
				return err
			}
			out = append(out, Folder{mb, AllRights})
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return out, now, nil
}

// WakeFolders gives a hint when something in the account may have changed, or in
// those whose mailboxes are shared with it now, until stop is called. wake holds one
// hint. When the shares themselves change, call it again.
func (a *Access) WakeFolders(shared []Folder) (wake <-chan struct{}, stop func()) {
	of := []AccountID{a.account}
	for _, f := range shared {
		if f.Rights.Has("l") && !slices.Contains(of, f.Account) {
			of = append(of, f.Account)
		}
	}
	fs := make([]*follower, len(of))
	c := make(chan struct{}, 1)
	for i, id := range of {
		fs[i] = a.store.follow(id, c)
	}
	return c, func() {
		for _, f := range fs {
			a.store.leave(f)
		}
	}
}

// A MetadataChange says that an entry of a mailbox was set or removed; of the account
// itself, if Mailbox is zero.
type MetadataChange struct {
	Mailbox MailboxID
	Name    string
	ModSeq  ModSeq
}

// MetadataSince returns which entries of an owner's mailboxes changed after a ModSeq
// of the owner, of those that this account may read, by ModSeq, and the owner's ModSeq
// at that moment. Zero returns that alone.
func (a *Access) MetadataSince(ctx context.Context, owner AccountID, after ModSeq) (out []MetadataChange, now ModSeq, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		out = nil
		accs, err := tx.Accounts(owner)
		if err != nil {
			return err
		}
		if now = accs[0].ModSeq; after == 0 || after >= now {
			return nil
		}
		may := map[MailboxID]bool{}
		for o, err := range tx.Objects(owner, ObjectQuery{Since: Since{After: after, Tombstones: true}}) {
			if err != nil {
				return err
			}
			rest, ok := strings.CutPrefix(o.Kind, metadataKind)
			num, user, found := strings.Cut(rest, "/")
			n, err := strconv.ParseInt(num, 10, 64)
			id := MailboxID(n)
			if !ok || !found || err != nil || user != "" && user != string(a.account) || id == 0 && owner != a.account {
				continue
			}
			if _, known := may[id]; !known {
				_, err := a.metadata(tx, id, "")
				if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDenied) {
					return err
				}
				may[id] = err == nil
			}
			if may[id] {
				out = append(out, MetadataChange{id, o.ID, o.ModSeq})
			}
		}
		slices.SortStableFunc(out, func(x, y MetadataChange) int { return cmp.Compare(x.ModSeq, y.ModSeq) })
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return out, now, nil
}
