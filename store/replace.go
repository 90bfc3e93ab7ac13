package store

import (
	"context"

	"github.com/mailkeel/mailkeel"
)

// Replace files a message in the mailbox to and expunges the message uid of from, in
// one transaction (RFC 8508); the rights t and e there, and what Append needs. Within
// one owner only the difference of their sizes counts against the quota, and a
// message that is not larger always has room. If the old one has gone it is
// ErrNoMessage, and nothing is filed.
func (a *Access) Replace(ctx context.Context, from MailboxID, uid UID, to MailboxID, m Append) (p Placed, err error) {
	mb, _, err := a.look(ctx, to, "i")
	if err != nil {
		return Placed{}, err
	}
	limit, err := a.store.limit(ctx, mb.Account)
	if err != nil {
		return Placed{}, err
	}
	in, err := a.store.arrivals(ctx, []Append{m})
	if err != nil {
		return Placed{}, err
	}
	err = a.updateAfter(ctx, in.wait(), func(w *work) error {
		src, _, err := a.box(w, from, "te")
		if err != nil {
			return err
		}
		dst, r, err := a.box(w, to, "i")
		if err != nil {
			return err
		}
		old, err := find(w, from, []UID{uid}, Since{}, nil)
		if err != nil {
			return err
		}
		if len(old) == 0 {
			return ErrNoMessage
		}
		if err := w.unsee(src, old); err != nil {
			return err
		}
		limit := limit
		if src.Account == dst.Account && m.Blob.Size <= old[0].Size {
			limit = mailkeel.Quota{}
		}
		if err := w.PutMessages([]Message{w.expunge(src, old[0])}); err != nil {
			return err
		}
		placed, err := a.file(w, dst, r, in, limit)
		if err == nil {
			p = placed[0]
		}
		return err
	}, from, to)
	if err != nil {
		return Placed{}, err
	}
	return p, nil
}
