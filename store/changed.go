package store

import (
	"context"
	"slices"
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
