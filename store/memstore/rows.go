package memstore

import (
	"cmp"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

type (
	nameKey struct {
		account store.AccountID
		name    string
	}
	coldKey struct {
		account store.AccountID
		id      store.MessageID
	}
	objectKey struct{ kind, id string }
	threadKey struct {
		account store.AccountID
		key     store.ThreadKey
	}
	thread struct {
		id      store.ThreadID
		expires time.Time
	}
	placement struct {
		store.Placed
		expires time.Time
	}
	placeKey struct {
		box store.MailboxID
		uid store.UID
	}
)

type rows struct {
	accounts map[store.AccountID]store.Account
	boxes    map[store.MailboxID]store.Mailbox
	of       map[store.AccountID][]store.MailboxID // tombstones too
	names    map[nameKey]store.MailboxID           // of live mailboxes
	msgs     map[store.MailboxID]*list
	live     map[store.MessageID]placeKey
	cold     map[coldKey]store.Cold
	objects  map[store.AccountID]map[objectKey]store.Object
	placed   map[store.DeliveryKey]placement
	threads  map[threadKey]thread
	lastBox  store.MailboxID // numbers are not undone
	lastMsg  store.MessageID
}

func (r *rows) init() {
	if r.accounts != nil {
		return
	}
	*r = rows{
		accounts: map[store.AccountID]store.Account{},
		boxes:    map[store.MailboxID]store.Mailbox{},
		of:       map[store.AccountID][]store.MailboxID{},
		names:    map[nameKey]store.MailboxID{},
		msgs:     map[store.MailboxID]*list{},
		live:     map[store.MessageID]placeKey{},
		cold:     map[coldKey]store.Cold{},
		objects:  map[store.AccountID]map[objectKey]store.Object{},
		placed:   map[store.DeliveryKey]placement{},
		threads:  map[threadKey]thread{},
	}
}

// A list is the messages of one mailbox in order of UID. New ones come at the
// end, as a rule.
type list struct{ ms []store.Message }

func (l *list) find(uid store.UID) (int, bool) {
	return slices.BinarySearchFunc(l.ms, uid, func(m store.Message, uid store.UID) int { return cmp.Compare(m.UID, uid) })
}

// slice returns the rows from first to last, which may be zero for no bound.
func (l *list) slice(first, last store.UID) []store.Message {
	if l == nil {
		return nil
	}
	from, _ := l.find(first)
	to := len(l.ms)
	if last != 0 {
		var ok bool
		if to, ok = l.find(last); ok {
			to++
		}
	}
	return l.ms[from:max(from, to)]
}

// put sets a row and returns how to undo that.
func (l *list) put(m store.Message) (undo func()) {
	i, ok := l.find(m.UID)
	if ok {
		old := l.ms[i]
		l.ms[i] = m
		return func() { l.ms[i] = old }
	}
	l.ms = slices.Insert(l.ms, i, m)
	return func() { l.ms = slices.Delete(l.ms, i, i+1) }
}

// remove takes up to max rows out that pick picks, and returns them and how to
// undo that.
func (l *list) remove(max int, pick func(*store.Message) bool) (gone []store.Message, undo func()) {
	old := l.ms
	kept := make([]store.Message, 0, len(old))
	for i := range old {
		if len(gone) < max && pick(&old[i]) {
			gone = append(gone, old[i])
		} else {
			kept = append(kept, old[i])
		}
	}
	l.ms = kept
	return gone, func() { l.ms = old }
}
