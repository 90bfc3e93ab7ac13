package store

import (
	"context"
	"time"
)

// Moved says which UID a message had and which it has now, and its ID now.
type Moved struct {
	ID       MessageID
	From, To UID
}

// moveWithin puts messages of src into dst, of the same owner. They keep their
// IDs, and what others have seen goes with them where they have rights too.
func (w *work) moveWithin(src, dst *workBox, ms []Message) (moved []Moved, err error) {
	if len(ms) == 0 {
		return nil, nil
	}
	seq := w.seq(src)
	sets, users, err := w.readers(src)
	if err != nil {
		return nil, err
	}
	into := make([]*seenSet, len(sets)) // nil for who has no rights in dst
	for i, user := range users {
		if r, err := granted(w, &dst.Mailbox, user); err != nil {
			return nil, err
		} else if r != "" {
			if into[i], err = w.seenBy(dst, user); err != nil {
				return nil, err
			}
		}
	}
	rows := make([]Message, 0, 2*len(ms))
	for _, m := range ms {
		live := m
		live.Mailbox, live.Saved, live.Added, live.ModSeq = dst.ID, w.now, seq, seq
		if live.UID, err = dst.nextUID(); err != nil {
			return nil, err
		}
		if live.Flags, err = w.spell(dst, m.Flags); err != nil {
			return nil, err
		}
		for i, s := range sets {
			if s.has(m.UID) {
				s.set(m.UID, false)
				if into[i] != nil {
					into[i].set(live.UID, true)
				}
			}
		}
		w.add(src, &m, -1)
		w.add(dst, &live, 1)
		moved = append(moved, Moved{m.ID, m.UID, live.UID})
		m.Expunged, m.Moved, m.ModSeq, m.Blob, m.KeepUntil = true, true, seq, "", time.Time{}
		rows = append(rows, m, live)
	}
	return moved, w.PutMessages(rows)
}

// Move puts messages into another mailbox, where they get new UIDs; r, t and e on
// the one they leave and i on the other (RFC 6851, 4.4), and flags as with Copy.
// Within one owner they keep their IDs. To another owner it is a Copy and an
// Expunge in one transaction, under the quota of that owner.
func (a *Access) Move(ctx context.Context, from, to MailboxID, uids ...UID) ([]Moved, error) {
	return a.transfer(ctx, from, to, uids, true)
}
