package sqlstore

import (
	"sync"

	"github.com/mailkeel/mailkeel/store"
)

// A lent is memory for what one Messages reads before it yields.
type lent struct {
	batch []store.Message
	hots  []hotRow
}

// maxLent is for how many messages memory is kept: lists are read some at a time.
const maxLent = 256

type lender struct{ pool sync.Pool }

// borrow gives memory for about n messages.
func (t *tx) borrow(n int) *lent {
	if n <= maxLent && t.lender != nil {
		if l, ok := t.lender.pool.Get().(*lent); ok {
			return l
		}
	}
	return &lent{batch: make([]store.Message, 0, n)}
}

func (t *tx) giveBack(l *lent) {
	if n := cap(l.batch); n > maxLent || t.lender == nil {
		return
	}
	clear(l.batch) // names of contents
	l.batch, l.hots = l.batch[:0], l.hots[:0]
	t.lender.pool.Put(l)
}
