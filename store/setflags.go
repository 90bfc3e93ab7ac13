package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// SetFlags changes the flags of messages. It returns those that changed, as they
// are now, and the UIDs that UnchangedSince left alone. What has the wanted flags
// already does not change.
//
// It needs s for \Seen, t for \Deleted and w for others. Flags without the right
// stay as they are if the account has the right for any of those that the change
// names (RFC 4314, 4), else it is ErrDenied. In a mailbox of another \Seen is the
// account's own. ErrInvalid for what CleanFlags refuses, ErrLimit for too many.
func (a *Access) SetFlags(ctx context.Context, id MailboxID, c FlagChange, uids ...UID) (changed []Message, failed []UID, err error) {
	if c.Add, err = CleanFlags(c.Add); err != nil {
		return nil, nil, err
	}
	err = a.update(ctx, func(w *work) error {
		changed, failed = nil, nil
		mb, r, err := a.box(w, id, "")
		if err != nil {
			return err
		}
		if !r.mayAny(&c) {
			_, _, err := a.box(w, id, "swt")
			return err
		}
		ms, err := find(w, id, uids, Since{}, nil)
		if err != nil || len(ms) == 0 {
			return err
		}
		c := c
		if c.Add, err = w.spell(mb, r.keep(c.Add)); err != nil {
			return err
		}
		var seen *seenSet // nil for the owner
		if mb.Account != a.account {
			if seen, err = w.seenBy(mb, a.account); err != nil {
				return err
			}
		}
		rows := make([]Message, 0, len(ms))
		for _, m := range ms {
			if c.UnchangedSince != nil && m.ModSeq > *c.UnchangedSince {
				failed = append(failed, m.UID)
				continue
			}
			row := m
			if seen != nil {
				seen.view(&m)
			}
			flags := c.apply(m.Flags, r.mayFlag)
			if slices.Equal(flags, slices.Sorted(slices.Values(m.Flags))) {
				continue
			}
			if len(flags) > maxFlags {
				return fmt.Errorf("%w: %d flags", ErrLimit, len(flags))
			}
			m.Flags, m.ModSeq = flags, w.seq(mb)
			mb.count(&row, -1)
			row.ModSeq = m.ModSeq
			if seen != nil {
				seen.set(m.UID, has(flags, FlagSeen))
				row.Flags = withSeen(flags, has(row.Flags, FlagSeen))
			} else {
				row.Flags = flags
			}
			mb.count(&row, 1)
			changed, rows = append(changed, m), append(rows, row)
		}
		if len(rows) == 0 {
			return nil
		}
		w.touch(mb)
		return w.putFlags(mb, rows)
	}, id)
	if err != nil {
		return nil, nil, err
	}
	return changed, failed, nil
}

// mayAny reports whether r lets one make any part of a change.
func (r Rights) mayAny(c *FlagChange) bool {
	if c.Replace && (r.Has("s") || r.Has("w") || r.Has("t")) {
		return true
	}
	return slices.ContainsFunc(c.Add, r.mayFlag) || slices.ContainsFunc(c.Remove, r.mayFlag) ||
		len(c.Add)+len(c.Remove) == 0 && strings.ContainsAny(string(r), "swt")
}
