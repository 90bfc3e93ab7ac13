package sqlstore

import (
	"sync"

	"github.com/mailkeel/mailkeel/store"
)

// owners remembers whose mailboxes are, which never changes: a MailboxID is not used
// again. What a writer makes is not noted, since it may be undone.
type owners struct {
	mu sync.RWMutex
	of map[store.MailboxID]owner
}

type owner struct {
	account store.AccountID
	num     int64
}

func (o *owners) get(id store.MailboxID) (owner, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	w, ok := o.of[id]
	return w, ok
}

func (o *owners) note(id store.MailboxID, w owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil || len(o.of) >= maxCached {
		o.of = make(map[store.MailboxID]owner)
	}
	o.of[id] = w
}
