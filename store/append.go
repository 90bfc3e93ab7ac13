package store

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel"
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

// Append files messages in a mailbox, all or none, with UIDs that follow each other;
// the right i. Flags are kept as s, w and t allow (RFC 4314, 4). ErrOverQuota,
// ErrInvalid, ErrLimit.
func (a *Access) Append(ctx context.Context, id MailboxID, ms ...Append) (out []Placed, err error) {
	mb, _, err := a.look(ctx, id, "i")
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	limit, err := a.store.limit(ctx, mb.Account)
	if err != nil {
		return nil, err
	}
	in, err := a.store.arrivals(ctx, ms)
	if err != nil {
		return nil, err
	}
	err = a.updateAfter(ctx, in.wait(), func(w *work) error {
		dst, r, err := a.box(w, id, "i")
		if err != nil {
			return err
		}
		out, err = a.file(w, dst, r, in, limit)
		return err
	}, id)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// AppendTo is Append to one of the account's own mailboxes by name, "inbox" in any case.
// The mailbox is looked at when the messages are filed, and not before: ErrNotFound then,
// too. INBOX is not made.
func (a *Access) AppendTo(ctx context.Context, name string, ms ...Append) (out []Placed, err error) {
	name, err = CleanName(name)
	if err != nil {
		return nil, ErrNotFound // no such mailbox can be there
	}
	limit, err := a.store.limit(ctx, a.account)
	if err != nil {
		return nil, err
	}
	in, err := a.store.arrivals(ctx, ms)
	if err != nil {
		return nil, err
	}
	err = a.store.updateAfter(ctx, in.wait(), only(a.account), func(w *work) error {
		dst, err := w.named(a.account, name)
		if err == nil {
			out, err = a.file(w, dst, AllRights, in, limit)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// An arrivals is messages that a user puts into a mailbox, with what parsing them
// gave.
type arrivals struct {
	ms    []Append
	flags [][]string
	cold  []Cold
	keys  [][]ThreadKey
}

// maxParsed is how many bytes parsing may leave of what one Append files.
const maxParsed = 32 << 20

// arrivals does what is done before the transaction.
func (s *Store) arrivals(ctx context.Context, ms []Append) (in *arrivals, err error) {
	in = &arrivals{ms, make([][]string, len(ms)), make([]Cold, len(ms)), make([][]ThreadKey, len(ms))}
	parsed := 0
	for i, m := range ms {
		if in.flags[i], err = CleanFlags(m.Flags); err != nil {
			return nil, err
		}
		c := &in.cold[i]
		if m.Open != nil {
			*c, err = s.ParseFrom(ctx, m.Open)
		} else {
			*c, err = s.Parse(ctx, m.Blob)
		}
		if err != nil {
			return nil, err
		}
		if parsed += len(c.Envelope) + len(c.Structure) + len(c.Preview); parsed > maxParsed && i > 0 {
			return nil, fmt.Errorf("%w: messages too complex to be filed together", ErrLimit)
		}
		in.keys[i] = coldKeys(c)
	}
	return in, nil
}

// wait returns what waits for all contents, or nil if they are there.
func (in *arrivals) wait() func() error {
	if !slices.ContainsFunc(in.ms, func(m Append) bool { return m.Wait != nil }) {
		return nil
	}
	return func() error {
		for _, m := range in.ms {
			if m.Wait != nil {
				if err := m.Wait(); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// file files arrivals in dst, with the flags that the account's rights there allow.
func (a *Access) file(w *work, dst *workBox, r Rights, in *arrivals, limit mailkeel.Quota) (_ []Placed, err error) {
	var seen *seenSet // nil for the owner
	if dst.Account != a.account {
		if seen, err = w.seenBy(dst, a.account); err != nil {
			return nil, err
		}
	}
	f := filing{w: w, dst: dst, limit: limit}
	for i, m := range in.ms {
		keep := r.keep(in.flags[i])
		row := Message{Flags: keep, Received: m.Received, Blob: m.Blob.Ref, Size: m.Blob.Size}
		if seen != nil {
			row.Flags = withSeen(keep, false)
		}
		uid, err := f.add(row, in.cold[i], in.keys[i])
		if err != nil {
			return nil, err
		}
		if seen != nil && has(keep, FlagSeen) {
			seen.set(uid, true)
		}
	}
	if err := f.put(); err != nil {
		return nil, err
	}
	return f.placed, nil
}
