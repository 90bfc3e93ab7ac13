package sqlstore

import (
	"errors"
	"iter"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

// tx reads what was flushed. In an Update, what reads tables that may be held back
// flushes first.
type tx struct {
	c    sqldb.Conn
	h    *held // nil in a View
	many *many // nil if there is one writer
	// owners is nil in an Update: what that reads may be undone.
	owners *owners
	// hot takes what a View reads, which began after so many commits; or is nil.
	hot     *hot
	commits uint64
	row     []byte // the cold row at hand
	lender  *lender
	// last is of the mailbox that was read last: whose it is never changes.
	last struct {
		box store.MailboxID
		owner
	}
}

var (
	_ store.Tx        = (*tx)(nil)
	_ store.Owners    = (*tx)(nil)
	_ store.Borrowing = (*tx)(nil)
	_ store.Recalling = (*tx)(nil)
)

var errReadOnly = errors.New("sqlstore: write in a View")

func (t *tx) flush() error {
	if t.h == nil {
		return nil
	}
	return t.h.Flush(t.c)
}

// flushMessages is enough for who reads messages only, so that counters are still
// written once.
func (t *tx) flushMessages() error {
	if t.h == nil {
		return nil
	}
	return t.h.flushMessages(t.c)
}

// account finds the row of an account; nil if it has none.
func (t *tx) account(id store.AccountID) (a *heldAccount, err error) {
	if t.h != nil {
		if a := t.h.accounts[id]; a != nil {
			return a, nil
		}
	}
	err = t.c.Query(`SELECT `+accountColumns+` FROM account WHERE id = ?`, func(r sqldb.Row) error {
		a = readAccount(r, id)
		return nil
	}, string(id))
	if err == nil && a != nil && t.h != nil {
		t.h.accounts[id] = a
	}
	return a, err
}

// madeAccount is account, and makes the row if there is none.
func (t *tx) madeAccount(id store.AccountID) (*heldAccount, error) {
	a, err := t.account(id)
	if err != nil || a != nil {
		return a, err
	}
	err = t.c.Query(`INSERT INTO account (id, modseq, horizon, uidvalidity, mailboxes, messages, bytes, deleted)
		VALUES (?, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING RETURNING num`, func(r sqldb.Row) error {
		a = &heldAccount{num: r.Int(0), row: store.Account{ID: id}}
		return nil
	}, string(id))
	if err != nil {
		return nil, err
	}
	if a == nil { // another process was faster
		return t.account(id)
	}
	t.h.accounts[id] = a
	return a, nil
}

// Accounts needs no lock if there is one writer.
func (t *tx) Accounts(ids ...store.AccountID) ([]store.Account, error) {
	out := make([]store.Account, len(ids))
	if t.h != nil && t.many != nil {
		if err := t.lock(ids); err != nil {
			return nil, err
		}
	}
	for i, id := range ids {
		a, err := t.account(id)
		if err != nil {
			return nil, err
		}
		out[i].ID = id
		if a != nil {
			out[i] = a.row
		}
	}
	return out, nil
}

func (t *tx) PutAccount(row store.Account) error {
	if t.h == nil {
		return errReadOnly
	}
	a, err := t.madeAccount(row.ID)
	if err != nil {
		return err
	}
	t.h.setAccount(a, row)
	notify(t.c, &row)
	return nil
}

// box reads the one mailbox that where selects.
func (t *tx) box(where string, args ...any) (mb store.Mailbox, err error) {
	found := false
	err = t.c.Query(`SELECT `+boxColumns+` FROM mailbox b JOIN account a ON a.num = b.acct WHERE `+where, func(r sqldb.Row) error {
		mb, found = readBox(r), true
		t.own(mb.ID, owner{mb.Account, r.Int(boxAccount)})
		return nil
	}, args...)
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err == nil && t.h != nil {
		if b := t.h.boxes[mb.ID]; b != nil {
			return b.row, nil
		}
		t.h.learn(mb)
	}
	return mb, err
}

func (t *tx) Mailbox(id store.MailboxID) (store.Mailbox, error) {
	if t.h != nil {
		if b := t.h.boxes[id]; b != nil {
			return b.row, nil
		}
	}
	return t.box(`b.id = ?`, int64(id))
}

func (t *tx) MailboxByName(id store.AccountID, name string) (store.Mailbox, error) {
	if t.h != nil {
		if at, ok := t.h.names[nameKey{id, name}]; ok {
			return t.h.boxes[at].row, nil
		}
	}
	// What is held has its old name, so the tables know all names.
	return t.box(`a.id = ? AND b.name = ? AND b.deleted = 0 ORDER BY b.id LIMIT 1`, string(id), name)
}

func (t *tx) Mailboxes(id store.AccountID, q store.Since) iter.Seq2[store.Mailbox, error] {
	return func(yield func(store.Mailbox, error) bool) {
		if err := t.flush(); err != nil {
			yield(store.Mailbox{}, err)
			return
		}
		where := `WHERE a.id = ? AND b.modseq > ? AND b.deleted = 0 ORDER BY b.name, b.id`
		if q.Tombstones {
			where = `WHERE a.id = ? AND b.modseq > ? ORDER BY b.name, b.id`
		}
		var out []store.Mailbox
		err := t.c.Query(`SELECT `+boxColumns+` FROM mailbox b JOIN account a ON a.num = b.acct `+where, func(r sqldb.Row) error {
			out = append(out, readBox(r))
			return nil
		}, string(id), int64(q.After))
		if err != nil {
			yield(store.Mailbox{}, err)
			return
		}
		for _, mb := range out {
			if !yield(mb, nil) {
				return
			}
		}
	}
}

func (t *tx) PutMailbox(mb *store.Mailbox) error {
	if t.h == nil {
		return errReadOnly
	}
	a, err := t.madeAccount(mb.Account)
	if err != nil {
		return err
	}
	if mb.ID == 0 {
		return t.c.Query(`INSERT INTO mailbox (acct, name, role, uidvalidity, uidnext, created, modseq, subscribed, deleted, messages, unseen, marked, bytes)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, func(r sqldb.Row) error {
			mb.ID = store.MailboxID(r.Int(0))
			t.h.learn(*mb)
			return nil
		}, a.num, mb.Name, mb.Role, mb.UIDValidity, int64(mb.UIDNext), int64(mb.Created), int64(mb.ModSeq),
			mb.Subscribed, mb.Deleted, mb.Messages, mb.Unseen, mb.Marked, mb.Bytes)
	}
	b := t.h.boxes[mb.ID]
	if b == nil {
		if _, err := t.Mailbox(mb.ID); err != nil {
			return err
		}
		b = t.h.boxes[mb.ID]
	}
	if b.row.Name == mb.Name && b.row.Deleted == mb.Deleted {
		t.h.noteBox(&b.row, mb)
		t.h.setBox(b, *mb)
		return nil
	}
	// Names are looked up in the table, so a change of one is not held back.
	if err := t.flush(); err != nil {
		return err
	}
	t.h.lose(mb.ID)
	return updateBox(t.c, mb)
}
