package imap

import (
	"io"

	"github.com/mailkeel/mailkeel/internal/searchtext"
	"github.com/mailkeel/mailkeel/store"
)

// How many messages a search reads at a time: rows alone, and with texts.
const (
	searchRows  = 256
	searchTexts = 32
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

// read fills s.entries with the rows of some messages.
func (s *searcher) read(spans []span) error {
	n := spanLen(spans)
	if cap(s.entries) < n {
		s.entries = make([]entry, n)
	}
	s.entries = s.entries[:n]
	s.uids = s.uids[:0]
	i := 0
	for seq, r := range s.c.sel.snap.all(spans) {
		s.entries[i] = entry{seq: seq, row: r}
		s.uids = append(s.uids, r.uid)
		i++
	}
	ms, cold, err := s.c.access.Load(s.c.ctx, s.c.sel.id, s.q.level >= coldRows, s.uids...)
	if err != nil {
		return err
	}
	i = 0
	for k := range ms {
		m := &ms[k]
		for s.entries[i].row.uid < m.UID {
			i++
		}
		e := &s.entries[i]
		e.msg = m
		if s.q.level < coldRows {
			continue
		}
		var ok bool
		if e.cold, ok = cold[m.ID]; ok {
			e.err = e.cold.Check(e.msg)
		} else {
			e.err = store.ErrDamaged
		}
	}
	return nil
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
func (s *searcher) bytes(e *entry, n int64) ([]byte, error) {
	rc, err := s.c.open(e, extent{0, n})
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	if int64(cap(s.raw)) < n {
		s.raw = make([]byte, max(n, searchtext.Small))
	}
	got, err := io.ReadFull(rc, s.raw[:n])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return s.raw[:got], nil
}
