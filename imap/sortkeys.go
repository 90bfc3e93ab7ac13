package imap

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// A sortKey is something of a message by which SORT and THREAD bring it in order
// (RFC 5256, 3; RFC 5957).
type sortKey uint8

const (
	byArrival sortKey = iota // seconds
	bySize
	byDate // seconds
	byCc   // here begin those that are texts
	byFrom
	byTo
	bySubject
	byDisplayFrom
	byDisplayTo
	byReferences // what THREAD asks for
	byRelevancy  // which depends on the search

	nNumbers = byCc
	nTexts   = byReferences - byCc
)

// keySet is a set of sort keys, a bit for each.
type keySet uint16

func (s keySet) has(k sortKey) bool { return s&(1<<k) != 0 }

// cold reports whether one of them needs more than the hot row.
func (s keySet) cold() bool { return s&^(1<<byArrival|1<<bySize|1<<byRelevancy) != 0 }

// maxKeyText is how many bytes of a text decide about the order. Longer ones that
// begin alike are ordered somehow, but the same are the same.
const maxKeyText = 256

// A messageID is a hash of one. The seeds are chosen anew for each cache, so that
// nobody can send messages whose IDs collide.
type messageID [2]uint64

// refs are what connects a message with others.
type refs struct {
	own   messageID // zero if it has none
	refs  []messageID
	reply bool // by its subject, which is bySubject
}

// A keyTable holds sort keys of messages of a mailbox, in order of UID. What
// messages say never changes, and neither does a table.
type keyTable struct {
	have    keySet
	uids    []store.UID
	numbers [nNumbers][]int64
	texts   [nTexts][]string
	refs    []refs
	bytes   int  // about what it takes
	damaged bool // some could not be read, and may be mended
}

// rows returns where in t the messages of spans are, by position in s, and -1 for
// those that are not.
func (t *keyTable) rows(s *snapshot, spans []span) iter.Seq2[int, int] {
	return func(yield func(pos, at int) bool) {
		i := 0
		for seq, r := range s.all(spans) {
			if i < len(t.uids) && t.uids[i] < r.uid {
				if i++; i < len(t.uids) && t.uids[i] < r.uid {
					n, _ := slices.BinarySearch(t.uids[i:], r.uid)
					i += n
				}
			}
			at := -1
			if i < len(t.uids) && t.uids[i] == r.uid {
				at = i
			}
			if !yield(int(seq)-1, at) {
				return
			}
		}
	}
}

// pick returns a table of those rows of t and u whose numbers are given: n below
// len(t.uids) is one of t, and -n-1 one of u.
func (t *keyTable) pick(u *keyTable, order []int32) *keyTable {
	out := &keyTable{have: t.have, uids: pickOf(t.uids, u.uids, order), bytes: t.bytes + u.bytes}
	for k := range out.numbers {
		out.numbers[k] = pickOf(t.numbers[k], u.numbers[k], order)
	}
	for k := range out.texts {
		out.texts[k] = pickOf(t.texts[k], u.texts[k], order)
	}
	out.refs = pickOf(t.refs, u.refs, order)
	return out
}

func pickOf[T any](a, b []T, order []int32) []T {
	if a == nil && b == nil {
		return nil
	}
	out := make([]T, len(order))
	for i, n := range order {
		if n >= 0 {
			out[i] = a[n]
		} else {
			out[i] = b[-n-1]
		}
	}
	return out
}

// join returns a table of the rows of both, which share no message.
func (t *keyTable) join(u *keyTable) *keyTable {
	if len(t.uids) == 0 {
		return u
	}
	if len(u.uids) == 0 {
		return t
	}
	order := make([]int32, 0, len(t.uids)+len(u.uids))
	for i, j := int32(0), int32(0); int(i) < len(t.uids) || int(j) < len(u.uids); {
		if int(j) == len(u.uids) || int(i) < len(t.uids) && t.uids[i] < u.uids[j] {
			order = append(order, i)
			i++
		} else {
			order = append(order, -j-1)
			j++
		}
	}
	return t.pick(u, order)
}

// Sort keys of so many bytes are kept for all mailboxes of a server together, and of
// one mailbox at most a part of that. A command may use maxOwnKeys, and what is more
// than that it refuses.
const (
	maxKeptKeys = 64 << 20
	maxBoxKeys  = 32 << 20
	maxOwnKeys  = 128 << 20
)

// A keyCache keeps sort keys of the mailboxes that were sorted last, so that sorting
// one again does not read all of its rows. Keys are of messages, not of accounts:
// those that share a mailbox share them.
type keyCache struct {
	once  sync.Once
	seeds [2]maphash.Seed
	turns chan struct{} // of large ones

	mu    sync.Mutex
	kept  []keptKeys // the one that was used last is last
	bytes int
}

type keptKeys struct {
	box      store.MailboxID
	validity uint32
	*keyTable
}

func (kc *keyCache) init() {
	kc.once.Do(func() {
		kc.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
		kc.turns = make(chan struct{}, maxLarge)
	})
}

// Of those that sort more messages than largeSort, maxLarge do so at a time: so what
// they all hold is bounded too.
const (
	largeSort = 20_000
	maxLarge  = 4
)

// turn waits until n messages may be sorted, and returns what ends that.
func (c *conn) turn(n int) (end func(), err error) {
	if n <= largeSort {
		return func() {}, nil
	}
	kc := &c.srv.state.keys
	kc.init()
	select {
	case kc.turns <- struct{}{}:
		return func() { <-kc.turns }, nil
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
}

func (kc *keyCache) find(box store.MailboxID, validity uint32) int {
	return slices.IndexFunc(kc.kept, func(k keptKeys) bool { return k.box == box && k.validity == validity })
}

// get returns what is kept of a mailbox, and keys of no message if that is nothing.
func (kc *keyCache) get(mb *store.Mailbox) *keyTable {
	kc.init()
	kc.mu.Lock()
	defer kc.mu.Unlock()
	i := kc.find(mb.ID, mb.UIDValidity)
	if i < 0 {
		return &keyTable{}
	}
	k := kc.kept[i]
	kc.kept = append(slices.Delete(kc.kept, i, i+1), k)
	return k.keyTable
}

// put keeps t in place of was, unless another was faster.
func (kc *keyCache) put(mb *store.Mailbox, was, t *keyTable) {
	kc.mu.Lock()
	defer kc.mu.Unlock()
	if i := kc.find(mb.ID, mb.UIDValidity); i >= 0 {
		if kc.kept[i].keyTable != was {
			return
		}
		kc.bytes -= was.bytes
		kc.kept = slices.Delete(kc.kept, i, i+1)
	}
	if t.bytes > maxBoxKeys {
		return
	}
	kc.kept = append(kc.kept, keptKeys{mb.ID, mb.UIDValidity, t})
	for kc.bytes += t.bytes; kc.bytes > maxKeptKeys; {
		kc.bytes -= kc.kept[0].bytes
		kc.kept = slices.Delete(kc.kept, 0, 1)
	}
}

// id hashes a message ID, or another text.
func (kc *keyCache) id(s string) messageID {
	return messageID{maphash.String(kc.seeds[0], s), maphash.String(kc.seeds[1], s) | 1}
}

// A keyed is a message with its place in a keyTable.
type keyed struct {
	pos int32 // in the snapshot
	row int32 // in the table
}

// keys returns the sort keys of messages. Those that have gone, or cannot be read,
// are left out.
func (c *conn) keys(cmd *command, spans []span, want keySet) (*keyTable, []keyed, error) {
	if spanLen(spans) == 0 {
		return &keyTable{}, nil, nil
	}
	snap := c.sel.snap
	cache := &c.srv.state.keys
	kept := cache.get(&snap.box)
	t := kept
	if want&^t.have != 0 {
		t = &keyTable{have: want | t.have} // all is read anew
	}
	var missing []span
	for pos, at := range t.rows(snap, spans) {
		if at < 0 {
			missing = addSpan(missing, pos)
		}
	}
	if len(missing) == 0 {
		// Nothing asks the store otherwise whether this may still be read.
		if _, err := c.sel.view.refresh(c.ctx); err != nil {
			return nil, nil, err
		}
	} else {
		more, err := c.readKeys(cmd, missing, t.have, maxOwnKeys-t.bytes)
		if err != nil {
			return nil, nil, err
		}
		if t = t.join(more); !more.damaged {
			cache.put(&snap.box, kept, t)
		}
	}
	found := make([]keyed, 0, spanLen(spans))
	for pos, at := range t.rows(snap, spans) {
		if at >= 0 {
			found = append(found, keyed{int32(pos), int32(at)})
		}
	}
	return t, found, nil
}

func addSpan(ss []span, pos int) []span {
	if n := len(ss); n > 0 && ss[n-1].hi == pos {
		ss[n-1].hi++
		return ss
	}
	return append(ss, span{pos, pos + 1})
}

// readKeys reads the rows of messages.
func (c *conn) readKeys(cmd *command, spans []span, want keySet, room int) (*keyTable, error) {
	level := hotRows
	if want.cold() {
		level = coldRows
	}
	t := &keyTable{have: want}
	done, progress := 0, c.progress(cmd, spanLen(spans))
	err := c.load(spans, level, func(es []*entry) error {
		if err := progress.at(done); err != nil {
			return err
		}
		done += len(es)
		for _, e := range es {
			if e.msg == nil {
				continue
			}
			var env *message.Envelope
			if level == coldRows {
				var err error
				if env, err = e.envelope(); err != nil {
					// It is there, so it has a place: that of one without a header.
					c.log.Error("imap: sorting a message", "mailbox", c.sel.id, "uid", e.row.uid, "err", err)
					env, t.damaged = new(message.Envelope), true
				}
			}
			t.add(&c.srv.state.keys, e.msg, env)
		}
		if t.bytes > room {
			return no("LIMIT", "Too much to sort")
		}
		return nil
	})
	return t, err
}

// add appends the keys of a message.
func (t *keyTable) add(kc *keyCache, m *store.Message, env *message.Envelope) {
	t.uids = append(t.uids, m.UID)
	t.bytes += 4
	for k := range nNumbers {
		if !t.have.has(k) {
			continue
		}
		t.bytes += 8
		var n int64
		switch k {
		case byArrival:
			n = m.Received.Unix() // as INTERNALDATE shows it
		case bySize:
			n = m.Size
		case byDate:
			if d, ok := sentDate(env.Date); ok {
				n = d.Unix()
			} else {
				n = m.Received.Unix() // RFC 5256, 2.2
			}
		}
		t.numbers[k] = append(t.numbers[k], n)
	}
	reply := false
	for k := byCc; k < byReferences; k++ {
		if !t.have.has(k) {
			continue
		}
		var s string
		switch k {
		case byCc:
			s = firstMailbox(env.Cc)
		case byFrom:
			s = firstMailbox(env.From)
		case byTo:
			s = firstMailbox(env.To)
		case bySubject:
			s, reply = baseSubject(env.Subject)
		case byDisplayFrom:
			s = displayName(env.From)
		case byDisplayTo:
			s = displayName(env.To)
		}
		s = kc.keyText(s)
		t.bytes += len(s) + 16
		t.texts[k-byCc] = append(t.texts[k-byCc], s)
	}
	if t.have.has(byReferences) {
		r := kc.refs(env)
		r.reply = reply
		t.bytes += 48 + 16*len(r.refs)
		t.refs = append(t.refs, r)
	}
}

// keyText is a text in the form in which it is compared.
func (kc *keyCache) keyText(s string) string {
	s = casemap(s)
	if len(s) <= maxKeyText {
		return strings.Clone(s)
	}
	id := kc.id(s)
	b := append(make([]byte, 0, maxKeyText+16), s[:maxKeyText]...)
	return string(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, id[0]), id[1]))
}

// refs returns what connects a message with others (RFC 5256, 3, step 1 of
// REFERENCES): the first ID of In-Reply-To counts only without References.
func (kc *keyCache) refs(env *message.Envelope) (r refs) {
	for _, id := range env.References {
		r.refs = append(r.refs, kc.id(plainID(id)))
	}
	if len(r.refs) == 0 {
		for _, id := range message.MessageIDs(env.InReplyTo) {
			r.refs = append(r.refs, kc.id(plainID(id)))
			break
		}
	}
	for _, id := range message.MessageIDs(env.MessageID) {
		r.own = kc.id(plainID(id))
		break
	}
	return r
}

// plainID takes away quotation marks that change nothing: <"x"@y> is <x@y> (RFC 5256,
// 2).
func plainID(s string) string {
	if s[0] != '"' {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return string(append(b, s[i+1:]...))
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b = append(b, s[i])
	}
	return s
}

// firstMailbox is what CC, FROM and TO compare: addr-mailbox of the first address.
func firstMailbox(list []message.Address) string {
	if len(list) == 0 {
		return ""
	}
	return list[0].Mailbox
}

// displayName is what DISPLAYFROM and DISPLAYTO compare (RFC 5957, 3): the name of
// the first address or group, or else the address.
func displayName(list []message.Address) string {
	if len(list) == 0 {
		return ""
	}
	a := list[0]
	if a.Host == "" {
		return message.DecodeHeader(a.Mailbox)
	}
	if name := message.DecodeHeader(a.Name); name != "" {
		return name
	}
	return a.Mailbox + "@" + a.Host
}

// compare compares two messages by one key.
func (t *keyTable) compare(k sortKey, a, b int32) int {
	if k < nNumbers {
		return cmp.Compare(t.numbers[k][a], t.numbers[k][b])
	}
	return strings.Compare(t.texts[k-byCc][a], t.texts[k-byCc][b])
}
