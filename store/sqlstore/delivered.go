package sqlstore

import (
	"slices"
	"strconv"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

func (t *tx) Placed(k store.DeliveryKey) (p store.Placed, ok bool, err error) {
	if t.h != nil {
		for _, r := range slices.Backward(t.h.rows.placed) {
			if r.key == k {
				return r.Placed, true, nil
			}
		}
	}
	err = t.c.Query(`SELECT a.id, p.box, p.uidvalidity, p.uid, p.id FROM placed p JOIN account a ON a.num = p.acct
		WHERE p.key = ? AND p.idx = ? AND p.action = ?`, func(r sqldb.Row) error {
		ok = true
		p = store.Placed{
			Account: store.AccountID(r.Text(0)), Mailbox: store.MailboxID(r.Int(1)),
			UIDValidity: uint32(r.Int(2)), UID: store.UID(r.Int(3)), ID: store.MessageID(r.Int(4)),
		}
		return nil
	}, k.Key, k.Index, k.Action)
	return p, ok, err
}

func (t *tx) PutPlaced(k store.DeliveryKey, p store.Placed, expires time.Time) error {
	if t.h == nil {
		return errReadOnly
	}
	a, err := t.madeAccount(p.Account)
	if err != nil {
		return err
	}
	t.h.rows.placed = append(t.h.rows.placed, heldPlaced{k, a.num, p, expires})
	return nil
}

func (t *tx) Threads(id store.AccountID, keys []store.ThreadKey) (map[store.ThreadKey]store.ThreadID, error) {
	out := map[store.ThreadKey]store.ThreadID{}
	a, err := t.account(id)
	if err != nil || a == nil {
		return out, err
	}
	err = sqldb.In(keys, func(k store.ThreadKey) any { return k[:] }, func(places string, args []any) error {
		return t.c.Query(`SELECT key, thread FROM thread WHERE acct = ? AND key IN `+places, func(r sqldb.Row) error {
			var k store.ThreadKey
			copy(k[:], r.Bytes(0))
			out[k] = store.ThreadID(r.Int(1))
			return nil
		}, append([]any{a.num}, args...)...)
	})
	if t.h != nil {
		for _, r := range t.h.rows.threads {
			if r.acct == a.num && slices.Contains(keys, r.key) {
				out[r.key] = r.thread
			}
		}
	}
	return out, err
}

func (t *tx) PutThreads(id store.AccountID, th store.ThreadID, keys []store.ThreadKey, expires time.Time) error {
	if t.h == nil {
		return errReadOnly
	}
	a, err := t.madeAccount(id)
	if err != nil {
		return err
	}
	for _, k := range keys {
		t.h.rows.threads = append(t.h.rows.threads, heldThread{a.num, k, th, expires})
	}
	return nil
}

func (t *tx) Expire(now time.Time, max int) (n int, err error) {
	if t.h == nil {
		return 0, errReadOnly
	}
	if err := t.flush(); err != nil {
		return 0, err
	}
	for _, q := range []string{
		`DELETE FROM placed WHERE (key, idx, action) IN (SELECT key, idx, action FROM placed WHERE expires <= ? ORDER BY expires LIMIT `,
		`DELETE FROM thread WHERE (acct, key) IN (SELECT acct, key FROM thread WHERE expires <= ? ORDER BY expires LIMIT `,
	} {
		if n >= max {
			break
		}
		if err := t.c.Exec(q+strconv.Itoa(max-n)+t.skipLocked()+`)`, now.Unix()); err != nil {
			return n, err
		}
		n += int(t.c.Changes())
	}
	return n, nil
}
