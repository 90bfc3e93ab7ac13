package imap

import (
	"iter"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// How many messages are read at a time, and over how many unwanted ones between.
const (
	hotBatch  = 256
	coldBatch = 32
	maxGap    = 32
)

// An entry is a message that is being read.
type entry struct {
	seq    uint32
	row    row
	marked bool           // as seen, just now
	msg    *store.Message // nil if it has gone, else hot
	hot    store.Message
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
	snap := c.sel.snap
	size := hotBatch
	if level >= coldRows {
		size = coldBatch
	}
	room := make([]entry, min(size, spanLen(spans)))
	es := make([]*entry, 0, len(room))
	for part := range batches(spans, size, maxGap) {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		es = es[:0]
		for seq, r := range snap.all(part) {
			e := &room[len(es)]
			*e = entry{seq: seq, row: r}
			es = append(es, e)
		}
		if err := c.loadHot(es); err != nil {
			return err
		}
		if level >= coldRows {
			if err := c.loadCold(es); err != nil {
				return err
			}
		}
		if err := fn(es); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) loadHot(es []*entry) error {
	q := store.Query{First: es[0].row.uid, Last: es[len(es)-1].row.uid}
	return c.access.Scan(c.ctx, c.sel.id, q, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		for _, e := range es {
			e.msg = nil
		}
		i := 0
		for m, err := range ms {
			if err != nil {
				return err
			}
			for i < len(es) && es[i].row.uid < m.UID {
				i++
			}
			if i == len(es) {
				break
			}
			if es[i].row.uid == m.UID {
				es[i].hot = m
				es[i].msg = &es[i].hot
			}
		}
		return nil
	})
}

func (c *conn) loadCold(es []*entry) error {
	ids := make([]store.MessageID, 0, len(es))
	for _, e := range es {
		if e.msg != nil {
			ids = append(ids, e.msg.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	cold, err := c.access.Cold(c.ctx, c.sel.id, ids...)
	if err != nil {
		return err
	}
	for _, e := range es {
		if e.msg == nil {
			continue
		}
		var ok bool
		if e.cold, ok = cold[e.msg.ID]; ok {
			e.err = e.cold.Check(e.msg)
			continue
		}
		// It has gone meanwhile, or its row is lost.
		there := false
		q := store.Query{First: e.row.uid, Last: e.row.uid}
		err := c.access.Scan(c.ctx, c.sel.id, q, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
			there = false
			for m, err := range ms {
				if there = err == nil && m.ID == e.msg.ID; err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if e.err = store.ErrDamaged; !there {
			e.msg = nil
		}
	}
	return nil
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
