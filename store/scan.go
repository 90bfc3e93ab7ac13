package store

import (
	"context"
	"errors"
	"iter"

	"github.com/mailkeel/mailkeel/internal/message"
)

// Keywords returns the keywords that were ever used in a mailbox; the right r.
func (a *Access) Keywords(ctx context.Context, id MailboxID) (list []string, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "r")
		if err == nil {
			list, err = readKeywords(tx, &mb)
		}
		return err
	})
	return list, err
}

// Scan calls fn with a mailbox and its messages that q selects, in order of UID,
// all of one moment; the right r. fn may run again and does no I/O. With q.Since
// the messages are those that changed, and its Tombstones are what has gone; a
// message that another account alone has seen counts as changed too. Slices of what
// is yielded are not changed.
func (a *Access) Scan(ctx context.Context, id MailboxID, q Query, fn func(Mailbox, iter.Seq2[Message, error]) error) error {
	return a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		if mb.Account == a.account {
			return fn(mb, tx.Messages(id, q))
		}
		set, err := readSeen(tx, &mb, a.account)
		if err != nil {
			return err
		}
		mb.Unseen = mb.Messages - set.count()
		return fn(mb, func(yield func(Message, error) bool) {
			for m, err := range tx.Messages(id, q) {
				if err == nil {
					set.view(&m)
				}
				if !yield(m, err) {
					return
				}
			}
		})
	})
}

// Recent is a Scan for what changed in one of the account's own mailboxes since it was at
// after, from the memory of the backend. False means to Scan.
func (a *Access) Recent(id MailboxID, after ModSeq) (mb Mailbox, ms []Message, ok bool) {
	if b, can := a.store.Backend.(Recent); can {
		mb, ms, ok = b.Recent(id, after)
	}
	return mb, ms, ok && mb.Account == a.account && !mb.Deleted
}

// Vanished returns the UIDs of messages that left a mailbox after a ModSeq of its
// account, in order, some that came after it perhaps among them; the right r.
// ErrHorizon means that they are no longer known one by one, or that the ModSeq is
// of a future that a restored backup took back.
func (a *Access) Vanished(ctx context.Context, id MailboxID, after ModSeq) (uids []UID, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		accs, err := tx.Accounts(mb.Account)
		if err != nil {
			return err
		}
		if after < accs[0].Horizon || after > accs[0].ModSeq {
			return ErrHorizon
		}
		uids, err = tx.Vanished(id, after)
		return err
	})
	if err != nil {
		return nil, err
	}
	return uids, nil
}

// Cold returns what is known of messages in a mailbox by parsing them, of those
// that are there; the right r. What was filed without parsing, or parsed by an
// older version, is parsed now.
func (a *Access) Cold(ctx context.Context, id MailboxID, ids ...MessageID) (out map[MessageID]Cold, err error) {
	var raw []Message
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		out, raw = make(map[MessageID]Cold, len(ids)), nil
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		see := ids
		if mb.Account != a.account { // only what lies in this mailbox
			see = nil
			for _, m := range ids {
				row, err := tx.MessageByID(mb.Account, m)
				if err == nil && row.Mailbox == id {
					see = append(see, m)
				} else if err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
			}
		}
		for c, err := range tx.Cold(mb.Account, see...) {
			if err != nil {
				return err
			}
			if out[c.ID] = c; message.Outdated(c.Envelope) {
				m, err := tx.MessageByID(mb.Account, c.ID)
				if err == nil {
					raw = append(raw, m)
				} else if !errors.Is(err, ErrNotFound) {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && len(raw) > 0 {
		err = a.store.parseLate(ctx, raw, out)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Load returns those of some messages of a mailbox that are there, in order of UID, and
// with cold what is known of them by parsing, as Cold does, all of one moment; the
// right r.
func (a *Access) Load(ctx context.Context, id MailboxID, cold bool, uids ...UID) (ms []Message, parsed map[MessageID]Cold, err error) {
	var raw []Message
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		raw = nil
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		if ms, err = find(tx, id, uids, Since{}, nil); err != nil {
			return err
		}
		if mb.Account != a.account {
			set, err := readSeen(tx, &mb, a.account)
			if err != nil {
				return err
			}
			for i := range ms {
				set.view(&ms[i])
			}
		}
		if !cold {
			return nil
		}
		ids, at := make([]MessageID, len(ms)), make(map[MessageID]int, len(ms))
		for i := range ms {
			ids[i], at[ms[i].ID] = ms[i].ID, i
		}
		parsed = make(map[MessageID]Cold, len(ms))
		for c, err := range tx.Cold(mb.Account, ids...) {
			if err != nil {
				return err
			}
			if parsed[c.ID] = c; message.Outdated(c.Envelope) {
				raw = append(raw, ms[at[c.ID]])
			}
		}
		return nil
	})
	if err == nil && len(raw) > 0 {
		err = a.store.parseLate(ctx, raw, parsed)
	}
	if err != nil {
		return nil, nil, err
	}
	return ms, parsed, nil
}
