package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// found turns ErrNotFound into a plain no.
func found(mb *workBox, err error) (*workBox, error) {
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return mb, err
}

// create makes a mailbox of a locked account, and those above it that are
// missing; with INBOX what a new account begins with. The name is clean.
func (w *work) create(id AccountID, name, role string) (*workBox, error) {
	acc, err := w.account(id)
	if err != nil {
		return nil, err
	}
	if mb, err := found(w.named(id, name)); err != nil || mb != nil {
		return nil, errors.Join(err, ErrExists)
	}
	if up := parent(name); up != "" {
		if mb, err := found(w.named(id, up)); err != nil {
			return nil, err
		} else if mb == nil {
			if _, err := w.create(id, up, ""); err != nil {
				return nil, err
			}
		}
	}
	if acc.Mailboxes >= w.s.maxMailboxes() {
		return nil, fmt.Errorf("%w: %d mailboxes", ErrLimit, acc.Mailboxes)
	}
	mb, err := newMailbox(&acc.Account, name, role, w.now)
	if err != nil {
		return nil, err
	}
	acc.Mailboxes++
	if err := w.PutMailbox(&mb); err != nil { // for its ID
		return nil, err
	}
	b := &workBox{Mailbox: mb}
	w.boxes[mb.ID] = b
	w.touch(b)
	if name == inbox {
		return b, w.begin(id)
	}
	return b, nil
}

// newMailbox takes a UIDVALIDITY that acc never used: as large as the time in
// seconds, or one more than the last.
func newMailbox(acc *Account, name, role string, now time.Time) (Mailbox, error) {
	if acc.LastUIDValidity == math.MaxUint32 {
		return Mailbox{}, fmt.Errorf("%w: no UIDVALIDITY is left", ErrLimit)
	}
	acc.LastUIDValidity++
	if t := now.Unix(); t > 0 && t < math.MaxInt32 { // beyond that a clock is not believed
		acc.LastUIDValidity = max(acc.LastUIDValidity, uint32(t))
	}
	return Mailbox{
		Account: acc.ID, Name: name, Role: role, UIDValidity: acc.LastUIDValidity, UIDNext: 1,
		Created: acc.ModSeq, ModSeq: acc.ModSeq, Subscribed: true,
	}, nil
}

// Create makes an empty mailbox of the account, and those above it that are
// missing (RFC 9051, 6.3.4). Role may be empty. ErrExists if the name, or the
// role, is taken; ErrInvalid, see CleanName; ErrLimit.
func (a *Access) Create(ctx context.Context, name, role string) (mb Mailbox, err error) {
	if name, err = CleanName(name); err != nil {
		return mb, err
	}
	if err := checkRole(role); err != nil {
		return mb, err
	}
	err = a.store.update(ctx, heirs(a.account, name), func(w *work) error {
		mb, err = a.create(w, a.account, name, role)
		return err
	})
	return mb, err
}

// create makes a mailbox, and those above it that are missing. As with other
// servers they begin with the grants of the one above them (RFC 4314, 2 leaves it
// open).
func (a *Access) create(w *work, owner AccountID, name, role string) (Mailbox, error) {
	up, err := nearest(w, owner, name)
	if err != nil {
		return Mailbox{}, err
	}
	b, err := w.create(owner, name, role)
	if err != nil {
		return Mailbox{}, err
	}
	for at := name; up.ID != 0 && at != up.Name; at = parent(at) {
		made, err := w.named(owner, at)
		if err == nil {
			err = w.inherit(up, made)
		}
		if err != nil {
			return Mailbox{}, err
		}
	}
	if role != "" {
		b.Role = "" // it is asked about the others
		if other, err := w.withRole(owner, role); err != nil || other != nil {
			return Mailbox{}, errors.Join(err, ErrExists)
		}
		b.Role = role
	}
	b.Mailbox.ModSeq = w.seq(b)
	return b.Mailbox, nil
}

// CreateOf is Create of a mailbox that belongs to another account; the right k on
// the nearest one above it (RFC 4314, 4). Without that it is ErrDenied, whatever is
// there or not.
func (a *Access) CreateOf(ctx context.Context, owner AccountID, name string) (mb Mailbox, err error) {
	if name, err = CleanName(name); err != nil {
		return mb, err
	}
	err = a.store.update(ctx, heirs(owner, name), func(w *work) error {
		if err := a.mayCreate(w, owner, name); err != nil {
			return err
		}
		mb, err = a.create(w, owner, name, "")
		return err
	})
	return mb, err
}

// CreateIn is Create of a mailbox below another, which may be shared: it then
// belongs to the same owner. It needs the right k there (RFC 4314, 4). The name
// is the last component alone.
func (a *Access) CreateIn(ctx context.Context, above MailboxID, name string) (mb Mailbox, err error) {
	accounts := func(tx Tx) ([]AccountID, error) {
		up, err := tx.Mailbox(above)
		if err != nil {
			return nil, err
		}
		return heirs(up.Account, up.Name+Separator+"x")(tx)
	}
	err = a.store.update(ctx, accounts, func(w *work) error {
		up, _, err := a.box(w, above, "k")
		if err != nil {
			return err
		}
		if strings.Contains(name, Separator) {
			return fmt.Errorf("%w: %q is not one component", ErrInvalid, name)
		}
		full, err := CleanName(up.Name + Separator + name)
		if err != nil {
			return err
		}
		mb, err = a.create(w, up.Account, full, "")
		return err
	})
	return mb, err
}
