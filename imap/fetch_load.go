package imap

import (
	"context"
	"iter"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// How many messages are read at a time, of how many bytes in cold rows, and over how
// many unwanted ones between.
const (
	hotBatch  = 256
	coldBatch = 96
	coldRoom  = 64 << 10
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
// returns an error. The entries are used again after fn returned. While fn deals with
// some the next are read, if the server has a helper to spare.
func (c *conn) load(spans []span, level rowLevel, fn func([]*entry) error) error {
	l := &loading{c: c, ctx: c.ctx, box: c.sel.id, size: hotBatch, read: c.access.Read}
	if level >= coldRows {
		l.size, l.room = coldBatch, coldRoom
	}
	total := spanLen(spans)
	if l.size = min(l.size, total); total > worthKeeping {
		l.read = c.access.ReadOnce
	}
	next, stop := iter.Pull(batches(spans, l.size, maxGap))
	defer stop()
	l.next = next
	now, ahead := new(portion), new(portion)
	defer l.end()
	defer func() {
		now.wait()
		ahead.wait()
	}()
	if !l.begin(now) {
		return nil
	}
	l.fill(now)
	for more := true; more; now, ahead = ahead, now {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if now.wait(); now.err != nil {
			return now.err
		}
		l.at += now.done
		if more = l.begin(ahead); more {
			l.start(ahead)
		}
		some := now.es[:now.done]
		meet(some, now.rows)
		if err := fn(some); err != nil {
			return err
		}
		if more && !ahead.helped {
			l.fill(ahead)
		}
	}
	return nil
}

// worthKeeping is how many messages are read at most by who may read them again soon.
const worthKeeping = 30_000

// A loading is the reading of messages.
type loading struct {
	c          *conn
	ctx        context.Context
	box        store.MailboxID
	size, room int
	read       func(context.Context, store.MailboxID, []store.UID, int, []store.Parsed) ([]store.Parsed, int, error)
	next       func() ([]span, bool)
	batch      []head // of messages that lie together
	at         int    // how many of them were read

	helper chan *portion // to read; nil if nobody has helped yet
}

type head struct {
	seq uint32
	row row
}

// A portion is what is read at once.
type portion struct {
	entries []entry
	es      []*entry
	uids    []store.UID
	rows    []store.Parsed
	done    int // of es
	err     error

	helped   bool          // by a helper
	read     chan struct{} // who closes it when it has read; nil if it was waited for
	panicked any           // what the helper did
}

// begin lets p be what comes next, and reports whether there is something.
func (l *loading) begin(p *portion) bool {
	if l.at == len(l.batch) {
		part, ok := l.next()
		if !ok {
			return false
		}
		l.batch, l.at = l.batch[:0], 0
		for seq, r := range l.c.sel.snap.all(part) {
			l.batch = append(l.batch, head{seq, r})
		}
	}
	if p.entries == nil {
		p.entries = make([]entry, l.size)
		p.rows = make([]store.Parsed, 0, l.size)
	}
	p.es, p.uids, p.helped = p.es[:0], p.uids[:0], false
	for _, h := range l.batch[l.at:] {
		e := &p.entries[len(p.es)]
		*e = entry{seq: h.seq, row: h.row}
		p.es, p.uids = append(p.es, e), append(p.uids, h.row.uid)
	}
	return true
}

// fill reads p.
func (l *loading) fill(p *portion) {
	p.rows, p.done, p.err = l.read(l.ctx, l.box, p.uids, l.room, p.rows)
}

// start lets a helper read p, if there is one.
func (l *loading) start(p *portion) {
	helpers := l.c.srv.searchHelpers()
	select {
	case helpers <- struct{}{}:
	default:
		return
	}
	if l.helper == nil { // one goroutine for all, whose stack has grown
		l.helper = make(chan *portion)
		go l.help(l.helper, helpers)
	}
	p.helped, p.read = true, make(chan struct{})
	l.helper <- p
}

// help reads what start gives it. It looks at nothing of l that changes.
func (l *loading) help(work chan *portion, helpers chan struct{}) {
	for p := range work {
		func() {
			defer close(p.read)
			defer func() {
				p.panicked = recover() // it is the session's
				<-helpers
			}()
			l.fill(p)
		}()
	}
}

// end lets the helper go.
func (l *loading) end() {
	if l.helper != nil {
		close(l.helper)
	}
}

// wait returns when nobody reads p any more.
func (p *portion) wait() {
	if p.read == nil {
		return
	}
	<-p.read
	p.read = nil
	if v := p.panicked; v != nil {
		p.panicked = nil
		panic(v)
	}
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
