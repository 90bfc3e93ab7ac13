package imap

import (
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/searchtext"
	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
)

// A verdict is what is known about whether a message matches.
type verdict int8

const (
	fails   verdict = -1
	unknown verdict = 0 // more must be read
	holds   verdict = 1
)

func is(b bool) verdict {
	if b {
		return holds
	}
	return fails
}

// A matcher is criteria in a form that is quickly asked about many messages. All
// that it holds must match. A message is asked about again and again, each time
// with more of it read, until the answer is not unknown.
type matcher struct {
	sets           [][]span // positions
	flags, without []string
	since, before  int // days since year one; zero says nothing
	sentSince      int
	sentBefore     int
	larger         int64
	smaller        int64
	older, younger time.Time // zero says nothing
	extras         extras
	headers        []int // of query.headers
	needles        []int // of query.needles
	not            []*matcher
	or             [][2]*matcher
}

// A query is a search: a matcher, and what it wants to find in texts.
type query struct {
	*matcher
	headers []headerKey
	needles []needle
	level   rowLevel // what must be read at least, beside texts
}

// A headerKey is a text in the field of a name in lower case.
type headerKey struct {
	field, text string
	needle      textfold.Needle // of text
}

func newHeaderKey(field, text string) headerKey {
	text = textfold.String(text)
	return headerKey{strings.ToLower(field), text, textfold.NewNeedle(text)}
}

// unread reports whether the answer may not be in the envelope.
func (k headerKey) unread() bool {
	return k.text == "" || !slices.Contains(searchtext.EnvelopeFields[:], k.field)
}

// A needle is a text in the body, or anywhere in the message.
type needle struct {
	textfold.Needle
	header bool
}

func newNeedle(text string, header bool) needle {
	return needle{textfold.NewNeedle(textfold.String(text)), header}
}

// compile makes a query of criteria, for the snapshot that the client knows.
func (c *conn) compile(k *criteria) *query {
	q := new(query)
	q.matcher = q.compile(c.sel, k)
	return q
}

func (q *query) compile(sel *selection, k *criteria) *matcher {
	m := &matcher{
		since: dayOf(k.Since), before: dayOf(k.Before),
		sentSince: dayOf(k.SentSince), sentBefore: dayOf(k.SentBefore),
		larger: k.Larger, smaller: k.Smaller,
		older: k.Older, younger: k.Younger,
		extras: k.extras(),
	}
	for _, set := range k.SeqNum {
		m.sets = append(m.sets, sel.snap.anySeqSpans(set))
	}
	for _, set := range k.UID {
		if imap.IsSearchRes(set) {
			set = sel.saved
		}
		m.sets = append(m.sets, sel.snap.uidSpans(set))
	}
	if k.ModSeq != nil && k.ModSeq.ModSeq > 0 {
		m.sets = append(m.sets, sel.snap.changedSince(sel.snap.everything(), store.ModSeq(k.ModSeq.ModSeq)-1))
	}
	for _, f := range k.Flag {
		m.flags = append(m.flags, string(f))
	}
	for _, f := range k.NotFlag {
		m.without = append(m.without, string(f))
	}
	if m.asksHot() {
		q.level = max(q.level, hotRows)
	}
	if m.sentSince != 0 || m.sentBefore != 0 || len(k.Header)+len(k.Body)+len(k.Text) > 0 {
		q.level = coldRows
	}
	for _, h := range k.Header {
		m.headers = append(m.headers, len(q.headers))
		q.headers = append(q.headers, newHeaderKey(h.Key, h.Value))
	}
	for _, s := range k.Body {
		m.needles = append(m.needles, len(q.needles))
		q.needles = append(q.needles, newNeedle(s, false))
	}
	for _, s := range k.Text {
		m.needles = append(m.needles, len(q.needles))
		q.needles = append(q.needles, newNeedle(s, true))
	}
	for i := range k.Not {
		m.not = append(m.not, q.compile(sel, &k.Not[i]))
	}
	for i := range k.Or {
		m.or = append(m.or, [2]*matcher{q.compile(sel, &k.Or[i][0]), q.compile(sel, &k.Or[i][1])})
	}
	return m
}

// dayOf numbers the days, by the date that t shows in its own zone.
func dayOf(t time.Time) int {
	if t.IsZero() {
		return 0
	}
	y, m, d := t.Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/86400) + 719162 + 1
}

// anySeqSpans is seqSpans for a search, in which numbers that no message has match
// nothing.
func (s *snapshot) anySeqSpans(set imap.SeqSet) []span {
	out := make([]span, 0, len(set))
	for _, r := range set {
		lo, hi := int64(r.Start), int64(r.Stop)
		if lo == 0 {
			lo = int64(s.size)
		}
		if hi == 0 {
			hi = int64(s.size)
		}
		if lo > hi {
			lo, hi = hi, lo
		}
		if lo, hi = max(lo, 1), min(hi, int64(s.size)); lo <= hi {
			out = append(out, span{int(lo) - 1, int(hi)})
		}
	}
	return joinSpans(out)
}

// facts is what was read of a message.
type facts struct {
	pos   int
	flags flagSet
	entry *entry // nil if not read
	read  rowLevel

	header []verdict // of query.headers
	text   []verdict // of query.needles
	all    bool      // header and body were searched
	sent   int       // the day of the Date field; -1 for none, zero if not known
}

func (f *facts) reset(q *query) {
	*f = facts{header: f.header, text: f.text}
	if f.header == nil {
		f.header, f.text = make([]verdict, len(q.headers)), make([]verdict, len(q.needles))
	}
	clear(f.header)
	clear(f.text)
}

// ask says whether a message matches, as far as f goes.
func (q *query) ask(m *matcher, f *facts) verdict {
	v := holds
	and := func(w verdict) bool {
		v = min(v, w)
		return v != fails
	}
	for _, set := range m.sets {
		if !and(is(inSpans(set, f.pos))) {
			return v
		}
	}
	for _, x := range m.flags {
		if !and(is(hasFlag(f.flags, x))) {
			return v
		}
	}
	for _, x := range m.without {
		if !and(is(!hasFlag(f.flags, x))) {
			return v
		}
	}
	if m.asksHot() {
		if !and(m.hot(f)) {
			return v
		}
	}
	for _, n := range m.not {
		if !and(-q.ask(n, f)) {
			return v
		}
	}
	for _, o := range m.or {
		w := q.ask(o[0], f)
		if w != holds {
			w = max(w, q.ask(o[1], f))
		}
		if !and(w) {
			return v
		}
	}
	if m.sentSince != 0 || m.sentBefore != 0 {
		if !and(m.sent(f)) {
			return v
		}
	}
	for _, i := range m.headers {
		if f.header[i] == unknown && f.read >= coldRows {
			f.header[i] = inEnvelope(f.entry, q.headers[i])
		}
		if !and(f.header[i]) {
			return v
		}
	}
	for _, i := range m.needles {
		w := f.text[i]
		if len(q.needles[i].Text()) == 0 {
			w = holds
		} else if w == unknown && f.all {
			w = fails
		}
		if !and(w) {
			return v
		}
	}
	return v
}

func inSpans(ss []span, pos int) bool {
	lo, hi := 0, len(ss)
	for lo < hi {
		if mid := (lo + hi) / 2; ss[mid].hi <= pos {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(ss) && ss[lo].lo <= pos
}

// asksHot reports whether hot must be asked.
func (m *matcher) asksHot() bool {
	return m.since != 0 || m.before != 0 || m.larger != 0 || m.smaller != 0 || !m.older.IsZero() || !m.younger.IsZero() ||
		m.extras != (extras{})
}

// hot asks about the internal date and the size.
func (m *matcher) hot(f *facts) verdict {
	if f.read < hotRows {
		return unknown
	}
	msg := f.entry.msg
	d := dayOf(msg.Received)
	return is((m.since == 0 || d >= m.since) && (m.before == 0 || d < m.before) &&
		(m.larger == 0 || msg.Size > m.larger) && (m.smaller == 0 || msg.Size < m.smaller) &&
		(m.older.IsZero() || !msg.Received.After(m.older)) && (m.younger.IsZero() || !msg.Received.Before(m.younger)) &&
		m.extras.match(msg))
}

// sent asks about the Date field; without a date nothing matches.
func (m *matcher) sent(f *facts) verdict {
	if f.read < coldRows {
		return unknown
	}
	if f.sent == 0 {
		f.sent = -1
		if env, err := f.entry.envelope(); err == nil {
			if t, err := mail.ParseDate(env.Date); err == nil {
				f.sent = dayOf(t)
			}
		}
	}
	return is(f.sent >= 0 && (m.sentSince == 0 || f.sent >= m.sentSince) && (m.sentBefore == 0 || f.sent < m.sentBefore))
}

// inEnvelope asks about a field that the envelope has. Others must be read.
func inEnvelope(e *entry, k headerKey) verdict {
	env, err := e.envelope()
	if err != nil {
		return fails
	}
	text, ok := searchtext.EnvelopeText(env, k.field)
	if !ok {
		return unknown
	}
	if text == "" {
		if k.text == "" {
			return unknown // the field may be there, and empty
		}
		return fails
	}
	return is(strings.Contains(textfold.String(text), k.text))
}

// wantsHeader reports whether a header must be read.
func (q *query) wantsHeader(f *facts) bool {
	for _, v := range f.header {
		if v == unknown {
			return true
		}
	}
	for i, n := range q.needles {
		if n.header && f.text[i] == unknown {
			return true
		}
	}
	return false
}

// inHeader asks about fields that were read.
func (q *query) inHeader(h *header.Header, f *facts) {
	for i, k := range q.headers {
		if f.header[i] != unknown {
			continue
		}
		f.header[i] = fails
		for x := range h.All(k.field) {
			if strings.Contains(textfold.String(searchtext.FieldText(x)), k.text) {
				f.header[i] = holds
				break
			}
		}
	}
}
