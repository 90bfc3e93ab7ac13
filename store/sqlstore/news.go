package sqlstore

import (
	"cmp"
	"slices"
	"sort"
	"sync"

	"github.com/mailkeel/mailkeel/store"
)

const (
	// maxNewsRows is how many messages of one Update are remembered, about.
	maxNewsRows = 64
	// maxNews is how much is remembered in all before it is forgotten: rows, and
	// newsItemSize for each item. It is about 100 bytes each.
	maxNews      = 1 << 14
	newsItemSize = 3
)

// news is what was committed last, by mailbox, for store.Recent. Only a writer that is
// alone can know that.
type news struct {
	mu    sync.Mutex
	boxes map[store.MailboxID][]newsItem
	size  int
	begun map[store.MailboxID]newsPart // empty but in add
}

func newNews() *news {
	return &news{boxes: map[store.MailboxID][]newsItem{}, begun: map[store.MailboxID]newsPart{}}
}

// A newsPart is the beginning of an item.
type newsPart struct {
	rows []newsRow
	lost bool
}

// A newsItem is all that one Update changed in a mailbox: it was at prev, and is box
// now. Items of a mailbox follow on each other.
type newsItem struct {
	prev store.ModSeq
	box  store.Mailbox
	rows []newsRow
}

type newsRow struct {
	uid  store.UID
	seq  store.ModSeq
	set  flagSet
	gone bool
}

// A newsNote is a part of an item that is not committed yet: a row, or with item the
// end, or neither for what is not remembered.
type newsNote struct {
	at   store.MailboxID
	row  newsRow
	item *newsItem
	now  *hotRow // of row, if what it was is remembered
}

func (n *newsNote) lost() bool { return n.item == nil && n.row.uid == 0 }

// hot is what is to be remembered of a row; nothing if it has gone.
func (n *newsNote) hot() (r hotRow) {
	if n.now != nil {
		r = *n.now
	}
	return r
}

// noteRow notes a message that is written.
func (h *held) noteRow(m *heldMessage) {
	if h.news == nil {
		return
	}
	if len(h.notes)-h.noted > maxNewsRows {
		h.noteLost(m.Mailbox)
		return
	}
	note := newsNote{at: m.Mailbox, row: newsRow{m.UID, m.ModSeq, flagSet{m.bits, m.words}, m.Expunged}}
	if h.hot.has(m.Mailbox, m.UID) {
		r := packHot(&m.Message, packRef(m.Blob), note.row.set)
		note.now = &r
	}
	h.notes = append(h.notes, note)
}

// noteLost notes that what changes in a mailbox is not remembered.
func (h *held) noteLost(id store.MailboxID) {
	if n := len(h.notes); h.news != nil && (n == h.noted || h.notes[n-1].at != id || !h.notes[n-1].lost()) {
		h.notes = append(h.notes, newsNote{at: id})
	}
}

// noteBox notes that a mailbox changed from what was.
func (h *held) noteBox(was, is *store.Mailbox) {
	if h.news != nil {
		h.notes = append(h.notes, newsNote{at: is.ID, item: &newsItem{prev: was.ModSeq, box: *is}})
	}
}

// Committed makes news of notes.
func (h *held) Committed() {
	if h.blind {
		h.hot.clear()
		h.blind = false
	}
	if len(h.notes) > 0 {
		h.hot.commit(h.notes)
		h.news.add(h.notes)
		clear(h.notes)
		h.notes, h.noted = h.notes[:0], 0
	}
}

// add takes the notes of a commit, in their order: what an Update wrote of a mailbox ends
// with the mailbox.
func (n *news) add(notes []newsNote) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range notes {
		x := &notes[i]
		part := n.begun[x.at]
		switch {
		case x.item != nil:
			delete(n.begun, x.at)
			n.put(x.at, x.item, part)
		case x.lost():
			n.begun[x.at] = newsPart{lost: true}
		case !part.lost:
			part.rows = append(part.rows, x.row)
			n.begun[x.at] = part
		}
	}
	for id := range n.begun {
		delete(n.boxes, id)
	}
	clear(n.begun)
}

// put adds an item, if it is whole.
func (n *news) put(id store.MailboxID, item *newsItem, part newsPart) {
	other := func(r newsRow) bool { return r.seq != item.box.ModSeq }
	if part.lost || item.box.ModSeq <= item.prev || slices.ContainsFunc(part.rows, other) {
		delete(n.boxes, id)
		return
	}
	if n.size += newsItemSize + len(part.rows); n.size > maxNews {
		clear(n.boxes)
		n.size = newsItemSize + len(part.rows)
	}
	item.rows = part.rows
	items := n.boxes[id]
	if k := len(items); k > 0 && items[k-1].box.ModSeq != item.prev {
		items = nil
	}
	n.boxes[id] = append(items, *item)
}

func (n *news) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.boxes)
	n.size = 0
}

// after returns the items after a ModSeq. They are not changed.
func (n *news) after(id store.MailboxID, after store.ModSeq) (items []newsItem, box store.Mailbox, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	items = n.boxes[id]
	k := len(items)
	if k == 0 {
		return nil, box, false
	}
	if box = items[k-1].box; box.ModSeq == after {
		return nil, box, true
	}
	i := sort.Search(k, func(i int) bool { return items[i].prev >= after })
	if i == k || items[i].prev != after {
		return nil, box, false
	}
	return items[i:k:k], box, true
}

// Recent answers from what was committed last, if nobody else writes.
func (b *Backend) Recent(id store.MailboxID, after store.ModSeq) (box store.Mailbox, ms []store.Message, ok bool) {
	if b.shared == nil || b.shared.news == nil {
		return box, nil, false
	}
	items, box, ok := b.shared.news.after(id, after)
	var rows []newsRow
	for _, x := range items {
		rows = append(rows, x.rows...)
	}
	if len(items) > 1 {
		rows = inOrder(rows, func(a, b newsRow) int { return cmp.Compare(a.uid, b.uid) })
	} else {
		slices.SortFunc(rows, func(a, b newsRow) int { return cmp.Compare(a.uid, b.uid) })
	}
	for _, r := range rows {
		m := store.Message{Account: box.Account, Mailbox: id, UID: r.uid, ModSeq: r.seq, Expunged: r.gone}
		if !r.gone {
			m.Flags = unpackFlags(r.set)
		}
		ms = append(ms, m)
	}
	return box, ms, ok
}
