package pop3

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/mailkeel/mailkeel/store"
)

// A maildrop is an INBOX as it was at login. It holds 8 bytes for each message,
// and two bits once a client marks.
type maildrop struct {
	box      store.MailboxID
	validity uint32
	rows     []row
	large    map[int]int64 // the sizes that a row cannot hold, by index
	gone     bits          // marked by DELE
	seen     bits          // sent by RETR
	left     int           // without those that are gone
	octets   int64         // of those
}

type row struct {
	uid  store.UID
	size uint32 // MaxUint32 if it is in large
}

// bits is a set of indexes.
type bits []uint64

func (b bits) has(i int) bool { return i/64 < len(b) && b[i/64]&(1<<(i%64)) != 0 }

// set puts i, below n, into b.
func (b *bits) set(i, n int) {
	if *b == nil {
		*b = make(bits, (n+63)/64)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

// openMaildrop reads the numbers of all messages, and nothing else of them.
func openMaildrop(ctx context.Context, a *store.Access) (*maildrop, error) {
	f, err := a.Folder(ctx, "INBOX")
	if err != nil {
		return nil, err
	}
	var d *maildrop
	err = a.Scan(ctx, f.ID, store.Query{}, func(mb store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		d = &maildrop{box: mb.ID, validity: mb.UIDValidity, rows: make([]row, 0, mb.Messages)}
		for m, err := range ms {
			if err != nil {
				return err
			}
			r := row{m.UID, uint32(m.Size)}
			if m.Size >= math.MaxUint32 {
				if d.large == nil {
					d.large = map[int]int64{}
				}
				d.large[len(d.rows)] = m.Size
				r.size = math.MaxUint32
			}
			d.rows = append(d.rows, r)
			d.octets += m.Size
		}
		d.left = len(d.rows)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *maildrop) size(i int) int64 {
	if n := d.rows[i].size; n < math.MaxUint32 {
		return int64(n)
	}
	return d.large[i]
}

// uniqueID is what UIDL tells: 16 hex digits.
func (d *maildrop) uniqueID(i int) string {
	return fmt.Sprintf("%08x%08x", uint32(d.rows[i].uid), d.validity)
}

// find returns the index of the message that a client names.
func (d *maildrop) find(arg string) (int, error) {
	n, err := number(arg)
	if err != nil {
		return 0, err
	}
	if n < 1 || n > len(d.rows) {
		return 0, errNoMessage
	}
	if d.gone.has(n - 1) {
		return 0, no("", "The message is deleted")
	}
	return n - 1, nil
}

// remove marks a message, which is there.
func (d *maildrop) remove(i int) {
	d.gone.set(i, len(d.rows))
	d.left--
	d.octets -= d.size(i)
}

// reset takes all marks back.
func (d *maildrop) reset() {
	if d.gone == nil {
		return
	}
	d.gone, d.left, d.octets = nil, len(d.rows), 0
	for i := range d.rows {
		d.octets += d.size(i)
	}
}

// batches yields runs of up to batch indexes that set holds and except does not.
func (d *maildrop) batches(set, except bits, batch int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		if set == nil {
			return
		}
		var some []int
		for i := range d.rows {
			if set.has(i) && !except.has(i) {
				if some = append(some, i); len(some) == batch {
					if !yield(some) {
						return
					}
					some = some[:0]
				}
			}
		}
		if len(some) > 0 {
			yield(some)
		}
	}
}

func (d *maildrop) uids(indexes []int) []store.UID {
	out := make([]store.UID, len(indexes))
	for k, i := range indexes {
		out[k] = d.rows[i].uid
	}
	return out
}
