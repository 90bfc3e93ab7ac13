package trgmindex

import (
	"context"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// hasty says that a transaction need not be durable: what is lost is done again.
const hasty = `SELECT set_config('synchronous_commit', 'off', true)`

// change runs a transaction that changes what is kept of an account, one at a time of
// all processes.
func (x *Index) change(ctx context.Context, account store.AccountID, fn func(sqldb.Conn) error) error {
	return x.db.Update(ctx, func(c sqldb.Conn) error {
		if err := sqldb.Later(c, hasty); err != nil {
			return err
		}
		if err := sqldb.Lock(c, "search "+string(account)); err != nil {
			return err
		}
		return fn(c)
	})
}

// byBox sorts places by mailbox.
func byBox(places []search.Place) map[store.MailboxID][]store.UID {
	out := map[store.MailboxID][]store.UID{}
	for _, p := range places {
		out[p.Mailbox] = append(out[p.Mailbox], p.UID)
	}
	return out
}

func number(uid store.UID) any { return int64(uid) }

// Missing returns those of places that are not there.
func (x *Index) Missing(ctx context.Context, _ store.AccountID, places []search.Place) (out []search.Place, err error) {
	there := map[search.Place]bool{}
	err = x.db.View(ctx, func(c sqldb.Conn) error {
		clear(there)
		for box, uids := range byBox(places) {
			err := sqldb.In(uids, number, func(in string, args []any) error {
				return c.Query(`SELECT uid FROM search_doc WHERE box = ? AND uid IN `+in, func(r sqldb.Row) error {
					there[search.Place{Mailbox: box, UID: store.UID(r.Int(0))}] = true
					return nil
				}, append([]any{int64(box)}, args...)...)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if !there[p] {
			out = append(out, p)
		}
	}
	return out, nil
}

// Apply does a Batch in one transaction.
func (x *Index) Apply(ctx context.Context, b search.Batch) error {
	rows := make([]row, len(b.Docs))
	for i := range b.Docs {
		rows[i] = newRow(&b.Docs[i])
	}
	return x.change(ctx, b.Account, func(c sqldb.Conn) error { return apply(c, &b, rows) })
}

func apply(c sqldb.Conn, b *search.Batch, rows []row) error {
	_, is, err := accountOf(c, b.Account)
	if err != nil {
		return err
	}
	if is != b.From {
		return search.ErrChanged
	}
	num := int64(0)
	err = c.Query(`INSERT INTO search_account (id, through, start) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET through = excluded.through, start = excluded.start RETURNING num`, func(r sqldb.Row) error {
		num = r.Int(0)
		return nil
	}, string(b.Account), int64(b.State.Through), int64(b.State.Start))
	if err != nil {
		return err
	}
	known := map[store.MailboxID]bool{}
	for i, r := range rows {
		box := b.Docs[i].Mailbox
		if !known[box] {
			known[box] = true
			if err := sqldb.Later(c, `INSERT INTO search_box (id, acct) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`, int64(box), num); err != nil {
				return err
			}
		}
		err := sqldb.Later(c, `INSERT INTO search_doc (box, uid, vague, fields, header, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (box, uid) DO NOTHING`,
			int64(box), int64(b.Docs[i].UID), r.vague, r.fields, r.header, r.body)
		if err != nil {
			return err
		}
	}
	for box, uids := range byBox(b.Gone) {
		err := sqldb.In(uids, number, func(in string, args []any) error {
			return sqldb.Later(c, `DELETE FROM search_doc WHERE box = ? AND uid IN `+in, append([]any{int64(box)}, args...)...)
		})
		if err != nil {
			return err
		}
	}
	for _, box := range b.Boxes {
		if err := sqldb.Later(c, `DELETE FROM search_doc WHERE box = ?`, int64(box)); err != nil {
			return err
		}
		if err := sqldb.Later(c, `DELETE FROM search_box WHERE id = ?`, int64(box)); err != nil {
			return err
		}
	}
	return nil
}

func accountOf(c sqldb.Conn, id store.AccountID) (num int64, s search.State, err error) {
	err = c.Query(`SELECT num, through, start FROM search_account WHERE id = ?`, func(r sqldb.Row) error {
		num, s = r.Int(0), search.State{Through: store.ModSeq(r.Int(1)), Start: store.ModSeq(r.Int(2))}
		return nil
	}, string(id))
	return num, s, err
}

// Drop forgets an account, all at once: another process may begin with it anew, and must
// not find what was there.
func (x *Index) Drop(ctx context.Context, account store.AccountID) error {
	return x.change(ctx, account, func(c sqldb.Conn) error {
		num, _, err := accountOf(c, account)
		if err != nil || num == 0 {
			return err
		}
		for _, q := range []string{
			`DELETE FROM search_doc WHERE box IN (SELECT id FROM search_box WHERE acct = ?)`,
			`DELETE FROM search_box WHERE acct = ?`,
			`DELETE FROM search_account WHERE num = ?`,
		} {
			if err := sqldb.Later(c, q, num); err != nil {
				return err
			}
		}
		return nil
	})
}
