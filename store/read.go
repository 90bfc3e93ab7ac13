package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/mailkeel/mailkeel/internal/message"
)

// A Parsed is a message and what is known of it by parsing.
type Parsed struct {
	Message
	Cold Cold
	// Err is ErrDamaged, wrapped, if Cold is lost or not what was written. It cannot
	// be used then, nor can the message be opened.
	Err error
}

var errNoCold = fmt.Errorf("%w: it has no cold row", ErrDamaged)

// coldChunk is how many cold rows are read before it is known how large they are.
const coldChunk = 32

// Rows are messages that were read, and the memory in which they lie, to be used again.
// The zero value is ready.
type Rows struct {
	Messages []Parsed
	// Remember says which of what is read the store remembers for a while.
	Remember Remember

	bytes []byte // of cold rows
}

// Remember says what is likely to be read again.
type Remember int

const (
	// WhenAgain is for those who read many messages: what is asked for a second time is
	// remembered. A client that knows a message does not ask again.
	WhenAgain Remember = iota
	// AtOnce is for those who look at few: most likely at the same ones again.
	AtOnce
	// Never is for those who read so much that it is not worth to be remembered.
	Never
)

// rowBytes is how much memory for cold rows is made at once, at most.
const rowBytes = 64 << 10

// room returns memory for n bytes of a cold row, which may be one of about so many.
func (r *Rows) room(n, rows int) []byte {
	from := len(r.bytes)
	if n > cap(r.bytes)-from {
		from, r.bytes = 0, make([]byte, 0, max(n, min(max(n*rows, 2*cap(r.bytes)), rowBytes)))
	}
	r.bytes = r.bytes[:from+n]
	return r.bytes[from:]
}

// Read reads those of some messages of a mailbox that are there, in order of UID; the
// right r. uids are in order, too. With room for cold rows these are read as well, as by
// Cold, until they have about that many bytes: done says how many of uids were dealt
// with, and the others are for the next call. It is meant for those who read many
// messages, some at a time. What into held before is overwritten.
func (a *Access) Read(ctx context.Context, id MailboxID, uids []UID, room int, into *Rows) (done int, err error) {
	known := into.Messages[:0]
	remember := into.Remember != Never && a.store.coldPieces() > 0
	if remember {
		known = a.remembered(id, uids, known)
	}
	into.Messages, into.bytes = known, into.bytes[:0]
	whole := false
	if len(known) == len(uids) {
		done = len(uids)
		if whole = room <= 0; !whole {
			done, whole = a.store.recallAll(into, room)
		}
	}
	if !whole {
		again := false
		err = a.store.Backend.View(ctx, func(tx Tx) (err error) {
			if again && len(known) > 0 {
				known = a.remembered(id, uids, known[:0])
			}
			again = true
			into.Messages, into.bytes = known, into.bytes[:0]
			done, err = a.readRows(tx, id, uids, room, into, remember)
			return err
		})
	}
	if err == nil && room > 0 {
		err = a.store.parseMissing(ctx, into.Messages)
	}
	if err != nil {
		into.Messages = into.Messages[:0]
		return 0, err
	}
	return done, nil
}

// remembered appends those of some messages of the account's own that the backend
// remembers.
func (a *Access) remembered(id MailboxID, uids []UID, out []Parsed) []Parsed {
	if m, ok := a.store.Backend.(Memory); ok {
		out = m.Remembered(a.account, id, uids, out)
	}
	return out
}

// readRows is read but for those messages that into has.
func (a *Access) readRows(tx Tx, id MailboxID, uids []UID, room int, into *Rows, remember bool) (done int, err error) {
	_, can := a.store.Backend.(Memory)
	again := !can || into.Remember == AtOnce || 2*len(into.Messages) >= len(uids)
	mb := Mailbox{Account: a.account}
	mine, err := a.owns(tx, id)
	if err == nil && !mine {
		mb, _, err = a.rights(tx, id, "r")
	}
	if err == nil {
		into.Messages, err = readHot(tx, id, uids, into.Messages, remember && mine)
	}
	if err == nil && mine && len(into.Messages) < len(uids) { // perhaps because it has gone as a whole
		_, _, err = a.rights(tx, id, "r")
	}
	if err != nil {
		return 0, err
	}
	ms := into.Messages
	if mb.Account != a.account {
		set, err := readSeen(tx, &mb, a.account)
		if err != nil {
			return 0, err
		}
		for i := range ms {
			set.view(&ms[i].Message)
		}
	}
	done = len(uids)
	if room <= 0 {
		return done, nil
	}
	n, err := a.store.readCold(tx, mb.Account, into, room, remember && again)
	if err == nil && n < len(ms) {
		into.Messages = ms[:n]
		done, _ = slices.BinarySearch(uids, ms[n-1].UID)
		done++
	}
	return done, err
}

// owns reports whether the account owns a mailbox for certain.
func (a *Access) owns(tx Tx, id MailboxID) (bool, error) {
	o, ok := tx.(Owners)
	if !ok {
		return false, nil
	}
	owner, err := o.Owner(id)
	return owner == a.account, err
}

// readHot reads the messages among uids but for those that are known, and returns all.
func readHot(tx Tx, id MailboxID, uids []UID, known []Parsed, again bool) ([]Parsed, error) {
	out, some := known, len(known) > 0
	if some { // each keeps its place, or those behind move
		rest := make([]UID, 0, len(uids)-len(known))
		for _, uid := range uids {
			if len(known) > 0 && known[0].UID == uid {
				known = known[1:]
			} else {
				rest = append(rest, uid)
			}
		}
		uids = rest
	}
	for len(uids) > 0 {
		n := 1
		for n < len(uids) && uids[n]-uids[n-1] <= findGap {
			n++
		}
		run := uids[:n]
		uids = uids[n:]
		for m, err := range tx.Messages(id, Query{First: run[0], Last: run[n-1], Again: again}) {
			if err != nil {
				return out[:0], err
			}
			for len(run) > 0 && run[0] < m.UID {
				run = run[1:]
			}
			if len(run) > 0 && run[0] == m.UID {
				out = append(out, Parsed{Message: m})
			}
		}
	}
	if some {
		slices.SortFunc(out, func(a, b Parsed) int { return cmp.Compare(a.UID, b.UID) })
	}
	return out, nil
}

// readCold reads the cold rows of messages until they fill room, and says of how many
// it has; of one at least.
func (s *Store) readCold(tx Tx, id AccountID, into *Rows, room int, remember bool) (done int, err error) {
	ms := into.Messages
	ids := make([]MessageID, 0, min(len(ms), 4*coldChunk))
	size := 0
	for n := coldChunk; done < len(ms) && (done == 0 || size < room); {
		if done > 0 { // as many as will fit, if they are like the others
			n = min(max(1, (room-size)*done/max(size, 1)), 4*coldChunk)
		}
		part := ms[done:min(done+n, len(ms))]
		for i := range part {
			part[i].Cold, part[i].Err = Cold{}, errNoCold
		}
		if remember {
			s.recall(part, into)
		}
		ids = ids[:0]
		for i := range part {
			if part[i].Err != nil {
				ids = append(ids, part[i].ID)
			}
		}
		if err := fillCold(tx, id, ids, part, into); err != nil {
			return 0, err
		}
		if remember && len(ids) > 0 {
			s.remember(part)
		}
		for i := range part {
			size += part[i].Cold.size()
		}
		done += len(part)
	}
	return done, nil
}

// recallAll is readCold for messages whose cold rows are all remembered.
func (s *Store) recallAll(into *Rows, room int) (done int, all bool) {
	ms := into.Messages
	for i := range ms {
		ms[i].Err = errNoCold
	}
	for size := 0; done < len(ms) && (done == 0 || size < room); {
		part := ms[done:min(done+coldChunk, len(ms))]
		s.recall(part, into)
		for i := range part {
			if part[i].Err != nil {
				return 0, false
			}
			size += part[i].Cold.size()
		}
		done += len(part)
	}
	into.Messages = ms[:done]
	return done, true
}

func (c *Cold) size() int {
	return len(c.Prefix) + len(c.Envelope) + len(c.Structure) + len(c.Preview)
}

// fillCold reads the cold rows of those of part that have these IDs.
func fillCold(tx Tx, id AccountID, ids []MessageID, part []Parsed, into *Rows) error {
	if len(ids) == 0 {
		return nil
	}
	// They mostly come in the order of their IDs, which is mostly that of UIDs.
	next := 0
	take := func(c Cold) {
		for range part {
			p := &part[next]
			next = (next + 1) % len(part)
			if p.ID == c.ID {
				p.Cold, p.Err = c, c.Check(&p.Message)
				break
			}
		}
	}
	if b, ok := tx.(Borrowing); ok {
		return b.ColdIn(func(n int) []byte { return into.room(n, len(part)) }, id, ids, take)
	}
	for c, err := range tx.Cold(id, ids...) {
		if err != nil {
			return err
		}
		take(c)
	}
	return nil
}

// parseMissing parses those messages for which an older version has done that, or
// nobody.
func (s *Store) parseMissing(ctx context.Context, ms []Parsed) error {
	var raw []Message
	for i := range ms {
		if ms[i].Err == nil && message.Outdated(ms[i].Cold.Envelope) {
			raw = append(raw, ms[i].Message)
		}
	}
	if raw == nil {
		return nil
	}
	out := make(map[MessageID]Cold, len(raw))
	for i := range ms {
		if ms[i].Err == nil {
			out[ms[i].ID] = ms[i].Cold
		}
	}
	if err := s.parseLate(ctx, raw, out); err != nil {
		return err
	}
	for i := range ms {
		if c, ok := out[ms[i].ID]; ok {
			ms[i].Cold = c
		}
	}
	return nil
}
