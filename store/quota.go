package store

import (
	"context"

	"github.com/mailkeel/mailkeel"
)

// Usage is how much of its quota an account uses. Limits that are zero do not
// exist.
type Usage struct {
	Bytes, Limit int64
	Messages     int
	MaxMessages  int64
}

func usage(acc Account, limit mailkeel.Quota) Usage {
	return Usage{Bytes: acc.Bytes, Limit: limit.Bytes, Messages: acc.Messages, MaxMessages: limit.Messages}
}

// Room returns ErrOverQuota if size more bytes in n more messages are too many.
func (u Usage) Room(size int64, n int) error {
	if u.Limit > 0 && (size > u.Limit || u.Bytes > u.Limit-size) {
		return ErrOverQuota
	}
	if u.MaxMessages > 0 && (int64(n) > u.MaxMessages || int64(u.Messages) > u.MaxMessages-int64(n)) {
		return ErrOverQuota
	}
	return nil
}

// Quota returns the usage of the owner of a mailbox, to whose account all that is
// in it counts; the right r.
func (a *Access) Quota(ctx context.Context, id MailboxID) (u Usage, err error) {
	var acc Account
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		acc, err = oneAccount(tx, mb.Account)
		return err
	})
	if err != nil {
		return Usage{}, err
	}
	limit, err := a.store.limit(ctx, acc.ID)
	if err != nil {
		return Usage{}, err
	}
	return usage(acc, limit), nil
}

// Room returns ErrOverQuota if the owner of a mailbox may not hold size more bytes
// in n more messages; the right i. A door asks before it takes them; what files
// them looks again.
func (a *Access) Room(ctx context.Context, id MailboxID, size int64, n int) error {
	var acc Account
	err := a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "i")
		if err == nil {
			acc, err = oneAccount(tx, mb.Account)
		}
		if err == nil && acc.Deleted {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return err
	}
	limit, err := a.store.limit(ctx, acc.ID)
	if err != nil {
		return err
	}
	return usage(acc, limit).Room(size, n)
}

// Usage returns that of an account, for who may ask: its owner, or an
// administrator. ErrNotFound, or the error of Limit.
func (s *Store) Usage(ctx context.Context, id AccountID) (Usage, error) {
	limit, err := s.limit(ctx, id)
	if err != nil {
		return Usage{}, err
	}
	var acc Account
	err = s.Backend.View(ctx, func(tx Tx) error {
		if acc, err = oneAccount(tx, id); err == nil && acc.Deleted {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return Usage{}, err
	}
	return usage(acc, limit), nil
}

// Room reports whether one more message of size bytes may be filed for an account
// now: nil, ErrOverQuota, ErrNotFound, or the error of Limit. Size zero asks for
// any room.
func (s *Store) Room(ctx context.Context, id AccountID, size int64) error {
	u, err := s.Usage(ctx, id)
	if err != nil {
		return err
	}
	return u.Room(max(size, 1), 1)
}

// limit asks Limit.
func (s *Store) limit(ctx context.Context, id AccountID) (mailkeel.Quota, error) {
	if s.Limit == nil {
		return mailkeel.Quota{}, nil
	}
	return s.Limit(ctx, id)
}
