package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// Restore brings back expunged messages of a mailbox whose KeepUntil has not
// passed, by the UIDs they had: all, or none with ErrOverQuota. They get new UIDs
// and IDs; the rights r and i. Scan with tombstones shows what there is. A message
// that was moved is not gone, and one is restored once.
func (a *Access) Restore(ctx context.Context, id MailboxID, uids ...UID) ([]Placed, error) {
	now := a.store.now()
	kept := func(m *Message) bool { return m.Expunged && !m.Moved && m.KeepUntil.After(now) }
	dead := Since{Tombstones: true}
	var owner AccountID
	touched := map[blob.Ref]bool{}
	err := a.store.Backend.View(ctx, func(tx Tx) error {
		clear(touched)
		mb, _, err := a.rights(tx, id, "ri")
		if err != nil {
			return err
		}
		owner = mb.Account
		_, err = find(tx, id, uids, dead, func(m *Message) bool {
			if kept(m) {
				touched[m.Blob] = true
			}
			return false
		})
		return err
	})
	if err != nil || len(touched) == 0 {
		return nil, err
	}
	if err := a.store.Blobs.Touch(ctx, slices.Sorted(maps.Keys(touched))...); err != nil {
		return nil, err
	}
	limit, err := a.store.limit(ctx, owner)
	if err != nil {
		return nil, err
	}
	var out []Placed
	err = a.update(ctx, func(w *work) error {
		out = nil
		dst, _, err := a.box(w, id, "ri")
		if err != nil {
			return err
		}
		ms, err := find(w, id, uids, dead, func(m *Message) bool { return kept(m) && touched[m.Blob] })
		if err != nil {
			return err
		}
		f := filing{w: w, dst: dst, limit: limit}
		for i, m := range ms {
			cold, err := coldOf(w, m.Account, ms[i:i+1])
			if err != nil {
				return err
			}
			n := Message{Thread: m.Thread, Flags: withoutDeleted(m.Flags), Received: m.Received, Blob: m.Blob, Size: m.Size}
			if _, err := f.add(n, cold[m.ID], nil); err != nil {
				return err
			}
			ms[i].KeepUntil, ms[i].ModSeq = time.Time{}, w.seq(dst)
		}
		if err := f.put(); err != nil {
			return err
		}
		out = f.placed
		return w.PutMessages(ms)
	}, id)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// withoutDeleted keeps a restored message from the next EXPUNGE.
func withoutDeleted(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == FlagDeleted })
}
