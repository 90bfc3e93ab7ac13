package store

import "context"

// Usage is how much of its quota an account uses.
type Usage struct {
	Bytes, Limit int64 // Limit is zero for any number
	Messages     int
}

// Quota returns the usage of the owner of a mailbox, to whose account all that is
// in it counts; the right r.
func (a *Access) Quota(ctx context.Context, id MailboxID) (u Usage, err error) {
	var owner AccountID
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		owner = mb.Account
		accs, err := tx.Accounts(owner)
		if err == nil {
			u.Bytes, u.Messages = accs[0].Bytes, accs[0].Messages
		}
		return err
	})
	if err == nil {
		u.Limit, err = a.store.limit(ctx, owner)
	}
	if err != nil {
		return Usage{}, err
	}
	return u, nil
}

// Room reports whether size more bytes may be filed for an account now: nil,
// ErrOverQuota, ErrNotFound, or the error of Limit. Size zero asks for any room.
func (s *Store) Room(ctx context.Context, id AccountID, size int64) error {
	limit, err := s.limit(ctx, id)
	if err != nil {
		return err
	}
	return s.Backend.View(ctx, func(tx Tx) error {
		accs, err := tx.Accounts(id)
		switch {
		case err != nil:
			return err
		case accs[0].Deleted:
			return ErrNotFound
		case limit > 0 && (accs[0].Bytes >= limit || size > limit-accs[0].Bytes):
			return ErrOverQuota
		}
		return nil
	})
}

// limit asks Limit.
func (s *Store) limit(ctx context.Context, id AccountID) (int64, error) {
	if s.Limit == nil {
		return 0, nil
	}
	return s.Limit(ctx, id)
}
