package imap

import (
	"context"
	"errors"
	"slices"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// worthAsking is how many messages must be undecided for the index to be asked. Fewer
// are read as fast.
const worthAsking = 32

// hints is what the index says of the texts that a query looks for. It is used by
// several goroutines.
type hints struct {
	headers      []*search.Answer // of query.headers
	bodies, tops []*search.Answer // of query.needles
	anywhere     []bool           // of query.needles: also in the header
}

// consult asks the index about the messages of spans; nil if it knows nothing.
func (c *conn) consult(q *query, open []span) *hints {
	if c.srv.Search == nil || len(q.headers)+len(q.needles) == 0 {
		return nil
	}
	snap := c.sel.snap
	ask := search.Query{Mailbox: c.sel.id, First: snap.at(open[0].lo).uid, Last: snap.at(open[len(open)-1].hi - 1).uid}
	account := snap.box.Account
	failed := false
	find := func(where search.Where, field, text string) *search.Answer {
		if failed {
			return nil
		}
		ask.Where, ask.Field, ask.Text = where, field, text
		a, err := c.srv.Search.Find(c.ctx, account, ask)
		if err != nil {
			if !errors.Is(err, search.ErrNoAnswer) && !errors.Is(err, context.Canceled) {
				failed = true
				c.log.Warn("imap: the search index fails, so messages are read", "err", err)
			}
			return nil
		}
		return &a
	}
	h := &hints{headers: make([]*search.Answer, len(q.headers)), bodies: make([]*search.Answer, len(q.needles)), tops: make([]*search.Answer, len(q.needles)), anywhere: make([]bool, len(q.needles))}
	for i, k := range q.headers {
		h.headers[i] = find(search.Field, k.field, k.text)
	}
	for i := range q.needles {
		n := &q.needles[i]
		h.anywhere[i] = n.header
		if len(n.Text()) == 0 {
			continue
		}
		if h.bodies[i] = find(search.Body, "", string(n.Text())); n.header && h.bodies[i] != nil {
			h.tops[i] = find(search.Header, "", string(n.Text()))
		}
	}
	return h
}

// tell writes what the index says of a message into f.
func (h *hints) tell(f *facts, uid store.UID) {
	if h == nil {
		return
	}
	for i, a := range h.headers {
		f.header[i] = says(a, uid)
	}
	for i, a := range h.bodies {
		v := says(a, uid)
		if v != holds && h.anywhere[i] {
			v = max(v, says(h.tops[i], uid))
		}
		f.text[i] = v
	}
}

func says(a *search.Answer, uid store.UID) verdict {
	switch {
	case a == nil || !among(a.Known, uid):
		return unknown
	case among(a.Sure, uid):
		return holds
	case among(a.Maybe, uid):
		return unknown
	}
	return fails
}

func among(list []store.UID, uid store.UID) bool {
	// Mostly the index knows every message, with few gaps between their UIDs.
	if len(list) > 0 && uid >= list[0] {
		if i := int(uid - list[0]); i < len(list) && list[i] == uid {
			return true
		}
	}
	_, ok := slices.BinarySearch(list, uid)
	return ok
}
