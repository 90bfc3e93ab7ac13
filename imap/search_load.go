package imap

import (
	"io"

	"github.com/mailkeel/mailkeel/internal/searchtext"
	"github.com/mailkeel/mailkeel/store"
)

// How many messages a search reads at a time: rows alone, and with texts.
const (
	searchRows  = 256
	searchTexts = 64
)

// searchBatches cuts spans into pieces of about size messages. Gaps do not matter:
// rows are asked for by UID.
func searchBatches(spans []span, size int) func(yield func([]span) bool) {
	return func(yield func([]span) bool) {
		var batch []span
		n := 0
		for _, s := range spans {
			for s.lo < s.hi {
				take := min(s.hi-s.lo, size-n)
				batch = append(batch, span{s.lo, s.lo + take})
				s.lo += take
				if n += take; n == size {
					if !yield(batch) {
						return
					}
					batch, n = nil, 0
				}
			}
		}
		if n > 0 {
			yield(batch)
		}
	}
}

// searchRoom is how many bytes of cold rows are read at a time.
const searchRoom = 256 << 10

// list fills s.entries with messages, of which nothing is read yet.
func (s *searcher) list(spans []span) {
	n := spanLen(spans)
	if cap(s.entries) < n {
		s.entries = make([]entry, n)
	}
	s.entries = s.entries[:n]
	s.es, s.uids = s.es[:0], s.uids[:0]
	for seq, r := range s.c.sel.snap.all(spans) {
		e := &s.entries[len(s.es)]
		*e = entry{seq: seq, row: r}
		s.es, s.uids = append(s.es, e), append(s.uids, r.uid)
	}
}

// read reads the rows of some messages from one on, and returns those that it has
// dealt with.
func (s *searcher) read(from int) (es []*entry, err error) {
	room, done := 0, 0
	if s.q.level >= coldRows {
		room = searchRoom
	}
	s.rows.Remember = store.Never
	done, err = s.c.access.Read(s.c.ctx, s.c.sel.id, s.uids[from:], room, &s.rows)
	if err != nil {
		return nil, err
	}
	es = s.es[from : from+done]
	meet(es, s.rows.Messages)
	return es, nil
}

// whole returns the message for searchtext: in memory if it is small.
func (s *searcher) whole(e *entry) (*searchtext.Message, error) {
	root, err := e.structure()
	if err != nil {
		return nil, err
	}
	m := &s.message
	*m = searchtext.Message{Root: root, Prefix: int64(len(e.cold.Prefix)), Open: func(off, n int64) (io.ReadCloser, error) {
		return s.c.open(e, extent{off, n})
	}}
	switch n := m.HeaderSize(); {
	case len(s.q.needles) == 0 && n <= smallHeader:
		m.Head, err = s.bytes(e, n)
	case len(s.q.needles) > 0 && e.msg.Size <= searchtext.Small:
		m.Raw, err = s.bytes(e, e.msg.Size)
	}
	return m, err
}

// smallHeader is up to what size a header is read as a whole.
const smallHeader = 64 << 10

// bytes reads the first n bytes of a message. They are valid until the next call.
func (s *searcher) bytes(e *entry, n int64) (b []byte, err error) {
	if e.err != nil {
		return nil, e.err
	}
	if s.raw == nil {
		s.raw = make([]byte, 0, searchtext.Small)
	}
	s.raw, err = s.c.access.AppendAt(s.c.ctx, s.raw[:0], e.msg, &e.cold, 0, n)
	return s.raw, err
}
