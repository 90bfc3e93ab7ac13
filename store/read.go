package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/mailkeel/mailkeel/internal/message"
)

// A Parsed is a message and what is known of it by parsing, as one moment had them.
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

// Read returns those of some messages of a mailbox that are there, in order of UID,
// in the memory of out; the right r. uids are in order, too. With room for cold rows
// these are read as well, as by Cold, until they have about that many bytes: done says
// how many of uids were dealt with, and the others are for the next call. It is meant
// for those who read many messages, some at a time.
func (a *Access) Read(ctx context.Context, id MailboxID, uids []UID, room int, out []Parsed) (_ []Parsed, done int, err error) {
	err = a.store.Backend.View(ctx, func(tx Tx) error {
		done = len(uids)
		mb, _, err := a.rights(tx, id, "r")
		if err != nil {
			return err
		}
		if out, err = readHot(tx, id, uids, out[:0]); err != nil {
			return err
		}
		if mb.Account != a.account {
			set, err := readSeen(tx, &mb, a.account)
			if err != nil {
				return err
			}
			for i := range out {
				set.view(&out[i].Message)
			}
		}
		if room <= 0 {
			return nil
		}
		n, err := readCold(tx, mb.Account, out, room)
		if err == nil && n < len(out) {
			out = out[:n]
			done, _ = slices.BinarySearch(uids, out[n-1].UID)
			done++
		}
		return err
	})
	if err == nil && room > 0 {
		err = a.store.parseMissing(ctx, out)
	}
	if err != nil {
		return out[:0], 0, err
	}
	return out, done, nil
}

// readHot appends the messages among uids.
func readHot(tx Tx, id MailboxID, uids []UID, out []Parsed) ([]Parsed, error) {
	for len(uids) > 0 {
		n := 1
		for n < len(uids) && uids[n]-uids[n-1] <= findGap {
			n++
		}
		run := uids[:n]
		uids = uids[n:]
		for m, err := range tx.Messages(id, Query{First: run[0], Last: run[n-1]}) {
			if err != nil {
				return nil, err
			}
			for len(run) > 0 && run[0] < m.UID {
				run = run[1:]
			}
			if len(run) > 0 && run[0] == m.UID {
				out = append(out, Parsed{Message: m})
			}
		}
	}
	return out, nil
}

// readCold reads the cold rows of messages until they fill room, and says of how many
// it has; of one at least.
func readCold(tx Tx, id AccountID, ms []Parsed, room int) (done int, err error) {
	ids := make([]MessageID, 0, min(len(ms), 4*coldChunk))
	size := 0
	for n := coldChunk; done < len(ms) && (done == 0 || size < room); {
		if done > 0 { // as many as will fit, if they are like the others
			n = min(max(1, (room-size)*done/max(size, 1)), 4*coldChunk)
		}
		part := ms[done:min(done+n, len(ms))]
		ids = ids[:0]
		for i := range part {
			ids = append(ids, part[i].ID)
			part[i].Err = errNoCold
		}
		// They mostly come in the order of their IDs, which is mostly that of UIDs.
		next := 0
		for c, err := range tx.Cold(id, ids...) {
			if err != nil {
				return 0, err
			}
			size += len(c.Prefix) + len(c.Envelope) + len(c.Structure) + len(c.Preview)
			for range part {
				if next++; part[next-1].ID == c.ID {
					part[next-1].Cold, part[next-1].Err = c, c.Check(&part[next-1].Message)
					next %= len(part)
					break
				}
				next %= len(part)
			}
		}
		done += len(part)
	}
	return done, nil
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
