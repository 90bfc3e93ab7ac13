package sqlstore

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mailkeel/mailkeel/store"
)

const (
	hotRun = 32 // UIDs that are remembered together
	// maxHot is how many runs are remembered: 131,072 messages at most, about 120
	// bytes each.
	maxHot   = 4096
	hotSlots = 256
)

// hot remembers rows of messages that are likely to be read again. Each commit makes
// SQLite forget what it has read, so that a few rows cost a walk through the file; of a
// mailbox in use a hundred connections read the same ones. Only a writer that is alone
// can know that they are as they were.
//
// A reader notes the number of commits before its snapshot is taken. What it then read
// is remembered unless a later commit changed something near it.
type hot struct {
	commits atomic.Uint64

	mu      sync.RWMutex
	runs    map[hotKey]*hotRows
	order   []hotKey         // in which they came, with some that have gone
	changed [hotSlots]uint64 // the commit that changed a run of this slot last
	floor   uint64           // the commit before which nothing is known
}

type hotKey struct {
	box store.MailboxID
	run uint32
}

func hotKeyOf(id store.MailboxID, uid store.UID) hotKey { return hotKey{id, uint32(uid) / hotRun} }

func (k hotKey) slot() uint32 { return (uint32(k.box)*31 + k.run) % hotSlots }

type hotRows struct {
	account store.AccountID
	rows    [hotRun]hotRow
}

// A hotRow is a live message. Those without have the ID zero.
type hotRow struct {
	id                     store.MessageID
	thread                 store.ThreadID
	created, added, modSeq store.ModSeq
	received, saved        int64
	size                   int64
	set                    flagSet
	ref                    [32]byte
}

// packHot returns a row for m. Only messages whose content has a name of the usual form are
// remembered; of others it is nothing.
func packHot(m *store.Message, ref []byte, set flagSet) (r hotRow) {
	if m.Expunged || len(ref) != len(r.ref) {
		return r
	}
	r = hotRow{
		id: m.ID, thread: m.Thread, created: m.Created, added: m.Added, modSeq: m.ModSeq,
		received: m.Received.UnixMilli(), saved: m.Saved.UnixMilli(), size: m.Size, set: set,
	}
	copy(r.ref[:], ref)
	return r
}

// hot is packHot for the message that was read last.
func (d *messageReader) hot(m *store.Message) hotRow { return packHot(m, d.ref, d.last) }

func (r *hotRow) unpack(d *messageReader, uid store.UID) store.Message {
	return store.Message{
		Account: d.account, Mailbox: d.box, UID: uid, ID: r.id, Thread: r.thread, Created: r.created, Added: r.added, ModSeq: r.modSeq,
		Flags: d.flagsOf(r.set), Received: unpackTime(r.received), Saved: unpackTime(r.saved), Size: r.size, Blob: unpackRef(r.ref[:]),
	}
}

// get appends those of some messages of an account that are remembered.
func (h *hot) get(account store.AccountID, id store.MailboxID, uids []store.UID, out []store.Parsed) []store.Parsed {
	h.mu.RLock()
	defer h.mu.RUnlock()
	d := messageReader{account: account, box: id}
	var at hotKey
	var run *hotRows
	for _, uid := range uids {
		if k := hotKeyOf(id, uid); k != at {
			if at, run = k, h.runs[k]; run != nil && run.account != account {
				return out
			}
		}
		if run == nil {
			continue
		}
		if r := &run.rows[uid%hotRun]; r.id != 0 {
			out = append(out, store.Parsed{Message: r.unpack(&d, uid)})
		}
	}
	return out
}

func (h *hot) has(id store.MailboxID, uid store.UID) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	run := h.runs[hotKeyOf(id, uid)]
	return run != nil && run.rows[uid%hotRun].id != 0
}

// put remembers live messages of one mailbox that a reader found whose snapshot is of
// after that commit, and their rows.
func (h *hot) put(after uint64, ms []store.Message, rows []hotRow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after < h.floor {
		return
	}
	for i := range ms {
		m := &ms[i]
		k := hotKeyOf(m.Mailbox, m.UID)
		r := rows[i]
		if r.id == 0 || h.changed[k.slot()] > after {
			continue
		}
		if r.modSeq != m.ModSeq { // there is a mark
			bits, words, err := packFlags(m.Flags)
			if err != nil {
				continue
			}
			r.modSeq, r.set = m.ModSeq, flagSet{bits, words}
		}
		run := h.runs[k]
		if run == nil {
			run = h.add(k, m.Account)
		}
		run.rows[m.UID%hotRun] = r
	}
}

// add makes room for a run.
func (h *hot) add(k hotKey, account store.AccountID) *hotRows {
	for len(h.runs) >= maxHot {
		delete(h.runs, h.order[0])
		h.order = h.order[1:]
	}
	if len(h.order) >= 2*maxHot {
		h.order = h.order[:0:0]
		for k := range h.runs {
			h.order = append(h.order, k)
		}
	}
	if h.runs == nil {
		h.runs = map[hotKey]*hotRows{}
	}
	run := &hotRows{account: account}
	h.runs[k], h.order = run, append(h.order, k)
	return run
}

// commit takes what a commit changed.
func (h *hot) commit(notes []newsNote) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.commits.Add(1)
	var lost map[store.MailboxID]struct{}
	for i := range notes {
		switch x := &notes[i]; {
		case x.item != nil:
		case x.lost():
			if lost == nil {
				lost = map[store.MailboxID]struct{}{}
			}
			lost[x.at] = struct{}{}
		default:
			k := hotKeyOf(x.at, x.row.uid)
			h.changed[k.slot()] = now
			if run := h.runs[k]; run != nil {
				run.rows[x.row.uid%hotRun] = x.hot()
			}
		}
	}
	if lost != nil {
		h.floor = now
		maps.DeleteFunc(h.runs, func(k hotKey, _ *hotRows) bool {
			_, gone := lost[k.box]
			return gone
		})
	}
}

func (h *hot) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor = h.commits.Add(1)
	clear(h.runs)
	h.order = nil
}

// maxNotes is how many notes of the transaction at hand are looked through for a message.
const maxNotes = 256

// Recall answers in an Update, if what the transaction has changed so far is not among
// the messages.
func (t *tx) Recall(id store.MailboxID, uids []store.UID) ([]store.Message, bool) {
	if t.h == nil || t.h.hot == nil || t.h.blind || len(t.h.notes) > maxNotes {
		return nil, false
	}
	for i := range t.h.notes {
		if n := &t.h.notes[i]; n.at == id && n.item == nil && (n.lost() || slices.Contains(uids, n.row.uid)) {
			return nil, false
		}
	}
	account, _, err := t.owner(id)
	if err != nil {
		return nil, false
	}
	ps := t.h.hot.get(account, id, uids, nil)
	if len(ps) < len(uids) {
		return nil, false
	}
	ms := make([]store.Message, len(ps))
	for i := range ps {
		ms[i] = ps[i].Message
	}
	return ms, true
}

// Remembered appends those of some messages that nobody has changed since they were read.
func (b *Backend) Remembered(account store.AccountID, id store.MailboxID, uids []store.UID, out []store.Parsed) []store.Parsed {
	if b.shared == nil || b.shared.hot == nil {
		return out
	}
	return b.shared.hot.get(account, id, uids, out)
}
