package mailview

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/internal/searchtext"
	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// What one call of a search may cost. Then it says More.
const (
	searchRows   = 50_000   // rows of messages
	searchParsed = 5_000    // and what was parsed of them
	searchOpened = 500      // messages opened
	searchBytes  = 64 << 20 // of those, and of what was parsed

	searchStep = 256 // rows at a time
)

// A verdict is what is known about whether something holds.
type verdict int8

const (
	fails   verdict = -1
	unknown verdict = 0
	holds   verdict = 1
)

func is(b bool) verdict {
	if b {
		return holds
	}
	return fails
}

// A seeking is one call of a search.
type seeking struct {
	b                    *Box
	mb                   *store.Folder
	terms                []term
	rows, parsed, opened int
	bytes                int64
	hits                 []store.Message
	deep                 bool // some term asks for more than the header

	// unseen is how many messages that are not seen are still to come, if only those
	// are looked for and their number is known; else less than zero.
	unseen int

	index  []indexed // by term; nil if the index is not asked
	lo, hi store.UID // what it was asked about
	failed bool      // the index does

	sink textSearch
}

// search returns a page of what matches terms, the newest first.
func (b *Box) search(ctx context.Context, mb *store.Folder, f Folder, q Query, terms []term) (Page, error) {
	s := &seeking{b: b, mb: mb, terms: terms, unseen: -1, deep: slices.ContainsFunc(terms, func(t term) bool { return t.body || t.attached })}
	if q.Before == 0 && q.After == 0 && slices.ContainsFunc(terms, func(t term) bool { return t.not && slices.Contains(t.flag, store.FlagSeen) }) {
		s.unseen = f.Unseen
	}
	p := Page{Folder: f}
	var last store.UID // that was looked at
	var err error
	if q.After != 0 {
		last, err = s.up(ctx, q.After, q.Limit+1)
	} else {
		last, err = s.down(ctx, q.Before, q.Limit+1)
	}
	if err != nil {
		return Page{}, err
	}
	full := len(s.hits) > q.Limit
	s.hits = s.hits[:min(len(s.hits), q.Limit)]
	p.More = !full && last != 0
	if full {
		last = s.hits[q.Limit-1].UID
	}
	if q.After != 0 { // s.hits are the oldest first
		slices.Reverse(s.hits)
		p.Newer, p.Older = last, q.After+1
		if len(s.hits) > 0 {
			p.Older = s.hits[len(s.hits)-1].UID
		}
	} else {
		p.Older = last
		if q.Before != 0 {
			p.Newer = q.Before - 1
			if len(s.hits) > 0 {
				p.Newer = s.hits[0].UID
			}
		}
	}
	p.Total = len(s.hits)
	p.Rows, err = b.rows(ctx, mb.ID, s.hits)
	return p, err
}

// down looks from the newest message to the oldest until it has n that match, and
// returns the last one that it looked at, or zero at the end.
func (s *seeking) down(ctx context.Context, before store.UID, n int) (store.UID, error) {
	d := s.b.down(&s.mb.Mailbox, before, searchStep)
	for {
		if s.unseen == 0 { // the rest are all seen
			return 0, nil
		}
		ms, err := d.next(ctx)
		if err != nil || len(ms) == 0 {
			return 0, err
		}
		last, err := s.look(ctx, ms, n)
		if err != nil || last != 0 {
			return last, err
		}
	}
}

// up is down from the oldest above after.
func (s *seeking) up(ctx context.Context, after store.UID, n int) (store.UID, error) {
	for {
		ms, err := s.b.above(ctx, s.mb.ID, after, searchStep)
		if err != nil || len(ms) == 0 {
			return 0, err
		}
		slices.Reverse(ms)
		after = ms[len(ms)-1].UID
		last, err := s.look(ctx, ms, n)
		if err != nil || last != 0 {
			return last, err
		}
	}
}

// look looks at messages, one after the other. It returns the last one if it stops
// there: because there are n hits, or the search has cost enough.
func (s *seeking) look(ctx context.Context, ms []store.Message, n int) (store.UID, error) {
	s.consult(ctx, ms)
	var cold map[store.MessageID]store.Cold
	loaded := 0 // ms before it are in cold
	for i := range ms {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		m := &ms[i]
		s.rows++
		if s.unseen == 0 {
			return 0, nil
		}
		if s.unseen > 0 && !slices.Contains(m.Flags, store.FlagSeen) {
			s.unseen--
		}
		v := s.judge(m, nil)
		if v == unknown {
			if i >= loaded {
				var err error
				if cold, loaded, err = s.load(ctx, ms, i); err != nil {
					return 0, err
				}
			}
			k := &known{m: m}
			if s.deep {
				k.parse(cold)
				s.bytes += int64(len(k.cold.Structure))
			} else {
				k.parseEnvelope(cold)
			}
			s.bytes += int64(len(k.cold.Envelope))
			s.parsed++
			if v = fails; k.err == nil {
				var err error
				if v, err = s.read(ctx, k); err != nil {
					return 0, err
				}
			}
		}
		if v == holds {
			s.hits = append(s.hits, *m)
		}
		if len(s.hits) >= n || s.rows >= searchRows || s.parsed >= searchParsed || s.opened >= searchOpened || s.bytes >= searchBytes {
			return m.UID, nil
		}
	}
	return 0, nil
}

// load reads the cold rows of some messages from i on that are not decided yet.
func (s *seeking) load(ctx context.Context, ms []store.Message, i int) (map[store.MessageID]store.Cold, int, error) {
	const most = 64
	var ids []store.MessageID
	for ; i < len(ms) && len(ids) < most; i++ {
		if s.judge(&ms[i], nil) == unknown {
			ids = append(ids, ms[i].ID)
		}
	}
	cold, err := s.b.access.Cold(ctx, s.mb.ID, ids...)
	return cold, i, err
}

// judge says whether a message matches, by its row, by what the index says, and by what
// was parsed of it if that is given.
func (s *seeking) judge(m *store.Message, k *known) verdict {
	all := holds
	for i := range s.terms {
		v := s.term(i, m, k)
		if s.terms[i].not {
			v = -v
		}
		if all = min(all, v); all == fails {
			return fails
		}
	}
	return all
}

func (s *seeking) term(i int, m *store.Message, k *known) verdict {
	t := &s.terms[i]
	switch {
	case t.flag != nil:
		return is(slices.ContainsFunc(m.Flags, func(f string) bool {
			return slices.ContainsFunc(t.flag, func(x string) bool { return strings.EqualFold(f, x) })
		}))
	case !t.since.IsZero() || !t.before.IsZero():
		at := m.Received.UTC()
		return is((t.since.IsZero() || !at.Before(t.since)) && (t.before.IsZero() || at.Before(t.before)))
	case t.larger > 0:
		return is(m.Size > t.larger)
	case t.smaller > 0:
		return is(m.Size < t.smaller)
	case t.attached:
		if k == nil {
			return unknown
		}
		return is(hasAttachments(&k.root))
	case !t.textual():
		return holds
	}
	if s.index != nil {
		if v := s.index[i].says(m.UID); v != unknown {
			return v
		}
	}
	if k == nil {
		return unknown
	}
	for _, f := range t.fields {
		if text, ok := searchtext.EnvelopeText(&k.env, f); ok && text != "" && t.needle.In([]byte(textfold.String(text))) {
			return holds
		}
	}
	if t.body {
		return unknown
	}
	return fails
}

// read says whether a message matches, and opens it if it must.
func (s *seeking) read(ctx context.Context, k *known) (verdict, error) {
	v := s.judge(k.m, k)
	if v != unknown {
		return v, nil
	}
	s.opened++
	s.bytes += k.m.Size
	x := &s.sink
	x.reset(s, k)
	m := searchtext.Message{Root: &k.root, Prefix: int64(len(k.cold.Prefix)), Open: func(off, n int64) (io.ReadCloser, error) {
		return s.b.access.OpenAt(ctx, *k.m, k.cold, off, n)
	}}
	if err := m.Body(ctx, x); err != nil {
		if ctx.Err() != nil || !damaged(err) {
			return fails, err
		}
		return fails, nil // it cannot be read, so nothing is found in it
	}
	return x.verdict(), nil
}

// An indexed is what the index says of one term: an Answer for each place to look in.
type indexed struct{ answers []*search.Answer }

// says returns whether the index knows that a message matches.
func (x *indexed) says(uid store.UID) verdict {
	if len(x.answers) == 0 {
		return unknown
	}
	all := fails
	for _, a := range x.answers {
		v := fails
		switch {
		case a == nil || !among(a.Known, uid), among(a.Maybe, uid):
			v = unknown
		case among(a.Sure, uid):
			return holds
		}
		all = max(all, v)
	}
	return all
}

func among(list []store.UID, uid store.UID) bool {
	_, ok := slices.BinarySearch(list, uid)
	return ok
}

// indexSpan is how many UIDs the index is asked about at a time.
const indexSpan = 8192

// consult asks the index about messages that follow each other, and those that will
// come next.
func (s *seeking) consult(ctx context.Context, ms []store.Message) {
	if s.b.mail.Search == nil || s.failed || !slices.ContainsFunc(s.terms, func(t term) bool { return t.textual() }) {
		s.index = nil
		return
	}
	lo, hi := ms[0].UID, ms[len(ms)-1].UID
	down := lo > hi
	if lo, hi = min(lo, hi), max(lo, hi); s.index != nil && lo >= s.lo && hi <= s.hi {
		return
	}
	if span := max(hi-lo, indexSpan); down {
		lo = max(hi, span) - span
	} else {
		hi = lo + min(span, ^lo)
	}
	s.lo, s.hi = lo, hi
	q := search.Query{Mailbox: s.mb.ID, First: lo, Last: hi}
	find := func() *search.Answer {
		if s.failed {
			return nil
		}
		a, err := s.b.mail.Search.Find(ctx, s.mb.Account, q)
		if err != nil {
			if !errors.Is(err, search.ErrNoAnswer) && ctx.Err() == nil {
				s.failed = true
				s.b.mail.logger().Warn("mailview: the search index fails, so messages are read", "err", err)
			}
			return nil
		}
		return &a
	}
	s.index = make([]indexed, len(s.terms))
	for i := range s.terms {
		t := &s.terms[i]
		if !t.textual() {
			continue
		}
		q.Text = t.text
		for _, f := range t.fields {
			q.Where, q.Field = search.Field, f
			s.index[i].answers = append(s.index[i].answers, find())
		}
		if t.body {
			q.Where, q.Field = search.Body, ""
			s.index[i].answers = append(s.index[i].answers, find())
		}
	}
}

// A textSearch looks for the terms that are not decided yet below the header of one
// message. It is a searchtext.Sink.
type textSearch struct {
	s       *seeking
	known   []verdict // of terms
	longest int
	fold    textfold.Folder
	in, buf []byte
}

func (x *textSearch) reset(s *seeking, k *known) {
	x.s = s
	x.known, x.longest = make([]verdict, len(s.terms)), 1
	for i := range s.terms {
		if x.known[i] = s.term(i, k.m, k); x.known[i] == unknown {
			x.longest = max(x.longest, len(s.terms[i].text))
		}
	}
}

// verdict is what is known when all was read.
func (x *textSearch) verdict() verdict {
	for i := range x.s.terms {
		if found := x.known[i] == holds; found == x.s.terms[i].not {
			return fails
		}
	}
	return holds
}

// Done reports whether the rest cannot change anything.
func (x *textSearch) Done() bool {
	open := false
	for i, v := range x.known {
		if v == holds && x.s.terms[i].not {
			return true
		}
		open = open || v == unknown
	}
	return !open
}

func (x *textSearch) look(text []byte, raw bool) {
	for i, v := range x.known {
		if v != unknown {
			continue
		}
		n := &x.s.terms[i].needle
		if raw && n.InASCII(text) || !raw && n.In(text) {
			x.known[i] = holds
		}
	}
}

// Text looks into a whole text.
func (x *textSearch) Text(text []byte, ascii bool) {
	if ascii || textfold.ASCII(text) {
		x.look(text, true)
		return
	}
	x.buf = x.fold.Append(x.buf[:0], text)
	x.look(x.buf, false)
}

// Stream looks into a text that may be long.
func (x *textSearch) Stream(r io.Reader) error {
	if x.in == nil {
		x.in = make([]byte, 8<<10)
	}
	left := 0 // bytes of in that may belong with what follows
	x.buf = x.buf[:0]
	for {
		n, err := r.Read(x.in[left:])
		n += left
		whole := n
		if err == nil {
			whole = textfold.Closed(x.in[:n])
		}
		x.buf = x.fold.Append(x.buf, x.in[:whole])
		x.look(x.buf, false)
		if x.Done() {
			return nil
		}
		left = copy(x.in, x.in[whole:n])
		if len(x.buf) > x.longest { // keep what may be the beginning of a needle
			x.buf = x.buf[:copy(x.buf, x.buf[len(x.buf)-x.longest:])]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
