package store

import (
	"context"
	"errors"
	"fmt"
)

// withRole returns the mailbox of a locked account that has a role, or nil.
func (w *work) withRole(id AccountID, role string) (*workBox, error) {
	for _, mb := range w.boxes {
		if mb.Account == id && mb.Role == role && !mb.Deleted {
			return mb, nil
		}
	}
	for mb, err := range w.Mailboxes(id, Since{}) {
		if err != nil {
			return nil, err
		}
		if mb.Role == role && w.boxes[mb.ID] == nil {
			return w.adopt(mb)
		}
	}
	return nil, nil
}

// Subscribe notes whether the account wants to see a mailbox in its list; the
// right l. Each account that shares a mailbox has its own note.
func (a *Access) Subscribe(ctx context.Context, id MailboxID, on bool) error {
	return a.store.update(ctx, func(tx Tx) ([]AccountID, error) {
		return []AccountID{a.account}, nil
	}, func(w *work) error {
		mb, _, err := a.rights(w, id, "l")
		if err != nil {
			return err
		}
		if mb.Account != a.account {
			return w.subscribeShared(a.account, id, on)
		}
		b, err := w.adopt(mb)
		if err != nil || b.Subscribed == on {
			return err
		}
		b.Subscribed = on
		w.touch(b)
		return nil
	})
}

// SetRole gives a mailbox its special use, or with an empty role takes it away;
// the right a. ErrExists if another mailbox has the role, ErrInvalid for INBOX,
// whose role is its name.
func (a *Access) SetRole(ctx context.Context, id MailboxID, role string) error {
	if err := checkRole(role); err != nil {
		return err
	}
	return a.update(ctx, func(w *work) error { return a.setRole(w, id, role) }, id)
}

func (a *Access) setRole(w *work, id MailboxID, role string) error {
	if err := checkRole(role); err != nil {
		return err
	}
	mb, _, err := a.box(w, id, "a")
	if err != nil || mb.Role == role {
		return err
	}
	if mb.Name == inbox {
		return fmt.Errorf("%w: INBOX has a role", ErrInvalid)
	}
	if role != "" {
		if other, err := w.withRole(mb.Account, role); err != nil || other != nil {
			return errors.Join(err, ErrExists)
		}
	}
	mb.Role = role
	w.touch(mb)
	return nil
}
