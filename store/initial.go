package store

import "errors"

// An InitialMailbox is one that new accounts have from the beginning.
type InitialMailbox struct {
	Name string // see CleanName
	Role string // as in Mailbox; may be empty
}

// begin gives an account, which has just got its INBOX, those of s.Initial. One
// whose name or role is taken is left out, and so are those that MaxMailboxes has
// no room for: mail must not be refused for their sake.
func (w *work) begin(id AccountID) error {
	for _, in := range w.s.Initial {
		name, err := CleanName(in.Name)
		if err = errors.Join(err, checkRole(in.Role)); err != nil {
			w.s.logger().Error("store: a mailbox for new accounts cannot be made", "err", err)
			continue
		}
		if in.Role != "" {
			if other, err := w.withRole(id, in.Role); err != nil {
				return err
			} else if other != nil {
				continue
			}
		}
		if _, err := w.create(id, name, in.Role); err != nil && !errors.Is(err, ErrExists) && !errors.Is(err, ErrLimit) {
			return err
		}
	}
	return nil
}
