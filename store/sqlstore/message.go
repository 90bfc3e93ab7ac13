package sqlstore

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

// readAhead is how many rows are read before the first is yielded: the caller may
// use the connection meanwhile, and write to what it reads.
const (
	readAhead     = 1000
	readAheadText = "1000"
)

// owner returns the account of a mailbox, and its number.
func (t *tx) owner(id store.MailboxID) (account store.AccountID, num int64, err error) {
	if t.h != nil {
		if b := t.h.boxes[id]; b != nil {
			if a := t.h.accounts[b.row.Account]; a != nil {
				return a.row.ID, a.num, nil
			}
		}
	}
	if id == t.last.box && id != 0 {
		return t.last.account, t.last.num, nil
	}
	if t.owners != nil {
		if w, ok := t.owners.get(id); ok {
			t.last.box, t.last.owner = id, w
			return w.account, w.num, nil
		}
	}
	err = t.c.Query(`SELECT a.id, a.num FROM mailbox b JOIN account a ON a.num = b.acct WHERE b.id = ?`, func(r sqldb.Row) error {
		account, num = store.AccountID(r.Text(0)), r.Int(1)
		t.own(id, owner{account, num})
		return nil
	}, int64(id))
	return account, num, err
}

// own notes whose a mailbox is that was read.
func (t *tx) own(id store.MailboxID, w owner) {
	t.last.box, t.last.owner = id, w
	if t.owners != nil {
		t.owners.note(id, w)
	}
}

// Owner is whose a mailbox is, or was; empty if there is none.
func (t *tx) Owner(id store.MailboxID) (store.AccountID, error) {
	account, _, err := t.owner(id)
	return account, err
}

const (
	liveQuery  = `SELECT ` + liveColumns + liveRange
	briefQuery = `SELECT ` + briefColumns + liveRange
	liveRange  = ` FROM message WHERE box = ? AND uid >= ? AND uid <= ? AND modseq > ? AND dead = 0 ORDER BY uid LIMIT ` + readAheadText
)

func (t *tx) Messages(id store.MailboxID, q store.Query) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		account, num, err := t.owner(id)
		if err == nil {
			err = t.flushMessages()
		}
		last := q.Last
		if last == 0 {
			last = 1<<32 - 1
		}
		d := &messageReader{account: account, box: id}
		columns, read := d.of(&q)
		var young marks // over messages whose rows may be older than q.After
		n := readAhead
		if between := int64(last) - int64(q.First); between < readAhead && between >= 0 {
			n = int(between) + 1
		}
		lent := t.borrow(n)
		defer t.giveBack(lent)
		batch, hots := lent.batch, lent.hots
		if err == nil && q.After > 0 {
			// Usually little has changed, and the indexes know what.
			if young, err = t.marks(id, q.First, last, q.After); err == nil {
				batch, err = t.recent(d, batch, num, id, q, last)
			}
			if err == nil && len(batch) <= readAhead && young.span(q) <= maxYoung {
				if batch, err = t.young(d, batch, young, q, last); err == nil {
					each(batch, yield)
					return
				}
			}
		}
		if err != nil {
			yield(store.Message{}, err)
			return
		}
		after := q.After
		if len(young) > 0 {
			after = 0
		}
		query := liveQuery
		if q.Tombstones {
			query = `SELECT ` + columns + ` FROM message WHERE box = ? AND uid >= ? AND uid <= ? AND modseq > ? ORDER BY uid LIMIT ` + readAheadText
		} else if q.Brief {
			query = briefQuery
		}
		again := q.Again && t.hot != nil && !q.Brief && len(young) == 0
		for first := q.First; ; {
			// Again, because the caller may have written.
			if err := t.flushMessages(); err != nil {
				yield(store.Message{}, err)
				return
			}
			batch, hots = batch[:0], hots[:0]
			err := t.c.Query(query, func(r sqldb.Row) error {
				m := read(r)
				if again {
					hots = append(hots, d.hot(&m))
				}
				batch = append(batch, m)
				return nil
			}, int64(id), int64(first), int64(last), int64(after))
			lent.batch, lent.hots = batch, hots
			n := len(batch)
			if n > 0 && err == nil {
				first = batch[n-1].UID + 1
				err = t.overlay(d, batch)
			}
			if err != nil {
				yield(store.Message{}, err)
				return
			}
			if len(young) > 0 {
				batch = slices.DeleteFunc(batch, func(m store.Message) bool { return m.ModSeq <= q.After })
			}
			if again && n > 0 {
				t.hot.put(t.commits, batch, hots)
			}
			if !each(batch, yield) || n < readAhead || first == last+1 {
				return
			}
		}
	}
}

// overlay puts marks over the rows of a mailbox, which are in order of UID.
func (t *tx) overlay(d *messageReader, ms []store.Message) error {
	if len(ms) == 0 {
		return nil
	}
	ks, err := t.marks(ms[0].Mailbox, ms[0].UID, ms[len(ms)-1].UID, 0)
	if len(ks) == 0 {
		return err
	}
	for i := range ms {
		d.mark(&ms[i], ks.of(ms[i].UID))
	}
	return err
}

// recent reads the messages of a mailbox whose rows changed after q.After, in order
// of UID; if there are more than readAhead, one more than that of them. Their marks
// are not looked at.
func (t *tx) recent(d *messageReader, batch []store.Message, acct int64, id store.MailboxID, q store.Query, last store.UID) ([]store.Message, error) {
	// The sign keeps the planner from walking through the whole mailbox.
	columns, read := d.of(&q)
	query := `SELECT ` + columns + ` FROM message WHERE acct = ? AND modseq > ? AND +box = ? AND uid >= ? AND uid <= ? AND dead = 0 ORDER BY modseq LIMIT ` + readAheadText + ` + 1`
	if q.Tombstones {
		query = `SELECT ` + columns + ` FROM message WHERE acct = ? AND modseq > ? AND +box = ? AND uid >= ? AND uid <= ? ORDER BY modseq LIMIT ` + readAheadText + ` + 1`
	}
	err := t.c.Query(query, func(r sqldb.Row) error {
		batch = append(batch, read(r))
		return nil
	}, acct, int64(q.After), int64(id), int64(q.First), int64(last))
	slices.SortFunc(batch, func(a, b store.Message) int { return cmp.Compare(a.UID, b.UID) })
	return batch, err
}

// maxYoung is how many UIDs are looked at for marks of some moment, rather than a
// whole mailbox.
const maxYoung = 20 * readAhead

// span is how many UIDs have a mark above q.After.
func (ks marks) span(q store.Query) (n int) {
	for _, k := range ks {
		if k.seq > q.After {
			n += int(k.last-k.first) + 1
		}
	}
	return n
}

// young adds the messages whose marks are younger than q.After to those whose rows
// are.
func (t *tx) young(d *messageReader, batch []store.Message, ks marks, q store.Query, last store.UID) ([]store.Message, error) {
	if len(ks) == 0 {
		return batch, nil
	}
	for i := range batch {
		d.mark(&batch[i], ks.of(batch[i].UID))
	}
	for _, k := range ks {
		k.first, k.last = max(k.first, q.First), min(k.last, last)
		if k.seq <= q.After || k.first > k.last {
			continue
		}
		ms, err := t.under(d, &k, &q)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			if m.ModSeq <= q.After { // else it is there
				d.mark(&m, &k)
				batch = append(batch, m)
			}
		}
	}
	slices.SortFunc(batch, func(a, b store.Message) int { return cmp.Compare(a.UID, b.UID) })
	return batch, nil
}

// Vanished asks the index of tombstones, which holds all that it wants.
func (t *tx) Vanished(id store.MailboxID, after store.ModSeq) (uids []store.UID, err error) {
	_, num, err := t.owner(id)
	if err == nil {
		err = t.flushMessages()
	}
	if err != nil {
		return nil, err
	}
	// The sign keeps the planner from walking through the whole mailbox.
	err = t.c.Query(`SELECT uid FROM message WHERE acct = ? AND modseq > ? AND +box = ? AND dead <> 0`, func(r sqldb.Row) error {
		uids = append(uids, store.UID(r.Int(0)))
		return nil
	}, num, int64(after), int64(id))
	slices.Sort(uids)
	return uids, err
}

// each yields what was read, and says whether to go on.
func each[V any](vs []V, yield func(V, error) bool) bool {
	for i := range vs {
		if !yield(vs[i], nil) {
			return false
		}
	}
	return true
}

func (t *tx) MessageByID(id store.AccountID, mid store.MessageID) (m store.Message, err error) {
	a, err := t.account(id)
	if err != nil {
		return m, err
	}
	if a == nil {
		return m, store.ErrNotFound
	}
	if err := t.flushMessages(); err != nil {
		return m, err
	}
	d := &messageReader{account: id}
	err = t.c.Query(`SELECT `+messageColumns+` FROM message WHERE id = ? AND acct = ? AND dead = 0`, func(r sqldb.Row) error {
		m = d.read(r)
		return nil
	}, int64(mid), a.num)
	switch {
	case err != nil:
		return m, err
	case m.ID == 0:
		return m, store.ErrNotFound
	}
	ks, err := t.marks(m.Mailbox, m.UID, m.UID, m.ModSeq)
	d.mark(&m, ks.of(m.UID))
	return m, err
}

func (t *tx) Changed(id store.AccountID, after store.ModSeq) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		a, err := t.account(id)
		if err == nil && a != nil {
			err = t.flushMessages()
		}
		if err != nil {
			yield(store.Message{}, err)
			return
		}
		if a == nil {
			return
		}
		d := &messageReader{account: id}
		runs, over, err := t.changedMarks(a.num, after)
		if err != nil {
			yield(store.Message{}, err)
			return
		}
		// upTo yields what is under marks, up to a ModSeq. What changed again comes
		// by its row.
		upTo := func(seq store.ModSeq) bool {
			for len(runs) > 0 && runs[0].seq <= seq {
				k := runs[0]
				runs = runs[1:]
				err := t.flushMessages()
				var ms []store.Message
				if err == nil {
					ms, err = t.under(d, &k, &store.Query{})
				}
				if err != nil {
					yield(store.Message{}, err)
					return false
				}
				ms = slices.DeleteFunc(ms, func(m store.Message) bool { return m.ModSeq >= k.seq })
				for i := range ms {
					d.mark(&ms[i], &k)
				}
				if !each(ms, yield) {
					return false
				}
			}
			return true
		}
		var batch []store.Message
		// Places are above zero, so that this is the last before after + 1.
		at := store.Message{ModSeq: after + 1}
		for {
			if err := t.flushMessages(); err != nil {
				yield(store.Message{}, err)
				return
			}
			batch = batch[:0]
			err := t.c.Query(`SELECT `+messageColumns+` FROM message WHERE acct = ? AND (modseq, box, uid) > (?, ?, ?) ORDER BY modseq, box, uid LIMIT `+readAheadText,
				func(r sqldb.Row) error {
					batch = append(batch, d.read(r))
					return nil
				}, a.num, int64(at.ModSeq), int64(at.Mailbox), int64(at.UID))
			if err != nil {
				yield(store.Message{}, err)
				return
			}
			for _, m := range batch {
				if !upTo(m.ModSeq) {
					return
				}
				if k := over[m.Mailbox].of(m.UID); k != nil && k.seq > m.ModSeq && !m.Expunged {
					continue // its mark comes later
				}
				if !yield(m, nil) {
					return
				}
			}
			if len(batch) < readAhead {
				upTo(math.MaxUint64)
				return
			}
			at = batch[len(batch)-1]
		}
	}
}

func (t *tx) PutMessages(ms []store.Message) error {
	if t.h == nil {
		return errReadOnly
	}
	for i := range ms {
		m := &ms[i]
		a, err := t.madeAccount(m.Account)
		if err != nil {
			return err
		}
		bits, words, err := packFlags(m.Flags)
		if err != nil {
			return err
		}
		if m.ID == 0 {
			if m.ID, err = t.newID(); err != nil {
				return err
			}
		}
		if m.Thread == 0 {
			m.Thread = store.ThreadID(m.ID)
		}
		t.h.rows.messages = append(t.h.rows.messages, heldMessage{a.num, *m, bits, words})
		t.h.noteRow(&t.h.rows.messages[len(t.h.rows.messages)-1])
	}
	return nil
}

// accountNum returns the number of an account; zero if it has none.
func (t *tx) accountNum(id store.AccountID) (int64, error) {
	if t.last.num != 0 && id == t.last.account {
		return t.last.num, nil
	}
	a, err := t.account(id)
	if err != nil || a == nil {
		return 0, err
	}
	return a.num, nil
}

func (t *tx) Cold(id store.AccountID, ms ...store.MessageID) iter.Seq2[store.Cold, error] {
	return func(yield func(store.Cold, error) bool) {
		num, err := t.accountNum(id)
		if err != nil {
			yield(store.Cold{}, err)
			return
		}
		if num == 0 {
			return
		}
		var batch []store.Cold
		own := func(n int) []byte { return make([]byte, n) }
		for len(ms) > 0 {
			n := coldRun(ms)
			batch = slices.Grow(batch[:0], n)
			if err := t.coldRows(own, id, num, ms[:n], func(c store.Cold) { batch = append(batch, c) }); err != nil {
				yield(store.Cold{}, err)
				return
			}
			if !each(batch, yield) {
				return
			}
			ms = ms[n:]
		}
	}
}

// ColdIn is Cold with bytes in memory of the caller.
func (t *tx) ColdIn(room func(n int) []byte, id store.AccountID, ms []store.MessageID, fn func(store.Cold)) error {
	num, err := t.accountNum(id)
	if num == 0 {
		return err
	}
	for len(ms) > 0 && err == nil {
		n := coldRun(ms)
		err = t.coldRows(room, id, num, ms[:n], fn)
		ms = ms[n:]
	}
	return err
}

// coldRun is how many of the first of ms are read at once.
func coldRun(ms []store.MessageID) int {
	if n := dense(ms); n >= min(minRange, len(ms)) {
		return n
	}
	return min(len(ms), minRange)
}

// What is read as a range of IDs: at least minRange of them, or all there are, and of the
// IDs in it about one in rangeWaste is wanted.
const (
	minRange   = 32
	maxRange   = 256
	rangeWaste = 2
)

// dense returns how many of the first of ms are in order and lie so close together that
// they are read as one range.
func dense(ms []store.MessageID) int {
	n, slack := 1, min(minRange, len(ms))
	for n < min(len(ms), maxRange) && ms[n] > ms[n-1] && ms[n]-ms[0] < store.MessageID(rangeWaste*(n+1)+slack) {
		n++
	}
	return n
}

const coldColumns = `id, prefix, envelope, structure, preview, sum`

// coldRows reads a run of cold rows.
func (t *tx) coldRows(room func(n int) []byte, id store.AccountID, acct int64, ms []store.MessageID, fn func(store.Cold)) error {
	if t.h != nil {
		if err := t.h.flushCold(t.c); err != nil {
			return err
		}
	}
	if dense(ms) < len(ms) {
		return sqldb.In(ms, func(m store.MessageID) any { return int64(m) }, func(places string, args []any) error {
			return t.c.Query(`SELECT `+coldColumns+` FROM cold WHERE id IN `+places+` AND acct = ?`, func(r sqldb.Row) error {
				fn(t.readCold(r, id, room))
				return nil
			}, append(args, acct)...)
		})
	}
	return t.c.Query(`SELECT `+coldColumns+` FROM cold WHERE id >= ? AND id <= ? AND acct = ? ORDER BY id`, func(r sqldb.Row) error {
		m := store.MessageID(r.Int(0))
		for len(ms) > 0 && ms[0] < m {
			ms = ms[1:]
		}
		if len(ms) > 0 && ms[0] == m { // no other between
			fn(t.readCold(r, id, room))
		}
		return nil
	}, int64(ms[0]), int64(ms[len(ms)-1]), acct)
}

// readCold reads a row. All its bytes are in one piece of memory.
func (t *tx) readCold(r sqldb.Row, id store.AccountID, room func(n int) []byte) store.Cold {
	row := r.Append(t.row[:0], 1)
	prefix := len(row)
	row = r.Append(row, 2)
	envelope := len(row)
	row = r.Append(row, 3)
	structure := len(row)
	row = r.Append(row, 4)
	t.row = row
	b := room(len(row))
	copy(b, row)
	return store.Cold{
		Account: id, ID: store.MessageID(r.Int(0)), Sum: uint32(r.Int(5)),
		Prefix: b[:prefix:prefix], Envelope: b[prefix:envelope:envelope],
		Structure: b[envelope:structure:structure], Preview: b[structure:len(b):len(b)],
	}
}

func (t *tx) PutCold(cs []store.Cold) error {
	if t.h == nil {
		return errReadOnly
	}
	for _, c := range cs {
		a, err := t.madeAccount(c.Account)
		if err != nil {
			return err
		}
		t.h.rows.cold = append(t.h.rows.cold, heldCold{a.num, c})
	}
	return nil
}
