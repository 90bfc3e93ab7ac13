package sqlstore

import (
	"cmp"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

const (
	// maxCached bounds how many accounts and mailboxes are remembered.
	maxCached = 10_000
	// idBlock is how many message IDs are taken from the counter at a time.
	// Those that are not used when the process ends are left out.
	idBlock = 1000
)

// held is what is written at the commit, and the rows of accounts and mailboxes
// that are known. It is a sqldb.Buffer.
type held struct {
	accounts map[store.AccountID]*heldAccount
	boxes    map[store.MailboxID]*heldBox
	names    map[nameKey]store.MailboxID // of live ones in boxes
	dirtyA   []*heldAccount
	dirtyB   []*heldBox
	undoA    []undo[heldAccount]
	undoB    []undo[heldBox]

	rows rows
	mark rows // how long its slices were

	nextID, lastID store.MessageID

	news  *news // nil if others may write, too; never changed
	hot   *hot  // likewise
	notes []newsNote
	noted int  // how many there were at the Mark
	blind bool // notes of what may yet be committed are gone
}

var _ sqldb.Committed = (*held)(nil)

type (
	heldAccount struct {
		num   int64
		row   store.Account
		dirty bool
	}
	heldBox struct {
		row   store.Mailbox
		dirty bool
	}
	// undo is what a row was before the function that runs.
	undo[R any] struct {
		at  *R
		was R
	}
	nameKey struct {
		account store.AccountID
		name    string
	}
	heldMessage struct {
		acct int64
		store.Message
		bits  int64
		words string
	}
	heldCold struct {
		acct int64
		store.Cold
	}
	heldPlaced struct {
		key  store.DeliveryKey
		acct int64
		store.Placed
		expires time.Time
	}
	heldThread struct {
		acct    int64
		key     store.ThreadKey
		thread  store.ThreadID
		expires time.Time
	}
	rows struct {
		messages []heldMessage
		cold     []heldCold
		placed   []heldPlaced
		threads  []heldThread
	}
)

func newHeld() *held {
	h := &held{}
	h.Forget()
	return h
}

func (h *held) Mark() {
	h.mark = h.rows
	h.noted = len(h.notes)
	h.undoA, h.undoB = h.undoA[:0], h.undoB[:0]
	if len(h.accounts)+len(h.boxes) > maxCached && h.empty() {
		h.Forget()
	}
}

func (h *held) empty() bool {
	return len(h.dirtyA)+len(h.dirtyB)+len(h.rows.messages)+len(h.rows.cold)+len(h.rows.placed)+len(h.rows.threads) == 0
}

func (h *held) Undo() {
	for _, u := range slices.Backward(h.undoA) {
		*u.at = u.was
	}
	for _, u := range slices.Backward(h.undoB) {
		*u.at = u.was
	}
	h.rows = h.mark
	clear(h.notes[h.noted:])
	h.notes = h.notes[:h.noted]
}

func (h *held) Forget() {
	// All but news and hot, which others read at the same time.
	h.accounts, h.boxes, h.names = map[store.AccountID]*heldAccount{}, map[store.MailboxID]*heldBox{}, map[nameKey]store.MailboxID{}
	h.dirtyA, h.dirtyB, h.undoA, h.undoB = nil, nil, nil, nil
	h.rows, h.mark = rows{}, rows{}
	h.nextID, h.lastID = 0, 0
	h.notes, h.noted = nil, 0
	if h.news != nil { // of what is committed yet, notes may be gone
		h.news.clear()
		h.hot.clear()
		h.blind = true
	}
}

func (h *held) setAccount(a *heldAccount, row store.Account) {
	h.undoA = append(h.undoA, undo[heldAccount]{a, *a})
	if a.row = row; !a.dirty {
		a.dirty = true
		h.dirtyA = append(h.dirtyA, a)
	}
}

// setBox remembers a mailbox whose name and state are as before.
func (h *held) setBox(b *heldBox, row store.Mailbox) {
	h.undoB = append(h.undoB, undo[heldBox]{b, *b})
	if b.row = row; !b.dirty {
		b.dirty = true
		h.dirtyB = append(h.dirtyB, b)
	}
}

// learn remembers a mailbox as it was read.
func (h *held) learn(row store.Mailbox) *heldBox {
	b := &heldBox{row: row}
	h.boxes[row.ID] = b
	if !row.Deleted {
		h.names[nameKey{row.Account, row.Name}] = row.ID
	}
	return b
}

// lose drops a mailbox that was flushed.
func (h *held) lose(id store.MailboxID) {
	h.noteLost(id)
	if b := h.boxes[id]; b != nil {
		delete(h.names, nameKey{b.row.Account, b.row.Name})
		delete(h.boxes, id)
	}
}

// Flush writes all that is held, rows of one kind in few statements. What was
// written, also by one of the steps alone, can only be undone by a rollback.
func (h *held) Flush(c sqldb.Conn) error {
	if h.empty() {
		return nil
	}
	for _, flush := range []func(sqldb.Conn) error{h.flushMessages, h.flushCold, h.flushPlaced, h.flushThreads, h.flushCounters} {
		if err := flush(c); err != nil {
			return err
		}
	}
	h.undoA, h.undoB = h.undoA[:0], h.undoB[:0]
	h.mark = h.rows
	return nil
}

var (
	putMessages = sqldb.NewInsert(
		`INSERT INTO message (box, uid, acct, id, thread, created, added, modseq, flags, words, received, saved, size, blob, dead, keep)`,
		`ON CONFLICT (box, uid) DO UPDATE SET acct = excluded.acct, id = excluded.id, thread = excluded.thread,
		created = excluded.created, added = excluded.added, modseq = excluded.modseq, flags = excluded.flags,
		words = excluded.words, received = excluded.received, saved = excluded.saved, size = excluded.size,
		blob = excluded.blob, dead = excluded.dead, keep = excluded.keep`)
	putCold = sqldb.NewInsert(`INSERT INTO cold (id, acct, sum, prefix, envelope, structure, preview)`,
		`ON CONFLICT (id) DO UPDATE SET acct = excluded.acct, sum = excluded.sum, prefix = excluded.prefix, envelope = excluded.envelope,
		structure = excluded.structure, preview = excluded.preview`)
	putPlaced = sqldb.NewInsert(`INSERT INTO placed (key, idx, action, acct, box, uidvalidity, uid, id, expires)`,
		`ON CONFLICT (key, idx, action) DO UPDATE SET acct = excluded.acct, box = excluded.box,
		uidvalidity = excluded.uidvalidity, uid = excluded.uid, id = excluded.id, expires = excluded.expires`)
	putThreads = sqldb.NewInsert(`INSERT INTO thread (acct, key, thread, expires)`,
		`ON CONFLICT (acct, key) DO UPDATE SET thread = excluded.thread, expires = excluded.expires`)
)

// inOrder sorts rows by key, so that a page is visited once, and of those with
// one key keeps the last.
func inOrder[R any](rs []R, compare func(a, b R) int) []R {
	slices.SortStableFunc(rs, compare)
	slices.Reverse(rs)
	rs = slices.CompactFunc(rs, func(a, b R) bool { return compare(a, b) == 0 })
	slices.Reverse(rs)
	return rs
}

func (h *held) flushMessages(c sqldb.Conn) error {
	if len(h.rows.messages) == 0 {
		return nil
	}
	rs := inOrder(h.rows.messages, func(a, b heldMessage) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.UID, b.UID))
	})
	args := make([]any, 0, len(rs)*16)
	for i := range rs {
		m := &rs[i]
		keep := int64(0)
		if !m.KeepUntil.IsZero() {
			keep = m.KeepUntil.UnixMilli()
		}
		args = append(args, int64(m.Mailbox), int64(m.UID), m.acct, int64(m.ID), int64(m.Thread), int64(m.Created),
			int64(m.Added), int64(m.ModSeq), m.bits, m.words, m.Received.UnixMilli(), m.Saved.UnixMilli(),
			m.Size, packRef(m.Blob), packDead(&m.Message), keep)
	}
	clear(h.rows.messages)
	h.rows.messages = h.rows.messages[:0]
	return putMessages.Exec(c, args)
}

func (h *held) flushCold(c sqldb.Conn) error {
	if len(h.rows.cold) == 0 {
		return nil
	}
	rs := inOrder(h.rows.cold, func(a, b heldCold) int { return cmp.Compare(a.ID, b.ID) })
	args := make([]any, 0, len(rs)*7)
	for i := range rs {
		r := &rs[i]
		args = append(args, int64(r.ID), r.acct, r.Sum, r.Prefix, r.Envelope, r.Structure, r.Preview)
	}
	clear(h.rows.cold)
	h.rows.cold = h.rows.cold[:0]
	return putCold.Exec(c, args)
}

func (h *held) flushPlaced(c sqldb.Conn) error {
	if len(h.rows.placed) == 0 {
		return nil
	}
	rs := inOrder(h.rows.placed, func(a, b heldPlaced) int {
		return cmp.Or(cmp.Compare(a.key.Key, b.key.Key), cmp.Compare(a.key.Index, b.key.Index), cmp.Compare(a.key.Action, b.key.Action))
	})
	args := make([]any, 0, len(rs)*9)
	for i := range rs {
		r := &rs[i]
		args = append(args, r.key.Key, r.key.Index, r.key.Action, r.acct, int64(r.Mailbox), r.UIDValidity, int64(r.UID), int64(r.ID), seconds(r.expires))
	}
	clear(h.rows.placed)
	h.rows.placed = h.rows.placed[:0]
	return putPlaced.Exec(c, args)
}

func (h *held) flushThreads(c sqldb.Conn) error {
	if len(h.rows.threads) == 0 {
		return nil
	}
	rs := inOrder(h.rows.threads, func(a, b heldThread) int {
		return cmp.Or(cmp.Compare(a.acct, b.acct), slices.Compare(a.key[:], b.key[:]))
	})
	args := make([]any, 0, len(rs)*4)
	for i := range rs {
		r := &rs[i]
		args = append(args, r.acct, r.key[:], int64(r.thread), seconds(r.expires))
	}
	h.rows.threads = h.rows.threads[:0]
	return putThreads.Exec(c, args)
}

func (h *held) flushCounters(c sqldb.Conn) error {
	for _, a := range h.dirtyA {
		if !a.dirty {
			continue // undone
		}
		a.dirty = false
		r := &a.row
		err := sqldb.Later(c, `UPDATE account SET modseq = ?, horizon = ?, uidvalidity = ?, mailboxes = ?, messages = ?, bytes = ?, deleted = ? WHERE num = ?`,
			int64(r.ModSeq), int64(r.Horizon), r.LastUIDValidity, r.Mailboxes, r.Messages, r.Bytes, r.Deleted, a.num)
		if err != nil {
			return err
		}
	}
	for _, b := range h.dirtyB {
		if !b.dirty {
			continue
		}
		b.dirty = false
		if err := updateBox(c, &b.row); err != nil {
			return err
		}
	}
	h.dirtyA, h.dirtyB = h.dirtyA[:0], h.dirtyB[:0]
	return nil
}

func updateBox(c sqldb.Conn, m *store.Mailbox) error {
	return sqldb.Later(c, `UPDATE mailbox SET name = ?, role = ?, uidvalidity = ?, uidnext = ?, created = ?, modseq = ?,
		subscribed = ?, deleted = ?, messages = ?, unseen = ?, marked = ?, bytes = ? WHERE id = ?`,
		m.Name, m.Role, m.UIDValidity, int64(m.UIDNext), int64(m.Created), int64(m.ModSeq),
		m.Subscribed, m.Deleted, m.Messages, m.Unseen, m.Marked, m.Bytes, int64(m.ID))
}

// newID returns the ID of a new message.
func (t *tx) newID() (store.MessageID, error) {
	if t.many != nil {
		return t.manyID()
	}
	return t.h.newID(t.c)
}

func (h *held) newID(c sqldb.Conn) (store.MessageID, error) {
	if h.nextID == h.lastID {
		err := c.Query(`UPDATE counter SET next = next + ? WHERE name = 'message' RETURNING next`, func(r sqldb.Row) error {
			h.lastID = store.MessageID(r.Int(0))
			h.nextID = h.lastID - idBlock
			return nil
		}, idBlock)
		if err != nil {
			return 0, err
		}
	}
	h.nextID++
	return h.nextID - 1, nil
}
