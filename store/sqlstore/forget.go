package sqlstore

import (
	"slices"
	"strconv"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// Unreferenced reads all hot rows once.
func (t *tx) Unreferenced(refs []blob.Ref, now time.Time) ([]blob.Ref, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	if err := t.flush(); err != nil {
		return nil, err
	}
	named := make(map[string]bool, len(refs))
	for _, r := range refs {
		named[string(packRef(r))] = false
	}
	see := func(r sqldb.Row) error {
		b := r.Bytes(0)
		if _, ok := named[string(b)]; ok {
			named[string(b)] = true
		}
		return nil
	}
	if err := t.c.Query(`SELECT blob FROM message WHERE dead = 0 OR keep > ?`, see, now.UnixMilli()); err != nil {
		return nil, err
	}
	if err := t.c.Query(`SELECT blob FROM object WHERE blob IS NOT NULL AND deleted = 0`, see); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(refs), func(r blob.Ref) bool { return named[string(packRef(r))] }), nil
}

func (t *tx) Forget(id store.AccountID, through store.ModSeq, now time.Time) error {
	if t.h == nil {
		return errReadOnly
	}
	a, err := t.account(id)
	if err != nil || a == nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	// What was restored lives on, and its cold row with it.
	err = t.c.Exec(`DELETE FROM cold WHERE id IN (SELECT m.id FROM message m
		WHERE m.acct = ? AND m.modseq <= ? AND m.dead <> 0 AND m.dead = 1 AND m.keep <= ?
		AND NOT EXISTS (SELECT 1 FROM message l WHERE l.id = m.id AND l.dead = 0))`, a.num, int64(through), now.UnixMilli())
	if err != nil {
		return err
	}
	err = t.c.Exec(`DELETE FROM message WHERE acct = ? AND modseq <= ? AND dead <> 0 AND keep <= ?`, a.num, int64(through), now.UnixMilli())
	if err != nil {
		return err
	}
	err = t.c.Exec(`DELETE FROM object WHERE acct = ? AND modseq <= ? AND deleted = 1`, a.num, int64(through))
	if err != nil {
		return err
	}
	err = t.c.Query(`DELETE FROM mailbox WHERE acct = ? AND modseq <= ? AND deleted = 1
		AND NOT EXISTS (SELECT 1 FROM message WHERE box = mailbox.id) RETURNING id`, func(r sqldb.Row) error {
		t.h.lose(store.MailboxID(r.Int(0)))
		return nil
	}, a.num, int64(through))
	if err != nil {
		return err
	}
	return t.c.Exec(`DELETE FROM mark WHERE acct = ? AND box NOT IN (SELECT id FROM mailbox WHERE acct = ?)`, a.num, a.num)
}

// Drop goes through the messages of an account in the order of an index, and
// finds the cold rows by them, which need no index of their own then.
func (t *tx) Drop(id store.AccountID, max int) (n int, err error) {
	if t.h == nil {
		return 0, errReadOnly
	}
	a, err := t.account(id)
	if err != nil || a == nil || max <= 0 {
		return 0, err
	}
	if err := t.flush(); err != nil {
		return 0, err
	}
	err = t.c.Query(`DELETE FROM mailbox WHERE acct = ? AND id IN (SELECT id FROM mailbox WHERE acct = ? LIMIT `+strconv.Itoa(max)+`) RETURNING id`,
		func(r sqldb.Row) error {
			t.h.lose(store.MailboxID(r.Int(0)))
			n++
			return nil
		}, a.num, a.num)
	if err != nil {
		return n, err
	}
	for n < max {
		got, done, err := t.dropMessages(a.num, max-n)
		n += got
		if err != nil {
			return n, err
		}
		if done {
			break
		}
	}
	for _, q := range []string{
		`DELETE FROM mark WHERE acct = ? AND (box, chunk) IN (SELECT box, chunk FROM mark WHERE acct = ? LIMIT `,
		`DELETE FROM thread WHERE acct = ? AND key IN (SELECT key FROM thread WHERE acct = ? LIMIT `,
		`DELETE FROM object WHERE acct = ? AND (kind, id) IN (SELECT kind, id FROM object WHERE acct = ? LIMIT `,
	} {
		if n >= max {
			break
		}
		if err := t.c.Exec(q+strconv.Itoa(max-n)+`)`, a.num, a.num); err != nil {
			return n, err
		}
		n += int(t.c.Changes())
	}
	return n, nil
}

// dropBatch is how many messages are removed in one statement.
const dropBatch = 32

// dropMessages removes a few messages, cold rows first. done says that there were
// none.
func (t *tx) dropMessages(acct int64, max int) (n int, done bool, err error) {
	type row struct{ modseq, box, uid, id int64 }
	var rows []row
	err = t.c.Query(`SELECT modseq, box, uid, id FROM message WHERE acct = ? ORDER BY modseq, box, uid LIMIT `+strconv.Itoa(min(dropBatch, max)), func(r sqldb.Row) error {
		rows = append(rows, row{r.Int(0), r.Int(1), r.Int(2), r.Int(3)})
		return nil
	}, acct)
	if err != nil || len(rows) == 0 {
		return 0, true, err
	}
	err = sqldb.In(rows, func(r row) any { return r.id }, func(places string, args []any) error {
		err := t.c.Exec(`DELETE FROM cold WHERE id IN `+places, args...)
		n += int(t.c.Changes())
		return err
	})
	if err != nil {
		return n, false, err
	}
	rows = rows[:min(len(rows), max-n)]
	if len(rows) == 0 {
		return n, false, nil
	}
	last := rows[len(rows)-1]
	err = t.c.Exec(`DELETE FROM message WHERE acct = ? AND (modseq, box, uid) <= (?, ?, ?)`, acct, last.modseq, last.box, last.uid)
	return n + int(t.c.Changes()), false, err
}
