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

// newID takes a number of the block of this process. A sequence is not rolled
// back, so that a block belongs to one process whatever becomes of the transaction.
func (m *many) newID(c sqldb.Conn) (id store.MessageID, err error) {
	m.mu.Lock()
	if m.next < m.behind {
		m.next++
		defer m.mu.Unlock()
		return m.next - 1, nil
	}
	m.mu.Unlock()
	// Not under the mutex: a statement may wait. Two that come here at once
	// take a block each, and one is left out.
	var block store.MessageID
	err = c.Query(`SELECT nextval('message_block')`, func(r sqldb.Row) error {
		block = store.MessageID(r.Int(0))
		return nil
	})
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next, m.behind = block+1, block+idBlock
	return block, nil
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
