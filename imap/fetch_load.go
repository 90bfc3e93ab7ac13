package imap

import (
	"iter"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// How many messages are read at a time, of how many bytes in cold rows, and over how
// many unwanted ones between.
const (
	hotBatch  = 256
	coldBatch = 128
	coldRoom  = 48 << 10
	maxGap    = 32
)

// An entry is a message that is being read.
type entry struct {
	seq    uint32
	row    row
	marked bool           // as seen, just now
	msg    *store.Message // nil if it has gone
	cold   store.Cold
	err    error             // why cold cannot be used
	env    *message.Envelope // of cold, once somebody asked
	root   *message.Part     // likewise
}

func (e *entry) envelope() (*message.Envelope, error) {
	if e.err != nil {
		return nil, e.err
	}
	if e.env == nil {
		v, err := message.DecodeEnvelope(e.cold.Envelope)
		if err != nil {
			return nil, err
		}
		e.env = &v
	}
	return e.env, nil
}

func (e *entry) structure() (*message.Part, error) {
	if e.err != nil {
		return nil, e.err
	}
	if e.root == nil {
		p, err := message.DecodePart(e.cold.Structure)
		if err != nil {
			return nil, err
		}
		e.root = &p
	}
	return e.root, nil
}

// load reads messages and calls fn with some of them at a time, in order, until it
// returns an error. The entries are used again after fn returned.
func (c *conn) load(spans []span, level rowLevel, fn func([]*entry) error) error {
	size, room := hotBatch, 0
	if level >= coldRows {
		size, room = coldBatch, coldRoom
	}
	size = min(size, spanLen(spans))
	entries := make([]entry, size)
	es := make([]*entry, 0, size)
	uids := make([]store.UID, 0, size)
	rows := make([]store.Parsed, 0, size)
	for part := range batches(spans, size, maxGap) {
		es, uids = es[:0], uids[:0]
		for seq, r := range c.sel.snap.all(part) {
			e := &entries[len(es)]
			*e = entry{seq: seq, row: r}
			es, uids = append(es, e), append(uids, r.uid)
		}
		for from := 0; from < len(es); {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			var done int
			var err error
			if rows, done, err = c.access.Read(c.ctx, c.sel.id, uids[from:], room, rows); err != nil {
				return err
			}
			some := es[from : from+done]
			from += done
			meet(some, rows)
			if err := fn(some); err != nil {
				return err
			}
		}
	}
	return nil
}

// meet gives entries their rows, both in order of UID. Those without have gone.
func meet(es []*entry, rows []store.Parsed) {
	for i := range rows {
		p := &rows[i]
		for es[0].row.uid < p.UID {
			es = es[1:]
		}
		es[0].msg, es[0].cold, es[0].err = &p.Message, p.Cold, p.Err
	}
}

// batches cuts spans into runs of at most size messages with small gaps, so that
// each can be read at once.
func batches(spans []span, size, gap int) iter.Seq[[]span] {
	return func(yield func([]span) bool) {
		var batch []span
		n := 0
		for _, s := range spans {
			for s.lo < s.hi {
				if k := len(batch); k > 0 && (n == size || s.lo-batch[k-1].hi > gap) {
					if !yield(batch) {
						return
					}
					batch, n = nil, 0
				}
				take := min(s.hi-s.lo, size-n)
				batch = append(batch, span{s.lo, s.lo + take})
				s.lo += take
				n += take
			}
		}
		if n > 0 {
			yield(batch)
		}
	}
}
