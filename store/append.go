package store

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// An Append is a message that a user puts into a mailbox.
type Append struct {
	// Blob is young: it was committed or touched by the caller; or it was staged,
	// and Wait returns nil when it is durable, as of a blob.Stager. Nothing is
	// filed before that. Open reads it until then.
	Blob     blob.Info
	Wait     func() error
	Open     func(context.Context) (io.ReadCloser, error) // nil means from the Store's Blobs
	Flags    []string
	Received time.Time // zero means now
}

// Append files messages in a mailbox, all or none; the right i. Flags are kept as
// s, w and t allow (RFC 4314, 4). ErrOverQuota, ErrInvalid, ErrLimit.
func (a *Access) Append(ctx context.Context, id MailboxID, ms ...Append) ([]Placed, error) {
	mb, r, err := a.look(ctx, id, "i")
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	limit, err := a.store.limit(ctx, mb.Account)
	if err != nil {
		return nil, err
	}
	flags, cold, keys := make([][]string, len(ms)), make([]Cold, len(ms)), make([][]ThreadKey, len(ms))
	for i, m := range ms {
		if flags[i], err = CleanFlags(m.Flags); err != nil {
			return nil, err
		}
		if m.Open != nil {
			cold[i], err = a.store.ParseFrom(ctx, m.Open)
		} else {
			cold[i], err = a.store.Parse(ctx, m.Blob)
		}
		if err != nil {
			return nil, err
		}
		keys[i] = coldKeys(&cold[i])
	}
	wait := func() error {
		for _, m := range ms {
			if m.Wait != nil {
				if err := m.Wait(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if !slices.ContainsFunc(ms, func(m Append) bool { return m.Wait != nil }) {
		wait = nil
	}
	var out []Placed
	err = a.updateAfter(ctx, wait, func(w *work) error {
		out = nil
		var dst *workBox
		if dst, r, err = a.box(w, id, "i"); err != nil {
			return err
		}
		var seen *seenSet
		if dst.Account != a.account {
			if seen, err = w.seenBy(dst, a.account); err != nil {
				return err
			}
		}
		f := filing{w: w, dst: dst, limit: limit}
		for i, m := range ms {
			keep := r.keep(flags[i])
			row := Message{Flags: keep, Received: m.Received, Blob: m.Blob.Ref, Size: m.Blob.Size}
			if seen != nil {
				row.Flags = withSeen(keep, false)
			}
			uid, err := f.add(row, cold[i], keys[i])
			if err != nil {
				return err
			}
			if seen != nil && has(keep, FlagSeen) {
				seen.set(uid, true)
			}
		}
		err = f.put()
		out = f.placed
		return err
	}, id)
	if err != nil {
		return nil, err
	}
	return out, nil
}
