package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
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
// missing. The name is clean.
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

// nextUID takes a UID of mb.
func (mb *workBox) nextUID() (UID, error) {
	if mb.UIDNext == math.MaxUint32 {
		return 0, fmt.Errorf("%w: no UID is left in mailbox %d", ErrLimit, mb.ID)
	}
	mb.UIDNext++
	return mb.UIDNext - 1, nil
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
	err = a.store.update(ctx, only(a.account), func(w *work) error {
		mb, err = a.create(w, a.account, name, role)
		return err
	})
	return mb, err
}

func (a *Access) create(w *work, owner AccountID, name, role string) (Mailbox, error) {
	b, err := w.create(owner, name, role)
	if err != nil {
		return Mailbox{}, err
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

// CreateIn is Create of a mailbox below another, which may be shared: it then
// belongs to the same owner. It needs the right k there (RFC 4314, 4). The name
// is the last component alone.
func (a *Access) CreateIn(ctx context.Context, above MailboxID, name string) (mb Mailbox, err error) {
	err = a.update(ctx, func(w *work) error {
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
	}, above)
	return mb, err
}

// Delete expunges all messages of a mailbox and leaves its tombstone; the right
// x. INBOX cannot be deleted: ErrInvalid. Mailboxes below it stay (RFC 9051,
// 6.3.5); a door that does not want that looks at Children first.
func (a *Access) Delete(ctx context.Context, id MailboxID) error {
	return a.update(ctx, func(w *work) error {
		mb, _, err := a.box(w, id, "x")
		if err != nil {
			return err
		}
		if mb.Name == inbox {
			return fmt.Errorf("%w: INBOX stays", ErrInvalid)
		}
		var dead []Message
		for m, err := range w.Messages(id, Query{}) {
			if err != nil {
				return err
			}
			dead = append(dead, w.expunge(mb, m))
		}
		if err := errors.Join(w.dropGrants(mb), w.PutMessages(dead)); err != nil {
			return err
		}
		for o, err := range w.Objects(mb.Account, ObjectQuery{Kind: keywordKind, ID: fmt.Sprint(id)}) {
			if err != nil {
				return err
			}
			o.Deleted = true
			if err := w.object(o); err != nil {
				return err
			}
		}
		mb.Deleted = true
		w.accs[mb.Account].Mailboxes--
		w.touch(mb)
		return nil
	}, id)
}

// Children returns the mailboxes below one, by name; the right l.
func (a *Access) Children(ctx context.Context, id MailboxID) (below []Mailbox, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "l")
		if err != nil {
			return err
		}
		below, err = inferiors(tx.Mailboxes(mb.Account, Since{}), mb.Name)
		return err
	})
	return below, err
}

func inferiors(boxes iter.Seq2[Mailbox, error], name string) (out []Mailbox, err error) {
	for mb, err := range boxes {
		if err != nil {
			return nil, err
		}
		if below(mb.Name, name) {
			out = append(out, mb)
		}
	}
	return out, nil
}

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
	return a.update(ctx, func(w *work) error {
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
	}, id)
}

// all returns the live messages of a mailbox.
func all(tx Tx, id MailboxID) (ms []Message, err error) {
	for m, err := range tx.Messages(id, Query{}) {
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// findGap is how many rows are read for nothing rather than asking again.
const findGap = 64

// find returns the messages among uids that want picks, in order of UID.
func find(tx Tx, id MailboxID, uids []UID, since Since, want func(*Message) bool) (ms []Message, err error) {
	uids = slices.Compact(slices.Sorted(slices.Values(uids)))
	if len(uids) > 0 && uids[0] == 0 { // no message has it
		uids = uids[1:]
	}
	for len(uids) > 0 {
		n := 1
		for n < len(uids) && uids[n]-uids[n-1] <= findGap {
			n++
		}
		run := uids[:n]
		uids = uids[n:]
		for m, err := range tx.Messages(id, Query{Since: since, First: run[0], Last: run[n-1]}) {
			if err != nil {
				return nil, err
			}
			if _, ok := slices.BinarySearch(run, m.UID); ok && (want == nil || want(&m)) {
				ms = append(ms, m)
			}
		}
	}
	return ms, nil
}
