package store

import (
	"context"
	"fmt"
)

const maxObjectName = 255 // bytes of a Kind or ID

// PutObject writes an object, or its tombstone, and returns its ModSeq. A Blob
// must be young. ErrInvalid without a Kind or an ID, or if one is longer than 255
// bytes; ErrLimit if Data are larger than MaxObject.
func (s *Store) PutObject(ctx context.Context, o Object) (seq ModSeq, err error) {
	if err := s.checkObject(o); err != nil {
		return 0, err
	}
	err = s.update(ctx, only(o.Account), func(w *work) error {
		acc, err := w.account(o.Account)
		if err != nil {
			return err
		}
		seq = acc.ModSeq
		return w.object(o)
	})
	return seq, err
}

func (s *Store) checkObject(o Object) error {
	switch {
	case o.Kind == "" || o.ID == "" || len(o.Kind) > maxObjectName || len(o.ID) > maxObjectName:
		return fmt.Errorf("%w: object %.64q of kind %.64q", ErrInvalid, o.ID, o.Kind)
	case len(o.Data) > s.maxObject():
		return fmt.Errorf("%w: an object of %d bytes", ErrLimit, len(o.Data))
	}
	return nil
}

// ServerAccount owns the Objects that belong to the server and to nobody in it, such
// as keys. No directory gives this ID, so that no door acts for it.
const ServerAccount AccountID = "mailkeel.server"

// KeepObject returns the live object of this Account, Kind and ID. If there is none it
// writes o and returns that. Of several who do so at a time, in any process, one
// writes, and all get what that wrote. Errors are those of PutObject.
func (s *Store) KeepObject(ctx context.Context, o Object) (kept Object, err error) {
	if err := s.checkObject(o); err != nil {
		return Object{}, err
	}
	err = s.update(ctx, only(o.Account), func(w *work) error {
		acc, err := w.account(o.Account)
		if err != nil {
			return err
		}
		for old, err := range w.Objects(o.Account, ObjectQuery{Kind: o.Kind, ID: o.ID}) {
			kept = old
			return err
		}
		kept = o
		kept.ModSeq = acc.ModSeq
		return w.object(o)
	})
	return kept, err
}

// Forget removes tombstones with a ModSeq up to through and makes that the
// account's Horizon, if it is not beyond. Tombstones that can still be restored
// stay until a later Forget.
func (s *Store) Forget(ctx context.Context, id AccountID, through ModSeq) error {
	return s.update(ctx, only(id), func(w *work) error {
		acc, err := w.account(id)
		if err != nil {
			return err
		}
		acc.ModSeq-- // nothing that a follower sees
		through := max(acc.Horizon, min(through, acc.ModSeq))
		acc.changed = through > acc.Horizon
		acc.Horizon = through
		return w.Tx.Forget(id, through, w.now)
	})
}

// Expire removes up to max notes of deliveries and conversations whose time has
// passed, and reports whether there may be more. Run it now and then.
func (s *Store) Expire(ctx context.Context, max int) (more bool, err error) {
	now := s.now()
	err = s.Backend.Update(ctx, func(tx Tx) error {
		n, err := tx.Expire(now, max)
		more = n >= max
		return err
	})
	return more, err
}

// DeleteAccount removes the mail and objects of an account for good, at most max
// rows in a call; call it again while more is true. From the first call on the
// account is not found and gets no mail, also if Limit knows it again.
func (s *Store) DeleteAccount(ctx context.Context, id AccountID, max int) (more bool, err error) {
	err = s.update(ctx, only(id), func(w *work) error {
		acc := w.accs[id]
		if !acc.Deleted {
			acc.Account = Account{ID: id, ModSeq: acc.ModSeq, Horizon: acc.ModSeq, LastUIDValidity: acc.LastUIDValidity, Deleted: true}
			acc.changed = true
		}
		n, err := w.Drop(id, max)
		more = n >= max
		return err
	})
	return more, err
}
