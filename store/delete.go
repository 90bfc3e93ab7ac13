package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Delete expunges all messages of a mailbox and leaves its tombstone; the right
// x. INBOX cannot be deleted: ErrInvalid. Mailboxes below it stay (RFC 9051,
// 6.3.5); a door that does not want that looks at Children first.
func (a *Access) Delete(ctx context.Context, id MailboxID) error {
	return a.update(ctx, func(w *work) error {
		mb, _, err := a.box(w, id, "x")
		if err != nil {
			return err
		}
		if mb.Name == inbox {
			return fmt.Errorf("%w: INBOX stays", ErrInvalid)
		}
		var dead []Message
		for m, err := range w.Messages(id, Query{}) {
			if err != nil {
				return err
			}
			dead = append(dead, w.expunge(mb, m))
		}
		if err := errors.Join(w.dropGrants(mb), w.dropAllMetadata(mb), w.PutMessages(dead)); err != nil {
			return err
		}
		for o, err := range w.Objects(mb.Account, ObjectQuery{Kind: keywordKind, ID: fmt.Sprint(id)}) {
			if err != nil {
				return err
			}
			o.Deleted = true
			if err := w.object(o); err != nil {
				return err
			}
		}
		mb.Deleted = true
		w.accs[mb.Account].Mailboxes--
		w.touch(mb)
		return nil
	}, id)
}

// Children returns the mailboxes below one, by name; the right l.
func (a *Access) Children(ctx context.Context, id MailboxID) (below []Mailbox, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		mb, _, err := a.rights(tx, id, "l")
		if err != nil {
			return err
		}
		below, err = inferiors(tx.Mailboxes(mb.Account, Since{}), mb.Name)
		return err
	})
	return below, err
}

func inferiors(boxes iter.Seq2[Mailbox, error], name string) (out []Mailbox, err error) {
	for mb, err := range boxes {
		if err != nil {
			return nil, err
		}
		if below(mb.Name, name) {
			out = append(out, mb)
		}
	}
	return out, nil
}
