package sqlstore

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

// Flags that are set on many messages at once are not written into their rows: that
// would be all of them, with an entry of an index each, for a few bits. They are
// marks: one row says it of all UIDs of a stretch, as runs of those that became
// alike. Of a row and a mark the one with the larger ModSeq tells the flags of a
// live message; so what is written into a row later needs not look for marks.
const (
	markSpan = 1024     // UIDs of a row
	maxMark  = 16 << 10 // bytes of a row; more than that goes into the rows of messages
)

// A mark is a run of UIDs whose messages, where they are live, have these flags
// since seq.
type mark struct {
	box         store.MailboxID
	first, last store.UID
	seq         store.ModSeq
	set         flagSet
}

// marks are in order of UID and do not overlap.
type marks []mark

// of returns the mark over a UID, or nil.
func (ks marks) of(uid store.UID) *mark {
	i, _ := slices.BinarySearchFunc(ks, uid, func(k mark, u store.UID) int { return cmp.Compare(k.last, u) })
	if i < len(ks) && ks[i].first <= uid {
		return &ks[i]
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// markSum covers a row and where it lies.
func markSum(box store.MailboxID, chunk int64, data []byte) uint32 {
	var at [16]byte
	binary.LittleEndian.PutUint64(at[:], uint64(box))
	binary.LittleEndian.PutUint64(at[8:], uint64(chunk))
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, data)
}

// pack writes the marks of one row.
func (ks marks) pack(box store.MailboxID, chunk int64) []byte {
	var b []byte
	at := uint64(chunk) * markSpan
	for _, k := range ks {
		b = binary.AppendUvarint(b, uint64(k.first)-at)
		b = binary.AppendUvarint(b, uint64(k.last-k.first))
		b = binary.AppendUvarint(b, uint64(k.seq))
		b = binary.AppendUvarint(b, uint64(k.set.bits))
		b = binary.AppendUvarint(b, uint64(len(k.set.words)))
		b = append(b, k.set.words...)
		at = uint64(k.last) + 1
	}
	return binary.LittleEndian.AppendUint32(b, markSum(box, chunk, b))
}

// unpackMarks reads what pack wrote. Of a damaged row nothing is believed: its
// messages then have the flags of their rows.
func unpackMarks(box store.MailboxID, chunk int64, b []byte) (ks marks) {
	n := len(b) - 4
	if n < 0 || binary.LittleEndian.Uint32(b[n:]) != markSum(box, chunk, b[:n]) {
		return nil
	}
	at := uint64(chunk) * markSpan
	for b = b[:n]; len(b) > 0; {
		var v [5]uint64
		for i := range v {
			x, k := binary.Uvarint(b)
			if k <= 0 {
				return nil
			}
			v[i], b = x, b[k:]
		}
		if v[0] >= markSpan || v[1] >= markSpan || v[4] > uint64(len(b)) {
			return nil
		}
		first := at + v[0]
		at = first + v[1] + 1
		ks = append(ks, mark{box, store.UID(first), store.UID(at - 1), store.ModSeq(v[2]), flagSet{int64(v[3]), string(b[:v[4]])}})
		b = b[v[4]:]
	}
	return ks
}

// lay puts marks over older ones.
func (ks marks) lay(over marks) (out marks) {
	add := func(k mark) {
		if n := len(out); n > 0 && out[n-1].last+1 == k.first && out[n-1].seq == k.seq && out[n-1].set == k.set {
			out[n-1].last = k.last
			return
		}
		out = append(out, k)
	}
	for len(ks) > 0 || len(over) > 0 {
		switch {
		case len(over) == 0 || len(ks) > 0 && ks[0].last < over[0].first:
			add(ks[0])
			ks = ks[1:]
		case len(ks) == 0 || over[0].first <= ks[0].first:
			end := over[0].last
			add(over[0])
			over = over[1:]
			for len(ks) > 0 && ks[0].first <= end {
				if ks[0].last <= end {
					ks = ks[1:]
					continue
				}
				ks = slices.Clone(ks)
				ks[0].first = end + 1
			}
		default: // the beginning of ks[0] stays
			k := ks[0]
			k.last = over[0].first - 1
			add(k)
			ks = slices.Clone(ks)
			ks[0].first = over[0].first
		}
	}
	return out
}

// marks reads those over a stretch of a mailbox that are in rows with a ModSeq above
// after.
func (t *tx) marks(box store.MailboxID, first, last store.UID, after store.ModSeq) (ks marks, err error) {
	err = t.c.Query(`SELECT chunk, data FROM mark WHERE box = ? AND chunk >= ? AND chunk <= ? AND modseq > ? ORDER BY chunk`, func(r sqldb.Row) error {
		ks = append(ks, unpackMarks(box, r.Int(0), r.Bytes(1))...)
		return nil
	}, int64(box), int64(first)/markSpan, int64(last)/markSpan, int64(after))
	return ks, err
}

// changedMarks reads those of an account above after, in order of ModSeq, and all
// in the rows that have them, by mailbox.
func (t *tx) changedMarks(acct int64, after store.ModSeq) (runs marks, over map[store.MailboxID]marks, err error) {
	over = map[store.MailboxID]marks{}
	err = t.c.Query(`SELECT box, chunk, data FROM mark WHERE acct = ? AND modseq > ?`, func(r sqldb.Row) error {
		box := store.MailboxID(r.Int(0))
		over[box] = append(over[box], unpackMarks(box, r.Int(1), r.Bytes(2))...)
		return nil
	}, acct, int64(after))
	for _, ks := range over {
		slices.SortFunc(ks, func(a, b mark) int { return cmp.Compare(a.first, b.first) })
		for _, k := range ks {
			if k.seq > after {
				runs = append(runs, k)
			}
		}
	}
	slices.SortFunc(runs, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.box, b.box), cmp.Compare(a.first, b.first))
	})
	return runs, over, err
}

// under reads the live messages under a mark with the ModSeqs of their rows. Of q only
// Brief counts.
func (t *tx) under(d *messageReader, k *mark, q *store.Query) (ms []store.Message, err error) {
	d.box = k.box
	columns, read := d.of(q)
	err = t.c.Query(`SELECT `+columns+` FROM message WHERE box = ? AND uid >= ? AND uid <= ? AND dead = 0 ORDER BY uid`, func(r sqldb.Row) error {
		ms = append(ms, read(r))
		return nil
	}, int64(k.box), int64(k.first), int64(k.last))
	return ms, err
}

// mark makes of a row what there is.
func (d *messageReader) mark(m *store.Message, k *mark) {
	if k != nil && k.seq > m.ModSeq && !m.Expunged {
		m.ModSeq, m.Flags = k.seq, d.flagsOf(k.set)
	}
}

var putMarks = sqldb.NewInsert(`INSERT INTO mark (box, chunk, acct, modseq, data)`,
	`ON CONFLICT (box, chunk) DO UPDATE SET acct = excluded.acct, modseq = excluded.modseq, data = excluded.data`)

func (t *tx) PutFlags(id store.MailboxID, seq store.ModSeq, runs []store.FlagRun) error {
	if t.h == nil {
		return errReadOnly
	}
	if len(runs) == 0 {
		return nil
	}
	account, acct, err := t.owner(id)
	if err != nil {
		return err
	}
	t.h.noteLost(id)
	var fresh marks // none reaches over the end of a row
	for _, r := range runs {
		bits, words, err := packFlags(r.Flags)
		if err != nil {
			return err
		}
		for first := r.First; first <= r.Last && first > 0; {
			last := min(r.Last, first|(markSpan-1))
			fresh = append(fresh, mark{id, first, last, seq, flagSet{bits, words}})
			first = last + 1 // zero after the last there is
		}
	}
	old, err := t.marks(id, fresh[0].first, fresh[len(fresh)-1].last, 0)
	if err != nil {
		return err
	}
	var args []any
	for len(fresh) > 0 {
		chunk := int64(fresh[0].first) / markSpan
		_, begin := cutMarks(old, chunk-1)
		was, rest := cutMarks(begin, chunk)
		now, left := cutMarks(fresh, chunk)
		old, fresh = rest, left
		all := was.lay(now)
		data := all.pack(id, chunk)
		if len(data) > maxMark {
			if err := t.unmark(account, id, chunk, all); err != nil {
				return err
			}
			continue
		}
		top := store.ModSeq(0)
		for _, k := range all {
			top = max(top, k.seq)
		}
		args = append(args, int64(id), chunk, acct, int64(top), data)
	}
	return putMarks.Exec(t.c, args)
}

// cutMarks parts marks behind a row.
func cutMarks(ks marks, chunk int64) (in, behind marks) {
	i := 0
	for i < len(ks) && int64(ks[i].first)/markSpan <= chunk {
		i++
	}
	return ks[:i], ks[i:]
}

// unmark writes marks of one row into the rows of their messages.
func (t *tx) unmark(account store.AccountID, box store.MailboxID, chunk int64, ks marks) error {
	if err := t.flushMessages(); err != nil {
		return err
	}
	d := &messageReader{account: account}
	all := mark{box: box, first: store.UID(chunk * markSpan), last: store.UID(min(chunk*markSpan+markSpan-1, math.MaxUint32))}
	ms, err := t.under(d, &all, &store.Query{})
	if err != nil {
		return err
	}
	ms = slices.DeleteFunc(ms, func(m store.Message) bool {
		k := ks.of(m.UID)
		return k == nil || k.seq <= m.ModSeq
	})
	for i := range ms {
		d.mark(&ms[i], ks.of(ms[i].UID))
	}
	if err := t.PutMessages(ms); err != nil {
		return err
	}
	return sqldb.Later(t.c, `DELETE FROM mark WHERE box = ? AND chunk = ?`, int64(box), chunk)
}
