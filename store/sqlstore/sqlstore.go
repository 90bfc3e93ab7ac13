// Package sqlstore is a store.Backend in an SQL database.
//
// # Tables
//
// What a message is lies in two rows. message is hot: numbers, flags, size, dates
// and the name of the content, under 100 bytes, in the order in which IMAP reads
// a mailbox. A list of 100,000 reads these alone. cold is what is read when a
// message is shown: header fields added here, and what parsing gave. It is
// appended to in the order of delivery, so that its pages are full and each is
// written about once. Both name accounts by number, because every row and every
// index repeats them.
//
//	account    counters; num stands for id everywhere else
//	mailbox    counters; a tombstone has deleted = 1
//	message    dead is 0 for a live one, 1 for a tombstone, 2 for one that moved;
//	           flags is a set of bits, words are the other flags
//	mark       flags that many messages were given at once; see mark.go
//	cold       by the message's id
//	thread     which conversation a message with this key belongs to
//	object     what is not mail
//	placed     what was delivered already
//	counter    the next message id, ahead of use
//	kv         of KV, a table of its own
//
// Times are milliseconds since 1970 in message, and seconds in placed and thread.
//
// There is no index on the name of the content: its keys are random, and every
// delivery would write a page of its own. Unreferenced scans the hot rows, once
// for all names it is asked about.
//
// # Writing
//
// With a database that has one writer, the rows that deliveries write are held
// back until the commit that several of them share, and the counters of accounts
// and mailboxes are remembered from one transaction to the next. Fifty deliveries
// to one mailbox then cost one statement for its counters instead of two hundred.
//
// With a database that many processes write to, such as PostgreSQL, a transaction
// stands alone: it locks the rows of its accounts before it reads what belongs to
// them, remembers nothing from one to the next, and writes what it held back in one
// round trip with its commit. Message IDs come from a sequence, a thousand at a time
// for each process.
package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

// Backend is a store.Backend. Others may use the same database for their tables.
type Backend struct {
	db sqldb.DB
	// shared is what all Updates of this process hold back together; nil if
	// the database has more than one writer.
	shared *held
	// many is set if Updates run side by side, and so lock what they change.
	many   *many
	owners owners
	lender lender
}

var (
	_ store.Backend  = (*Backend)(nil)
	_ store.Awaiting = (*Backend)(nil)
	_ store.Recent   = (*Backend)(nil)
	_ store.Memory   = (*Backend)(nil)
)

// topic is what Watch listens to.
const topic = "store"

// New makes the tables that are missing. The Backend does not own db. Outside of this
// module, packages server/embedded (SQLite) and server/cluster (PostgreSQL) open
// databases, and their fields Store and Queue can be used without a server.
func New(ctx context.Context, db sqldb.DB) (*Backend, error) {
	if err := sqldb.Migrate(ctx, db, "store", schema...); err != nil {
		return nil, err
	}
	b := &Backend{db: db}
	if one, ok := db.(sqldb.Buffering); ok {
		h := newHeld()
		if a, ok := db.(sqldb.Alone); ok && a.Alone() {
			h.news, h.hot = newNews(), new(hot)
		}
		b.shared = one.Buffer("store", h).(*held)
	}
	if _, ok := db.(sqldb.Many); ok {
		if err := sqldb.Migrate(ctx, db, "store-many", manySchema...); err != nil {
			return nil, err
		}
		b.many = &many{}
	}
	return b, nil
}

// Update runs fn in a transaction that it may share with others.
func (b *Backend) Update(ctx context.Context, fn func(store.Tx) error) error {
	return b.UpdateAfter(ctx, nil, fn)
}

// UpdateAfter is Update, and waits before the commit.
func (b *Backend) UpdateAfter(ctx context.Context, wait func() error, fn func(store.Tx) error) error {
	var t *tx // of the last run
	err := sqldb.UpdateAfter(ctx, b.db, wait, func(c sqldb.Conn) error {
		if b.shared != nil {
			return fn(&tx{c: c, h: b.shared})
		}
		t = &tx{c: c, h: newHeld(), many: b.many}
		if err := fn(t); err != nil {
			return err
		}
		return t.h.Flush(c)
	})
	if err == nil && b.many != nil {
		b.many.keep(t.h.nextID, t.h.lastID)
	}
	return err
}

// View runs fn on a snapshot.
func (b *Backend) View(ctx context.Context, fn func(store.Tx) error) error {
	t := tx{owners: &b.owners, lender: &b.lender}
	if b.shared != nil && b.shared.hot != nil {
		t.hot = b.shared.hot
		t.commits = t.hot.commits.Load()
	}
	return b.db.View(ctx, func(c sqldb.Conn) error {
		t := t
		t.c = c
		return fn(&t)
	})
}

// Watch tells of what is committed in this process, and with a database that
// several may use, in the others.
func (b *Backend) Watch(ctx context.Context, fn func(store.AccountID, store.ModSeq)) error {
	return b.db.Listen(ctx, topic, func(payload string) {
		seq, id, _ := strings.Cut(payload, " ")
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			id, n = "", 0 // a gap
		}
		fn(store.AccountID(id), store.ModSeq(n))
	})
}

func notify(c sqldb.Conn, a *store.Account) {
	c.Notify(topic, fmt.Sprint(uint64(a.ModSeq), " ", a.ID))
}

// Close does nothing: who opened the database closes it.
func (b *Backend) Close() error { return nil }
