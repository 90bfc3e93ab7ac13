package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store/blob"
)

// Copy puts copies of messages into a mailbox, with new IDs, under the quota of
// its owner: all, or none with ErrOverQuota. It needs r on the one and i on the
// other; flags are copied as s, w and t there allow (RFC 4314, 4). Moved.ID is
// the new one.
func (a *Access) Copy(ctx context.Context, from, to MailboxID, uids ...UID) ([]Moved, error) {
	return a.transfer(ctx, from, to, uids, false)
}

// transfer is Copy and Move.
func (a *Access) transfer(ctx context.Context, from, to MailboxID, uids []UID, move bool) (done []Moved, err error) {
	need := Rights("r")
	if move {
		need = "rte"
	}
	plan, err := a.plan(ctx, from, to, uids, need, move)
	if err != nil {
		return nil, err
	}
	err = a.update(ctx, func(w *work) error {
		done = nil
		src, _, err := a.box(w, from, need)
		if err != nil {
			return err
		}
		dst, r, err := a.box(w, to, "i")
		if err != nil {
			return err
		}
		ms, err := find(w, from, uids, Since{}, func(m *Message) bool { return plan.touched[m.Blob] || plan.within })
		if err != nil || len(ms) == 0 {
			return err
		}
		if plan.within {
			done, err = w.moveWithin(src, dst, ms)
			return err
		}
		if done, err = a.copies(w, src, dst, r, ms, plan.limit); err != nil || !move {
			return err
		}
		if err := w.unsee(src, ms); err != nil {
			return err
		}
		for i, m := range ms {
			ms[i] = w.expunge(src, m)
		}
		return w.PutMessages(ms)
	}, from, to)
	if err != nil {
		return nil, err
	}
	return done, nil
}

// A plan is what a transfer does before its transaction.
type plan struct {
	within  bool // nothing is copied
	touched map[blob.Ref]bool
	limit   mailkeel.Quota
}

func (a *Access) plan(ctx context.Context, from, to MailboxID, uids []UID, need Rights, move bool) (p plan, err error) {
	var owner AccountID
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		p.touched = map[blob.Ref]bool{}
		src, _, err := a.rights(tx, from, need)
		if err != nil {
			return err
		}
		dst, _, err := a.rights(tx, to, "i")
		if err != nil {
			return err
		}
		owner = dst.Account
		if p.within = move && src.Account == owner; p.within {
			return nil
		}
		_, err = find(tx, from, uids, Since{}, func(m *Message) bool {
			p.touched[m.Blob] = true
			return false
		})
		return err
	})
	if err != nil || p.within || len(p.touched) == 0 {
		return p, err
	}
	if err := a.store.Blobs.Touch(ctx, slices.Sorted(maps.Keys(p.touched))...); err != nil {
		return p, err
	}
	p.limit, err = a.store.limit(ctx, owner)
	return p, err
}

// copies files copies of ms, which lie in src, in dst.
func (a *Access) copies(w *work, src, dst *workBox, r Rights, ms []Message, limit mailkeel.Quota) (done []Moved, err error) {
	var seenFrom, seenTo *seenSet // nil where the account is the owner
	if src.Account != a.account {
		if seenFrom, err = w.seenBy(src, a.account); err != nil {
			return nil, err
		}
	}
	if dst.Account != a.account {
		if seenTo, err = w.seenBy(dst, a.account); err != nil {
			return nil, err
		}
	}
	f := filing{w: w, dst: dst, limit: limit}
	for batch := range slices.Chunk(ms, filingBatch) {
		cold, err := coldOf(w, src.Account, batch)
		if err != nil {
			return nil, err
		}
		for _, m := range batch {
			if seenFrom != nil {
				seenFrom.view(&m)
			}
			flags := r.keep(m.Flags)
			n := Message{Flags: flags, Received: m.Received, Blob: m.Blob, Size: m.Size}
			if seenTo != nil {
				n.Flags = withSeen(flags, false)
			}
			c := cold[m.ID]
			var keys []ThreadKey
			if src.Account == dst.Account {
				n.Thread = m.Thread
			} else {
				keys = coldKeys(&c)
			}
			uid, err := f.add(n, c, keys)
			if err != nil {
				return nil, err
			}
			if seenTo != nil && has(flags, FlagSeen) {
				seenTo.set(uid, true)
			}
			done = append(done, Moved{From: m.UID, To: uid})
		}
	}
	if err := f.put(); err != nil {
		return nil, err
	}
	for i := range done {
		done[i].ID = f.placed[i].ID
	}
	return done, nil
}

// coldOf reads the cold rows of messages. ErrDamaged if one is lost or wrong: with a
// new message it would get a checksum that is right.
func coldOf(tx Tx, owner AccountID, ms []Message) (map[MessageID]Cold, error) {
	ids := make([]MessageID, len(ms))
	for i, m := range ms {
		ids[i] = m.ID
	}
	cold := make(map[MessageID]Cold, len(ms))
	for c, err := range tx.Cold(owner, ids...) {
		if err != nil {
			return nil, err
		}
		cold[c.ID] = c
	}
	for i := range ms {
		c, ok := cold[ms[i].ID]
		if !ok {
			return nil, fmt.Errorf("%w: message %d has no cold row", ErrDamaged, ms[i].ID)
		}
		if err := c.Check(&ms[i]); err != nil {
			return nil, err
		}
	}
	return cold, nil
}
