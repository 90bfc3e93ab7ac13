package ftsindex

import (
	"context"
	"errors"
	"slices"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// uidsOf returns the UIDs of a mailbox that are there, in order, and which of them are
// Long.
func uidsOf(c sqldb.Conn, box store.MailboxID) (docs []doc, err error) {
	err = c.Query(`SELECT uids FROM segment WHERE box = ? ORDER BY id`, func(r sqldb.Row) error {
		docs, err = decodeUIDs(docs, r.Bytes(0))
		return err
	}, int64(box))
	if err != nil {
		return nil, err
	}
	byUID := func(a, b doc) int { return int(int64(a.uid) - int64(b.uid)) }
	if !slices.IsSortedFunc(docs, byUID) {
		slices.SortFunc(docs, byUID)
	}
	return docs, nil
}

func has(docs []doc, uid store.UID) bool {
	_, ok := slices.BinarySearchFunc(docs, uid, func(d doc, u store.UID) int { return int(int64(d.uid) - int64(u)) })
	return ok
}

// Missing returns those of places that are not there.
func (x *Index) Missing(ctx context.Context, account store.AccountID, places []search.Place) (out []search.Place, err error) {
	err = x.use(false, func(db *sqldb.SQLite) error {
		return db.View(ctx, func(c sqldb.Conn) (err error) {
			out, err = missing(c, places)
			return err
		})
	})
	if errors.Is(err, search.ErrNoAnswer) {
		return places, nil
	}
	return out, err
}

func missing(c sqldb.Conn, places []search.Place) (out []search.Place, err error) {
	known := map[store.MailboxID][]doc{}
	for _, p := range places {
		docs, ok := known[p.Mailbox]
		if !ok {
			if docs, err = uidsOf(c, p.Mailbox); err != nil {
				return nil, err
			}
			known[p.Mailbox] = docs
		}
		if !has(docs, p.UID) {
			out = append(out, p)
		}
	}
	return out, nil
}

// Apply does a Batch in one transaction.
func (x *Index) Apply(ctx context.Context, b search.Batch) error {
	return x.use(true, func(db *sqldb.SQLite) error {
		return db.Update(ctx, func(c sqldb.Conn) error { return apply(c, &b) })
	})
}

func apply(c sqldb.Conn, b *search.Batch) error {
	num, is, err := accountOf(c, b.Account)
	if err != nil {
		return err
	}
	if is != b.From {
		return search.ErrChanged
	}
	err = c.Query(`INSERT INTO account (id, through, start) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET through = excluded.through, start = excluded.start RETURNING num`, func(r sqldb.Row) error {
		num = r.Int(0)
		return nil
	}, string(b.Account), int64(b.State.Through), int64(b.State.Start))
	if err != nil {
		return err
	}
	places := make([]search.Place, len(b.Docs))
	for i, d := range b.Docs {
		places[i] = search.Place{Mailbox: d.Mailbox, UID: d.UID}
	}
	if places, err = missing(c, places); err != nil {
		return err
	}
	fresh, wanted := map[store.MailboxID][]doc{}, map[search.Place]bool{}
	for _, p := range places {
		wanted[p] = true
	}
	for i := range b.Docs {
		d := &b.Docs[i]
		at := search.Place{Mailbox: d.Mailbox, UID: d.UID}
		if !wanted[at] || d.Mailbox <= 0 || d.Mailbox > maxBox {
			continue
		}
		delete(wanted, at) // not twice
		fresh[d.Mailbox] = append(fresh[d.Mailbox], newDoc(d))
		text := make([]byte, 0, len(d.Header)+1+len(d.Body))
		text = append(append(append(text, d.Header...), '\n'), d.Body...)
		if err := c.Exec(`INSERT INTO words (rowid, text) VALUES (?, ?)`, rowid(d.Mailbox, d.UID), string(text)); err != nil {
			return err
		}
	}
	for box, docs := range fresh {
		if err := c.Exec(`INSERT INTO box (id, acct) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`, int64(box), num); err != nil {
			return err
		}
		if err := add(c, box, docs); err != nil {
			return err
		}
	}
	gone := map[store.MailboxID][]store.UID{}
	for _, p := range b.Gone {
		gone[p.Mailbox] = append(gone[p.Mailbox], p.UID)
	}
	for box, uids := range gone {
		if err := remove(c, box, uids); err != nil {
			return err
		}
	}
	for _, box := range b.Boxes {
		if err := dropBox(c, box); err != nil {
			return err
		}
	}
	return nil
}

func accountOf(c sqldb.Conn, id store.AccountID) (num int64, s search.State, err error) {
	err = c.Query(`SELECT num, through, start FROM account WHERE id = ?`, func(r sqldb.Row) error {
		num, s = r.Int(0), search.State{Through: store.ModSeq(r.Int(1)), Start: store.ModSeq(r.Int(2))}
		return nil
	}, string(id))
	return num, s, err
}

// add adds messages to a mailbox, and merges its last segments while they are of about
// the same size.
func add(c sqldb.Conn, box store.MailboxID, docs []doc) error {
	old, err := segments(c, box)
	if err != nil {
		return err
	}
	n, size := len(docs), 0
	for i := len(old) - 1; i >= 0; i-- {
		s := &old[i]
		if s.docs-s.gone > 2*n || n+s.docs > maxDocs || size+s.size > maxSize {
			break
		}
		more, err := s.read(c)
		if err != nil {
			return err
		}
		if err := s.drop(c); err != nil {
			return err
		}
		docs = append(docs, more...)
		n, size = len(docs), size+s.size
	}
	_, err = write(c, box, docs)
	return err
}

// remove forgets messages of a mailbox that have gone. Segments are written anew when
// a quarter of them has.
func remove(c sqldb.Conn, box store.MailboxID, uids []store.UID) error {
	segs, err := segments(c, box)
	if err != nil || len(segs) == 0 {
		return err
	}
	slices.Sort(uids)
	uids = slices.Compact(uids)
	for i := range segs {
		s := &segs[i]
		docs, err := decodeUIDs(nil, s.uids)
		if err != nil {
			return err
		}
		was := s.gone
		for _, d := range docs {
			if _, ok := slices.BinarySearch(uids, d.uid); !ok {
				continue
			}
			if err := c.Exec(`INSERT INTO gone (segment, uid) VALUES (?, ?) ON CONFLICT DO NOTHING`, s.id, int64(d.uid)); err != nil {
				return err
			}
			if c.Changes() == 0 {
				continue
			}
			s.gone++
			if err := c.Exec(`DELETE FROM words WHERE rowid = ?`, rowid(box, d.uid)); err != nil {
				return err
			}
		}
		switch {
		case s.gone == was:
		case s.gone*4 < s.docs:
			if err := c.Exec(`UPDATE segment SET gone = ? WHERE id = ?`, s.gone, s.id); err != nil {
				return err
			}
		default:
			if docs, err = s.read(c); err != nil {
				return err
			}
			if err := s.drop(c); err != nil {
				return err
			}
			if _, err := write(c, box, docs); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropBox forgets a mailbox.
func dropBox(c sqldb.Conn, box store.MailboxID) error {
	docs, err := uidsOf(c, box)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := c.Exec(`DELETE FROM words WHERE rowid = ?`, rowid(box, d.uid)); err != nil {
			return err
		}
	}
	segs, err := segments(c, box)
	if err != nil {
		return err
	}
	for i := range segs {
		if err := segs[i].drop(c); err != nil {
			return err
		}
	}
	return c.Exec(`DELETE FROM box WHERE id = ?`, int64(box))
}

// Drop forgets an account, a mailbox at a time.
func (x *Index) Drop(ctx context.Context, account store.AccountID) error {
	err := x.use(false, func(db *sqldb.SQLite) error {
		for {
			more := false
			err := db.Update(ctx, func(c sqldb.Conn) error {
				more = false
				num, _, err := accountOf(c, account)
				if err != nil || num == 0 {
					return err
				}
				box := store.MailboxID(0)
				err = c.Query(`SELECT id FROM box WHERE acct = ? LIMIT 1`, func(r sqldb.Row) error {
					box = store.MailboxID(r.Int(0))
					return nil
				}, num)
				if err != nil {
					return err
				}
				if more = box != 0; more {
					// Until all is gone, nothing is known.
					if err := c.Exec(`UPDATE account SET through = 0, start = 0 WHERE num = ?`, num); err != nil {
						return err
					}
					return dropBox(c, box)
				}
				return c.Exec(`DELETE FROM account WHERE num = ?`, num)
			})
			if err != nil || !more {
				return err
			}
		}
	})
	if errors.Is(err, search.ErrNoAnswer) {
		return nil
	}
	return err
}
