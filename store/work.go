package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel"
)

// A work is one Update as the rules see it. Its accounts are locked, with their
// ModSeq already advanced; mailboxes are read once and changed in memory; flush
// writes what changed. What changed nothing writes nothing and takes no ModSeq.
type work struct {
	Tx
	s     *Store
	now   time.Time
	accs  map[AccountID]*workAccount
	boxes map[MailboxID]*workBox
	seen  map[seenKey]*seenSet
	words map[MailboxID]*keywords
}

type workAccount struct {
	Account
	changed bool
}

type workBox struct {
	Mailbox
	changed bool
}

// update runs fn in a transaction with accounts locked.
func (s *Store) update(ctx context.Context, accounts func(Tx) ([]AccountID, error), fn func(*work) error) error {
	return s.updateAfter(ctx, nil, accounts, fn)
}

// updateAfter is update, and commits after wait. A Backend that cannot do that is
// not asked to before.
func (s *Store) updateAfter(ctx context.Context, wait func() error, accounts func(Tx) ([]AccountID, error), fn func(*work) error) error {
	update := s.Backend.Update
	if wait != nil {
		if b, ok := s.Backend.(Awaiting); ok {
			update = func(ctx context.Context, fn func(Tx) error) error { return b.UpdateAfter(ctx, wait, fn) }
		} else if err := wait(); err != nil {
			return err
		}
	}
	now := s.now()
	return update(ctx, func(tx Tx) error {
		ids, err := accounts(tx)
		if err != nil {
			return err
		}
		slices.Sort(ids)
		accs, err := tx.Accounts(slices.Compact(ids)...)
		if err != nil {
			return err
		}
		w := &work{Tx: tx, s: s, now: now, accs: make(map[AccountID]*workAccount, len(accs)), boxes: map[MailboxID]*workBox{}}
		for _, acc := range accs {
			acc.ModSeq++
			w.accs[acc.ID] = &workAccount{Account: acc}
		}
		if err := fn(w); err != nil {
			return err
		}
		return w.flush()
	})
}

// only is the accounts of an update that are known beforehand.
func only(ids ...AccountID) func(Tx) ([]AccountID, error) {
	return func(Tx) ([]AccountID, error) { return slices.Clone(ids), nil }
}

// owners is the accounts of an update that changes mailboxes.
func owners(boxes ...MailboxID) func(Tx) ([]AccountID, error) {
	return func(tx Tx) (ids []AccountID, err error) {
		for _, id := range boxes {
			mb, err := tx.Mailbox(id)
			if err != nil {
				return nil, err
			}
			ids = append(ids, mb.Account)
		}
		return ids, nil
	}
}

// account returns a locked account, or ErrNotFound if it was deleted.
func (w *work) account(id AccountID) (*workAccount, error) {
	acc := w.accs[id]
	if acc == nil {
		return nil, errors.New("store: account is not locked")
	}
	if acc.Deleted || id == "" {
		return nil, ErrNotFound
	}
	return acc, nil
}

// box returns a live mailbox of a locked account.
func (w *work) box(id MailboxID) (*workBox, error) {
	if mb := w.boxes[id]; mb != nil {
		return mb, mb.alive()
	}
	mb, err := w.Mailbox(id)
	if err != nil {
		return nil, err
	}
	return w.adopt(mb)
}

// named is box by name.
func (w *work) named(id AccountID, name string) (*workBox, error) {
	for _, mb := range w.boxes { // as renamed or made here
		if mb.Account == id && mb.Name == name && !mb.Deleted {
			return mb, nil
		}
	}
	mb, err := w.MailboxByName(id, name)
	if err != nil {
		return nil, err
	}
	if known := w.boxes[mb.ID]; known != nil { // it has another name by now
		return nil, ErrNotFound
	}
	return w.adopt(mb)
}

func (w *work) adopt(mb Mailbox) (*workBox, error) {
	if known := w.boxes[mb.ID]; known != nil {
		return known, known.alive()
	}
	if _, err := w.account(mb.Account); err != nil {
		return nil, err
	}
	b := &workBox{Mailbox: mb}
	w.boxes[mb.ID] = b
	return b, b.alive()
}

func (mb *workBox) alive() error {
	if mb.Deleted {
		return ErrNotFound
	}
	return nil
}

// nextUID takes a UID of mb.
func (mb *workBox) nextUID() (UID, error) {
	if mb.UIDNext == math.MaxUint32 {
		return 0, fmt.Errorf("%w: no UID is left in mailbox %d", ErrLimit, mb.ID)
	}
	mb.UIDNext++
	return mb.UIDNext - 1, nil
}

// seq is the ModSeq that changes to mb and what is in it get.
func (w *work) seq(mb *workBox) ModSeq { return w.accs[mb.Account].ModSeq }

// touch says that mb changed.
func (w *work) touch(mb *workBox) {
	mb.changed = true
	w.accs[mb.Account].changed = true
}

// object writes an object of a locked account.
func (w *work) object(o Object) error {
	acc := w.accs[o.Account]
	acc.changed = true
	o.ModSeq = acc.ModSeq
	if o.Deleted {
		o.Data, o.Blob = nil, ""
	}
	return w.PutObject(o)
}

// add takes a message into the counters of its mailbox, or with sign -1 out of
// them.
func (w *work) add(mb *workBox, m *Message, sign int) {
	mb.count(m, sign)
	acc := w.accs[mb.Account]
	acc.Messages += sign
	acc.Bytes += int64(sign) * m.Size
	w.touch(mb)
}

// room says ErrOverQuota if an account may not hold one more message of size bytes.
// All that is filed comes through here, under the lock of the account: so nothing
// that runs beside can use the same room.
func (w *work) room(id AccountID, limit mailkeel.Quota, size int64) error {
	return usage(w.accs[id].Account, limit).Room(size, 1)
}

func (w *work) flush() error {
	for _, set := range w.seen {
		if err := set.flush(); err != nil {
			return err
		}
	}
	for _, k := range w.words {
		if err := k.flush(); err != nil {
			return err
		}
	}
	for _, mb := range w.boxes {
		if !mb.changed {
			continue
		}
		mb.ModSeq = w.seq(mb)
		if err := w.PutMailbox(&mb.Mailbox); err != nil {
			return err
		}
	}
	for _, acc := range w.accs {
		if !acc.changed {
			continue
		}
		if err := w.PutAccount(acc.Account); err != nil {
			return err
		}
	}
	return nil
}
