package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// A ledger is what clients of a server that is killed were told, and so what must
// be true after its start. What was asked and not answered may have happened or
// not; the start decides that, and the next one must agree.
type ledger struct {
	t *testing.T

	mu    sync.Mutex
	mail  map[held]*record
	sizes map[string]digest   // of all messages, by ID
	uids  map[spot]string     // every UID that was ever seen, and the ID it means
	most  map[folder]imap.UID // the highest of them
	next  map[folder]imap.UID // UIDNEXT after the last start
	soon  map[folder]imap.UID // and after this one, while it is looked at
	valid map[folder]uint32
	read  map[spot]int64 // what was compared byte by byte, and the size it had
	out   map[string]*outgoing
	both  [][]held // what was asked of several at once, and happens to all or none

	acked  int // in this round
	target int
	kill   func() // called once, when acked reaches target
	down   bool   // it has been
	gone   bool   // the server ended
	news   map[string]chan struct{}

	sent, yes, total int // messages begun, messages acknowledged, acknowledgements of all kinds
	open             int // outcomes that a kill left open, over all rounds
}

type digest struct {
	sum  [32]byte
	size int
}

// held is a message of an account.
type held struct{ who, id string }

type folder struct{ who, box string }

type spot struct {
	folder
	uid imap.UID
}

// A place is where a copy of a message lies. UID 0 is one that nobody was told.
type place struct {
	box   string
	uid   imap.UID
	flags string // in order, with spaces between
}

type state []place // none: it is gone, or was never there

type record struct {
	may  []state // what may be true: one, or before and after
	seen bool    // somebody saw it
}

func newLedger(t *testing.T) *ledger {
	return &ledger{
		t: t, mail: map[held]*record{}, sizes: map[string]digest{}, uids: map[spot]string{},
		most: map[folder]imap.UID{}, next: map[folder]imap.UID{}, soon: map[folder]imap.UID{}, valid: map[folder]uint32{}, news: map[string]chan struct{}{}, read: map[spot]int64{}, out: map[string]*outgoing{},
	}
}

// round begins a round: kill is called after so many acknowledgements.
func (l *ledger) round(target int, kill func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked, l.target, l.kill, l.down, l.gone = 0, target, kill, false, false
	for _, who := range users {
		l.news[who] = make(chan struct{}, 1)
	}
}

// ack counts an acknowledgement; mu is held.
func (l *ledger) ack() {
	l.acked++
	l.total++
	if l.acked == l.target {
		l.down = true
		l.kill()
	}
}

// over says that the server is gone: who waits for news ends.
func (l *ledger) over() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.gone = true, true
	for _, c := range l.news {
		close(c)
	}
}

// odd reports an answer that is none of those to expect while the server is up.
func (l *ledger) odd(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.down {
		l.t.Errorf(format, args...)
	}
}

// compose makes a message and knows it from now on.
func (l *ledger) compose(id string, size int, rnd *rand.Rand) []byte {
	msg := fmt.Appendf(nil, "X-Kill: %s\r\nFrom: ann@x.test\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@x.test>\r\n\r\n", id, id)
	at := rnd.IntN(len(prose)/proseLine) * proseLine
	for size > 0 {
		n := min(size/proseLine*proseLine+proseLine, len(prose)-at)
		msg = append(msg, prose[at:at+n]...)
		size, at = size-n, 0
	}
	msg = append(msg, ".\r\n..\r\nend\r\n"...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sizes[id] = digest{sha256.Sum256(msg), len(msg)}
	l.sent++
	return msg
}

const proseLine = 3*17 + 1 // bytes with the CRLF

// prose is what messages consist of: lines of letters that differ.
var prose = func() []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for len(b) < 1<<20 {
		b = fmt.Appendf(b, "%016x %016x %016x\r\n", rnd.Uint64(), rnd.Uint64(), rnd.Uint64())
	}
	return b
}()

// whole compares the bytes of a message, from its X-Kill on, and returns its ID.
func (l *ledger) whole(where string, raw []byte) (id string) {
	at := max(bytes.Index(raw, []byte("X-Kill: ")), 0)
	_, id, _ = strings.Cut(string(raw[at:min(at+80, len(raw))]), ": ")
	id, _, _ = strings.Cut(id, "\r\n")
	l.mu.Lock()
	want, ok := l.sizes[id]
	l.mu.Unlock()
	if !ok {
		l.t.Errorf("%s: a message that nobody sent:\n%.200q", where, raw)
	} else if got := raw[at:]; sha256.Sum256(got) != want.sum {
		l.t.Errorf("%s: %s has other bytes: %d, sent were %d", where, id, len(got), want.size)
	}
	return id
}

// deliver says that a message is on its way to the INBOX of some.
func (l *ledger) deliver(id string, to []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, who := range to {
		l.mail[held{who, id}] = &record{may: []state{nil, {{box: inbox}}}}
	}
}

// delivered says that it was acknowledged.
func (l *ledger) delivered(id string, to []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, who := range to {
		if r := l.mail[held{who, id}]; !r.seen { // else a reader knows more
			r.may = []state{{{box: inbox}}}
		}
		if !l.gone {
			select {
			case l.news[who] <- struct{}{}:
			default:
			}
		}
	}
	l.yes++
	l.ack()
}

// saw says that somebody saw a message in a folder while the server was up: it is
// durable then.
func (l *ledger) saw(f folder, uid imap.UID, flags []imap.Flag, raw []byte) (id string) {
	id = l.whole(fmt.Sprint(f, uid), raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uid(f, uid, id)
	r := l.mail[held{f.who, id}]
	if r == nil {
		l.t.Errorf("%v has %s, which was not for it", f, id)
		return id
	}
	if !r.seen {
		r.seen, r.may = true, []state{{{f.box, uid, inOrder(flags)}}}
	}
	return id
}

// uid notes what a UID means, for ever; mu is held.
func (l *ledger) uid(f folder, uid imap.UID, id string) {
	if uid == 0 {
		return
	}
	s := spot{f, uid}
	if was, ok := l.uids[s]; ok && was != id {
		l.t.Errorf("%v: UID %d is %s, and was %s", f, uid, id, was)
	}
	if _, ok := l.uids[s]; !ok && uid < l.next[f] {
		l.t.Errorf("%v: %s has UID %d, below UIDNEXT %d of before", f, id, uid, l.next[f])
	}
	l.uids[s] = id
	l.most[f] = max(l.most[f], uid)
}

// now returns what is true of a message that nothing is asked of.
func (l *ledger) now(h held) state {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mail[h].may[0])
}

// ask says that a change of some messages was asked for.
func (l *ledger) ask(who string, ids []string, change func(state) state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []held
	for _, id := range ids {
		h := held{who, id}
		r := l.mail[h]
		if r == nil {
			r = &record{may: []state{nil}, seen: true}
			l.mail[h] = r
		}
		if len(r.may) != 1 {
			panic("two changes at once: " + id)
		}
		r.may = append(r.may, change(slices.Clone(r.may[0])))
		all = append(all, h)
	}
	l.both = append(l.both, all)
}

// did says that the change was acknowledged, with the UIDs that messages have in
// box now.
func (l *ledger) did(who, box string, ids []string, uids []imap.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, id := range ids {
		r := l.mail[held{who, id}]
		r.may = r.may[1:]
		if uids == nil {
			continue
		}
		f := folder{who, box}
		l.uid(f, uids[i], id)
		for j := range r.may[0] {
			if p := &r.may[0][j]; p.box == box && p.uid == 0 {
				p.uid = uids[i]
			}
		}
	}
	for i, b := range l.both {
		if b[0] == (held{who, ids[0]}) {
			l.both = slices.Delete(l.both, i, i+1)
			break
		}
	}
	l.ack()
}

// in returns the IDs of what lies in a folder for certain, in order.
func (l *ledger) in(f folder) (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h, r := range l.mail {
		if h.who == f.who && len(r.may) == 1 && slices.ContainsFunc(r.may[0], func(p place) bool { return p.box == f.box }) {
			ids = append(ids, h.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// inOrder puts flags in order.
func inOrder(flags []imap.Flag) string {
	var s []string
	for _, f := range flags {
		if f != "\\Recent" {
			s = append(s, string(f))
		}
	}
	slices.Sort(s)
	return strings.Join(slices.Compact(s), " ")
}

func (s state) matches(got state) bool {
	if len(s) != len(got) {
		return false
	}
	left := slices.Clone(got)
	for _, p := range s {
		i := slices.IndexFunc(left, func(q place) bool { return p.box == q.box && p.flags == q.flags && (p.uid == 0 || p.uid == q.uid) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// A find is a message that lies in a folder after a start.
type find struct {
	folder
	uid   imap.UID
	flags string
}

// compare compares what was found with what clients were told, and takes it for
// the truth from now on.
func (l *ledger) compare(round int, found map[held][]find) {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := map[held]state{}
	for h, fs := range found {
		if l.mail[h] == nil {
			l.t.Errorf("round %d: %v is there, and nobody put it there", round, h)
			continue
		}
		for _, f := range fs {
			got[h] = append(got[h], place{f.box, f.uid, f.flags})
			l.uid(f.folder, f.uid, h.id)
		}
	}
	// What became of changes without an answer: 1 is done, -1 not.
	outcome := map[held]int{}
	for h, r := range l.mail {
		i := slices.IndexFunc(r.may, func(s state) bool { return s.matches(got[h]) })
		if i < 0 {
			l.t.Errorf("round %d: %v: found %v, want one of %v", round, h, got[h], r.may)
		}
		if len(r.may) > 1 {
			l.open++
			if !r.may[1-max(i, 0)].matches(got[h]) { // else it changes nothing
				outcome[h] = 2*i - 1
			}
		}
		r.may, r.seen = []state{got[h]}, true
	}
	for _, all := range l.both {
		var yes, no int
		for _, h := range all {
			yes += max(outcome[h], 0)
			no -= min(outcome[h], 0)
		}
		if yes > 0 && no > 0 {
			l.t.Errorf("round %d: what was asked of %v at once happened to %d and not to %d", round, all, yes, no)
		}
	}
	l.both = nil
	maps.Copy(l.next, l.soon)
}

// counters compares what SELECT says with what it said before. It comes before
// compare.
func (l *ledger) counters(round int, f folder, sel *imap.SelectData) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, ok := l.valid[f]; ok && sel.UIDValidity != was {
		l.t.Errorf("round %d: %v: UIDVALIDITY %d, was %d", round, f, sel.UIDValidity, was)
	}
	l.valid[f] = sel.UIDValidity
	if least := max(l.next[f], l.most[f]+1); sel.UIDNext < least {
		l.t.Errorf("round %d: %v: UIDNEXT %d, want at least %d", round, f, sel.UIDNext, least)
	}
	l.soon[f] = sel.UIDNext
}

// means returns the ID of a message that was read before; it has the size it had
// then.
func (l *ledger) means(s spot, size int64) (id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, ok := l.read[s]
	if !ok {
		l.read[s] = size // it is read next
		return ""
	}
	if was != size {
		l.t.Errorf("%v: %d bytes, were %d", s, size, was)
	}
	return l.uids[s]
}

// leaves says that a message is on its way to some elsewhere.
func (l *ledger) leaves(id string, rcpts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out[id] = &outgoing{rcpts: rcpts}
}

// left says that it was acknowledged.
func (l *ledger) left(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out[id].acked = true
}

// outgoing is a message for elsewhere.
type outgoing struct {
	rcpts int
	acked bool
}

func (l *ledger) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}
