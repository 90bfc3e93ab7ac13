package imap

import (
	"context"
	"iter"
	"slices"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// How many messages are read at a time, of how many bytes in cold rows, and over how
// many unwanted ones between.
const (
	hotBatch  = 192
	coldBatch = 64
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
// returns an error. The entries are used again after fn returned. If the server has a
// helper to spare it reads the next ones meanwhile, and so does the session itself
// rather than wait for it.
func (c *conn) load(spans []span, level rowLevel, fn func([]*entry) error) error {
	l := &loading{c: c, ctx: c.ctx, box: c.sel.id, size: hotBatch}
	if level >= coldRows {
		l.size, l.room = coldBatch, coldRoom
	}
	total := spanLen(spans)
	l.size = min(l.size, total)
	switch {
	case total <= aPage:
		l.remember = store.AtOnce
	case total > worthKeeping:
		l.remember = store.Never
	}
	next, stop := iter.Pull(batches(spans, l.size, maxGap))
	defer stop()
	l.next = next
	defer l.end()
	for l.begin() {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		p := l.queue[0]
		l.start()
		switch p.state {
		case isBegun:
			l.fill(p)
		case isHelped:
			if q := l.first(); q != nil && !p.isRead() {
				l.fill(q)
				q.state = isFilled
			}
			p.wait()
			l.start()
		}
		if p.err != nil {
			return p.err
		}
		some := p.es[:p.done]
		meet(some, p.rows.Messages)
		if err := fn(some); err != nil {
			return err
		}
		l.finish(p)
	}
	return nil
}

const (
	// aPage is about how many messages a person looks at.
	aPage = 200
	// worthKeeping is how many are read at most by who may read them again soon.
	worthKeeping = 30_000
)

// A loading is the reading of messages.
type loading struct {
	c          *conn
	ctx        context.Context
	box        store.MailboxID
	size, room int
	remember   store.Remember
	next       func() ([]span, bool)
	queue      []*portion // in order; fn is given the first
	free       *portion
	used       []*portion // all there are

	helper chan *portion // to read; nil if nobody has helped yet
	helped *portion      // by the helper
}

// maxPortions is how many there are at most: one for fn, or for the session to wait for,
// one for the helper, and one for the session itself.
const maxPortions = 3

// A portion is messages that lie together, and are read at once.
type portion struct {
	entries []entry
	es      []*entry // of those that are not dealt with
	uids    []store.UID
	rows    store.Rows
	done    int // of es, when it was read
	err     error

	state    int
	read     chan struct{} // closed by the helper
	panicked any           // what the helper did
}

// What a portion is.
const (
	isBegun  = iota // not read
	isHelped        // the helper reads it, or has
	isFilled
)

// begin fills the queue, and reports whether there is something in it.
func (l *loading) begin() bool {
	for len(l.queue) < maxPortions {
		part, ok := l.next()
		if !ok {
			break
		}
		p := l.free
		if l.free = nil; p == nil {
			p = l.borrow()
		}
		p.es, p.uids, p.state = p.es[:0], p.uids[:0], isBegun
		for seq, r := range l.c.sel.snap.all(part) {
			e := &p.entries[len(p.es)]
			*e = entry{seq: seq, row: r}
			p.es, p.uids = append(p.es, e), append(p.uids, r.uid)
		}
		l.queue = append(l.queue, p)
	}
	return len(l.queue) > 0
}

// leastPortion is for how many messages a portion has room at least, so that those of who
// looks at one message are of use for who looks at some.
const leastPortion = 32

// borrow returns a portion that others have used, or a new one.
func (l *loading) borrow() *portion {
	p, ok := l.c.srv.state.portions.Get().(*portion)
	if !ok || len(p.entries) < l.size {
		n := max(l.size, leastPortion)
		p = &portion{entries: make([]entry, n), rows: store.Rows{Messages: make([]store.Parsed, 0, n)}}
	}
	p.rows.Remember = l.remember
	l.used = append(l.used, p)
	return p
}

// lend gives portions to others.
func (l *loading) lend() {
	for _, p := range l.used {
		clear(p.entries)
		clear(p.rows.Messages[:cap(p.rows.Messages)])
		l.c.srv.state.portions.Put(p)
	}
}

// finish takes what fn has dealt with out of the queue.
func (l *loading) finish(p *portion) {
	if p.done < len(p.es) { // there was no room for the rest
		p.es, p.uids, p.state = slices.Delete(p.es, 0, p.done), slices.Delete(p.uids, 0, p.done), isBegun
		return
	}
	l.queue = append(l.queue[:0], l.queue[1:]...)
	l.free = p
}

// first returns the first portion behind the one for fn that nobody has read.
func (l *loading) first() *portion {
	for _, p := range l.queue[1:] {
		if p.state == isBegun {
			return p
		}
	}
	return nil
}

// fill reads p. It looks at nothing of l that changes.
func (l *loading) fill(p *portion) {
	p.done, p.err = l.c.access.Read(l.ctx, l.box, p.uids, l.room, &p.rows)
}

// start gives the helper something to read, if there is one and it has nothing.
func (l *loading) start() {
	if l.helped != nil && !l.helped.isRead() {
		return
	}
	p := l.first()
	if p == nil {
		return
	}
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
	p.state, p.read, l.helped = isHelped, make(chan struct{}), p
	l.helper <- p
}

// help reads what start gives it.
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

// end lets the helper go, when it has read.
func (l *loading) end() {
	if l.helper != nil {
		close(l.helper)
		<-l.helped.read
		if l.helped.state == isHelped { // nobody waited for it
			l.helped.wait()
		}
	}
	if len(l.queue) == 0 { // else fn had not done with one
		l.lend()
	}
}

// isRead reports whether the helper has read p.
func (p *portion) isRead() bool {
	select {
	case <-p.read:
		return true
	default:
		return false
	}
}

// wait returns when the helper has read p.
func (p *portion) wait() {
	<-p.read
	p.state = isFilled
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
