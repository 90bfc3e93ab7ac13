package store

import (
	"context"
	"fmt"
	"slices"
)

// A KnownRun is a FlagRun of so many messages.
type KnownRun struct {
	FlagRun
	N int
}

// SetKnownFlags is SetFlags for who knows the flags of messages already, as a door
// does that shows them: runs says what they are, in order, and at is the ModSeq of
// the mailbox at which that is so. Nothing is read, so that it takes about as long
// for a hundred thousand messages as for one.
//
// It returns the runs that changed, as they are now, and the mailbox. If the mailbox
// is not at that ModSeq any more, or is another's, it is ErrStale: ask SetFlags.
// c.UnchangedSince is the caller's to look at.
func (a *Access) SetKnownFlags(ctx context.Context, id MailboxID, at ModSeq, c FlagChange, runs []KnownRun) (changed []KnownRun, box Mailbox, err error) {
	if c.Add, err = CleanFlags(c.Add); err != nil {
		return nil, Mailbox{}, err
	}
	err = a.update(ctx, func(w *work) error {
		changed = nil
		mb, r, err := a.box(w, id, "")
		if err != nil {
			return err
		}
		if mb.Account != a.account || mb.ModSeq != at || mb.changed {
			return ErrStale
		}
		c := c
		if c.Add, err = w.spell(mb, c.Add); err != nil {
			return err
		}
		var put []FlagRun
		for _, run := range runs {
			flags := c.apply(run.Flags, r.mayFlag)
			if slices.Equal(flags, slices.Sorted(slices.Values(run.Flags))) {
				continue
			}
			if len(flags) > maxFlags {
				return fmt.Errorf("%w: %d flags", ErrLimit, len(flags))
			}
			mb.countRun(run.Flags, -run.N)
			mb.countRun(flags, run.N)
			run.Flags = flags
			changed, put = append(changed, run), append(put, run.FlagRun)
		}
		box = mb.Mailbox
		if len(put) == 0 {
			return nil
		}
		w.touch(mb)
		box.ModSeq = w.seq(mb)
		return w.PutFlags(id, box.ModSeq, put)
	}, id)
	if err != nil {
		return nil, Mailbox{}, err
	}
	return changed, box, nil
}

// countRun adds n messages with flags to what is counted of flags.
func (mb *Mailbox) countRun(flags []string, n int) {
	if !has(flags, FlagSeen) {
		mb.Unseen += n
	}
	if has(flags, FlagDeleted) {
		mb.Marked += n
	}
}

// manyFlags is from how many messages on their flags are written by runs.
const manyFlags = 32

// putFlags writes rows in which nothing but flags and ModSeq changed, which is that
// of this work.
func (w *work) putFlags(mb *workBox, rows []Message) error {
	if len(rows) < manyFlags {
		return w.PutMessages(rows)
	}
	var runs []FlagRun
	for _, m := range rows {
		// What lies between may be live, and not be meant.
		if n := len(runs); n > 0 && runs[n-1].Last+1 == m.UID && slices.Equal(runs[n-1].Flags, m.Flags) {
			runs[n-1].Last = m.UID
			continue
		}
		runs = append(runs, FlagRun{m.UID, m.UID, m.Flags})
	}
	return w.PutFlags(mb.ID, w.seq(mb), runs)
}
