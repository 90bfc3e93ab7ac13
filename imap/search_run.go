package imap

import (
	"runtime"
	"slices"
	"sync"

	"github.com/mailkeel/mailkeel/internal/searchtext"
	"github.com/mailkeel/mailkeel/store"
)

// find runs a search: first over what is known of all messages, then over what the
// index says, then over what the rows say of those for which that was not enough, and
// only then over texts. A message that has gone does not match, nor one that cannot be
// read.
func (c *conn) find(cmd *command, k *criteria) (*result, error) {
	return c.findLike(cmd, k, asBeginnings)
}

// findLike is find for what FUZZY keys find with that likeness.
func (c *conn) findLike(cmd *command, k *criteria, l likeness) (*result, error) {
	return c.findIn(cmd, k, c.sel.snap.everything(), l)
}

// findIn is findLike among some messages.
func (c *conn) findIn(cmd *command, k *criteria, spans []span, l likeness) (*result, error) {
	q := c.compile(k.at(l))
	snap := c.sel.snap
	found := newResult(snap)
	open := c.decide(q, nil, spans, found)
	var h *hints
	if spanLen(open) >= worthAsking {
		if h = c.consult(q, open); h != nil {
			open = c.decide(q, h, open, found)
		}
	}
	if len(open) == 0 {
		return found, nil
	}
	s := &searching{c: c, q: q, hints: h, found: found, progress: c.progress(cmd, snap.size)}
	if err := s.run(open); err != nil {
		return nil, err
	}
	return found, nil
}

// decide finds the messages of spans that match by what is known without reading, and
// returns those that must be read.
func (c *conn) decide(q *query, h *hints, spans []span, found *result) (open []span) {
	var f facts
	for seq, r := range c.sel.snap.all(spans) {
		f.reset(q)
		f.pos, f.flags = int(seq)-1, r.flags
		h.tell(&f, r.uid)
		switch q.ask(q.matcher, &f) {
		case holds:
			found.add(f.pos)
		case unknown:
			if n := len(open); n > 0 && open[n-1].hi == f.pos {
				open[n-1].hi++
			} else {
				open = append(open, span{f.pos, f.pos + 1})
			}
		}
	}
	return open
}

// A searching is the reading of the messages that a query needs.
type searching struct {
	c     *conn
	q     *query
	hints *hints

	progress *progress

	mu    sync.Mutex
	found *result
	err   error
	idle  []*searcher

	panicked any // what a helper did
}

// run reads messages, a batch at a time: in the goroutine of the session, and in
// others as long as the server has some to spare, so that a long search uses all
// processors and many searches no more than there are.
func (s *searching) run(open []span) error {
	size := searchRows
	if len(s.q.needles) > 0 || slices.ContainsFunc(s.q.headers, headerKey.unread) {
		size = searchTexts
	}
	helpers := s.c.srv.searchHelpers()
	var wg sync.WaitGroup
	defer wg.Wait()
	for batch := range searchBatches(open, size) {
		if err := s.goOn(batch[0].lo); err != nil {
			return err
		}
		select {
		case helpers <- struct{}{}:
			wg.Go(func() {
				defer func() {
					if p := recover(); p != nil { // it is the session's
						s.mu.Lock()
						s.panicked = p
						s.mu.Unlock()
					}
					<-helpers
				}()
				s.batch(batch)
			})
		default:
			s.batch(batch)
		}
	}
	wg.Wait()
	return s.failed()
}

func (s *searching) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panicked != nil {
		panic(s.panicked)
	}
	return s.err
}

// goOn says why the search ends here, if it does, and tells the client now and then
// that it goes on.
func (s *searching) goOn(pos int) error {
	if err := s.c.ctx.Err(); err != nil {
		return err
	}
	if err := s.failed(); err != nil {
		return err
	}
	return s.progress.at(pos)
}

// batch searches some messages.
func (s *searching) batch(spans []span) {
	var w *searcher
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		w = s.idle[n-1]
		s.idle = s.idle[:n-1]
	}
	s.mu.Unlock()
	if w == nil {
		w = &searcher{searching: s}
	}
	hits, err := w.examineAll(spans)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pos := range hits {
		s.found.add(pos)
	}
	if s.err == nil {
		s.err = err
	}
	s.idle = append(s.idle, w)
}

// searchHelpers is where helpers of searches take a place.
func (s *Server) searchHelpers() chan struct{} {
	s.state.searchOnce.Do(func() {
		n := s.SearchHelpers
		if n == 0 {
			n = runtime.GOMAXPROCS(0) - 1
		}
		s.state.searchers = make(chan struct{}, max(n, 0))
	})
	return s.state.searchers
}

// A searcher looks at messages one after the other, in one goroutine.
type searcher struct {
	*searching
	facts   facts
	text    textSearch
	entries []entry
	es      []*entry // of entries
	uids    []store.UID
	rows    store.Rows
	hits    []int
	raw     []byte
	message searchtext.Message
}

// examineAll returns the positions of those messages that match.
func (s *searcher) examineAll(spans []span) ([]int, error) {
	s.list(spans)
	s.hits = s.hits[:0]
	for from := 0; from < len(s.es); {
		es, err := s.read(from)
		if err != nil {
			return nil, err
		}
		if err := s.examineSome(es); err != nil {
			return nil, err
		}
		from += len(es)
	}
	return s.hits, nil
}

// examineSome adds those of some messages that match to s.hits.
func (s *searcher) examineSome(es []*entry) error {
	f := &s.facts
	s.text.q, s.text.f = s.q, f
	for _, e := range es {
		if e.msg == nil {
			continue
		}
		f.reset(s.q)
		f.pos, f.flags, f.entry, f.read = int(e.seq)-1, e.row.flags, e, s.q.level
		s.hints.tell(f, e.row.uid)
		v, err := s.examine()
		if cerr := s.c.ctx.Err(); cerr != nil {
			return cerr
		}
		if err != nil {
			s.c.log.Error("imap: searching a message", "mailbox", s.c.sel.id, "uid", e.row.uid, "err", err)
		} else if v == holds {
			s.hits = append(s.hits, f.pos)
		}
	}
	return nil
}

// examine asks about one message, reading of it what it takes.
func (s *searcher) examine() (verdict, error) {
	q, f := s.q, &s.facts
	v := q.ask(q.matcher, f)
	if v != unknown {
		return v, nil
	}
	m, err := s.whole(f.entry)
	if err != nil {
		return fails, err
	}
	if q.wantsHeader(f) {
		if !s.text.notInHeader(m.RawHeader()) {
			h, err := m.Header()
			if err != nil {
				return fails, err
			}
			q.inHeader(h, f)
			s.text.header(h)
		}
		if v = q.ask(q.matcher, f); v != unknown {
			return v, nil
		}
	}
	s.text.news = false
	if err := m.Body(s.c.ctx, &s.text); err != nil {
		return fails, err
	}
	f.all = true
	return q.ask(q.matcher, f), nil
}
