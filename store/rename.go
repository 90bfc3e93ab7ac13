package store

import (
	"context"
	"errors"
	"fmt"
)

// Rename gives a mailbox and those below it a new name; they keep their IDs,
// UIDs and UIDVALIDITY. Missing ones above the new name are made. It needs the
// right x, and k on the nearest mailbox above the new name, if the owner is
// another. Renaming INBOX makes a new mailbox and moves the messages of INBOX
// there; what is below INBOX stays (RFC 9051, 6.3.6). ErrExists if a name is
// taken.
func (a *Access) Rename(ctx context.Context, id MailboxID, name string) error {
	name, err := CleanName(name)
	if err != nil {
		return err
	}
	return a.update(ctx, func(w *work) error {
		mb, _, err := a.box(w, id, "x")
		if err != nil {
			return err
		}
		if err := a.mayCreate(w, mb.Account, name); err != nil {
			return err // before it could be told what is there
		}
		switch other, err := found(w.named(mb.Account, name)); {
		case err != nil:
			return err
		case other != nil:
			return ErrExists
		case below(name, mb.Name) && mb.Name != inbox:
			return fmt.Errorf("%w: %q would be below itself", ErrInvalid, mb.Name)
		}
		if mb.Name == inbox {
			to, err := w.create(mb.Account, name, "")
			if err != nil {
				return err
			}
			ms, err := all(w, id)
			if err == nil {
				_, err = w.moveWithin(mb, to, ms)
			}
			return err
		}
		return w.rename(mb, name)
	}, id)
}

// rename gives mb and its inferiors new names.
func (w *work) rename(mb *workBox, name string) error {
	old := mb.Name
	move, taken := []*workBox{mb}, map[string]bool{}
	for other, err := range w.Mailboxes(mb.Account, Since{}) {
		if err != nil {
			return err
		}
		taken[other.Name] = true
		if !below(other.Name, old) {
			continue
		}
		b, err := w.adopt(other)
		if err != nil {
			return err
		}
		move = append(move, b)
	}
	for _, b := range move {
		to := name + b.Name[len(old):]
		if _, err := CleanName(to); err != nil {
			return err
		}
		if taken[to] {
			return ErrExists
		}
	}
	for _, b := range move {
		b.Name = name + b.Name[len(old):]
		w.touch(b)
	}
	if up := parent(name); up != "" {
		if above, err := found(w.named(mb.Account, up)); err != nil || above != nil {
			return err
		}
		_, err := w.create(mb.Account, up, "")
		return err
	}
	return nil
}

// mayCreate checks the right k for a name in the tree of another owner. Its answer
// does not tell what is there.
func (a *Access) mayCreate(w *work, owner AccountID, name string) error {
	if owner == a.account {
		return nil
	}
	for up := parent(name); up != ""; up = parent(up) {
		mb, err := found(w.named(owner, up))
		if err != nil {
			return err
		}
		if mb != nil {
			if _, _, err := a.box(w, mb.ID, "k"); !errors.Is(err, ErrNotFound) {
				return err
			}
			return ErrDenied
		}
	}
	return ErrDenied
}
