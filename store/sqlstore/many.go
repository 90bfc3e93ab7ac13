package sqlstore

import (
	"slices"
	"sync"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

// manySchema is for databases with many writers, in PostgreSQL's words. Counters
// change all the time: pages with room to spare keep the new row beside the old.
var manySchema = []string{
	`CREATE SEQUENCE message_block INCREMENT BY 1000;
	ALTER TABLE account SET (fillfactor = 50);
	ALTER TABLE mailbox SET (fillfactor = 50);`,
}

// many is what Updates that run side by side share.
type many struct {
	mu           sync.Mutex
	next, behind store.MessageID // IDs that are ours
}

// take returns an ID of the block of this process, if it has one.
func (m *many) take() (id store.MessageID, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next >= m.behind {
		return 0, false
	}
	m.next++
	return m.next - 1, true
}

// keep is called with what is left of a block when the transaction that took it is
// committed. Of two that were taken at once one is left out.
func (m *many) keep(next, behind store.MessageID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if behind-next > m.behind-m.next {
		m.next, m.behind = next, behind
	}
}

// manyID takes a number of the block of this process, or of a new one. That is for
// this transaction alone until it is committed: a server that crashes before may
// give the same block again.
func (t *tx) manyID() (store.MessageID, error) {
	if t.h.nextID == t.h.lastID {
		if id, ok := t.many.take(); ok {
			return id, nil
		}
		err := t.c.Query(`SELECT nextval('message_block')`, func(r sqldb.Row) error {
			t.h.nextID = store.MessageID(r.Int(0))
			t.h.lastID = t.h.nextID + idBlock
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	t.h.nextID++
	return t.h.nextID - 1, nil
}

// begin makes next the next ID that is given.
func (m *many) begin(c sqldb.Conn, next int64) error {
	m.mu.Lock()
	m.next, m.behind = 0, 0
	m.mu.Unlock()
	return c.Query(`SELECT setval('message_block', ?, false)`, func(sqldb.Row) error { return nil }, next)
}

// lock makes and locks the rows of accounts, in ascending order, and forgets what
// was read before it.
func (t *tx) lock(ids []store.AccountID) error {
	if err := t.flush(); err != nil {
		return err
	}
	t.h.Forget()
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for len(ids) > 0 {
		err := sqldb.In(ids, func(id store.AccountID) any { return string(id) }, func(places string, args []any) error {
			return t.c.Query(`SELECT `+accountColumns+`, id FROM account WHERE id IN `+places+` ORDER BY id FOR UPDATE`, func(r sqldb.Row) error {
				id := store.AccountID(r.Text(8))
				t.h.accounts[id] = readAccount(r, id)
				return nil
			}, args...)
		})
		if err != nil {
			return err
		}
		missing := slices.DeleteFunc(slices.Clone(ids), func(id store.AccountID) bool { return t.h.accounts[id] != nil })
		if len(missing) == 0 {
			return nil
		}
		// Rows that are made here are locked. If another process makes one
		// meanwhile, this waits for it, and the next turn locks what it made;
		// that is not quite in order, and a deadlock would be tried again.
		for _, id := range missing {
			err := sqldb.Later(t.c, `INSERT INTO account (id, modseq, horizon, uidvalidity, mailboxes, messages, bytes, deleted)
				VALUES (?, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING`, string(id))
			if err != nil {
				return err
			}
		}
		ids = missing
	}
	return nil
}

// skipLocked stands at the end of a query for rows to remove, so that those that
// another transaction changes stay.
func (t *tx) skipLocked() string {
	if t.many != nil {
		return ` FOR UPDATE SKIP LOCKED`
	}
	return ``
}
