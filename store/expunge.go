package store

import (
	"context"
	"time"
)

// readers returns the sets of what others have seen in a mailbox, also of those
// who may not read it now: they may again.
func (w *work) readers(mb *workBox) (sets []*seenSet, users []AccountID, err error) {
	gs, err := grants(w, &mb.Mailbox)
	for _, g := range gs {
		set, err := w.seenBy(mb, g.To)
		if err != nil {
			return nil, nil, err
		}
		sets, users = append(sets, set), append(users, g.To)
	}
	return sets, users, err
}

// unsee takes messages that leave mb out of what others have seen.
func (w *work) unsee(mb *workBox, ms []Message) error {
	sets, _, err := w.readers(mb)
	for _, s := range sets {
		for i := range ms {
			s.set(ms[i].UID, false)
		}
	}
	return err
}

// expunge takes m out of the counters and returns its tombstone.
func (w *work) expunge(mb *workBox, m Message) Message {
	w.add(mb, &m, -1)
	m.Expunged, m.ModSeq = true, w.seq(mb)
	if m.KeepUntil = (time.Time{}); w.s.Keep > 0 {
		m.KeepUntil = w.now.Add(w.s.Keep)
	}
	return m
}

// Expunge removes messages and leaves tombstones; the right e. It returns the
// UIDs removed.
func (a *Access) Expunge(ctx context.Context, id MailboxID, uids ...UID) (gone []UID, err error) {
	return a.expungeThose(ctx, id, uids, nil)
}

// ExpungeMarked is Expunge of those that have \Deleted at that moment. A mark that
// was taken back after the caller looked is not lost.
func (a *Access) ExpungeMarked(ctx context.Context, id MailboxID, uids ...UID) (gone []UID, err error) {
	return a.expungeThose(ctx, id, uids, func(m *Message) bool { return has(m.Flags, FlagDeleted) })
}

func (a *Access) expungeThose(ctx context.Context, id MailboxID, uids []UID, want func(*Message) bool) (gone []UID, err error) {
	err = a.update(ctx, func(w *work) error {
		gone = nil
		mb, _, err := a.box(w, id, "e")
		if err != nil {
			return err
		}
		ms, err := find(w, id, uids, Since{}, want)
		if err != nil || len(ms) == 0 {
			return err
		}
		if err := w.unsee(mb, ms); err != nil {
			return err
		}
		for i, m := range ms {
			ms[i] = w.expunge(mb, m)
			gone = append(gone, m.UID)
		}
		return w.PutMessages(ms)
	}, id)
	if err != nil {
		return nil, err
	}
	return gone, nil
}
