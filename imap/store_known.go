package imap

import (
	"strings"

	"github.com/mailkeel/mailkeel/store"
)

// manyStored is from how many messages on a STORE is carried out by what the view
// knows of them.
const manyStored = 32

// storeKnown is a STORE of many messages whose flags nobody needs to read: the view
// knows them, and moves on to what they become. It returns store.ErrStale if there
// is anything to look at: the mailbox is another's, or not as this session knows it,
// or some message has changed since what UNCHANGEDSINCE says.
func (c *conn) storeKnown(what store.FlagChange, spans []span) (*snapshot, error) {
	v, was := c.sel.view, c.sel.snap
	if spanLen(spans) < manyStored || v.cur.Load() != was || was.box.Account != c.account {
		return nil, store.ErrStale
	}
	runs, ok := was.runs(spans, what.UnchangedSince)
	if !ok {
		return nil, store.ErrStale
	}
	changed, box, err := c.access.SetKnownFlags(c.ctx, c.sel.id, was.box.ModSeq, what, runs)
	if err != nil {
		return nil, err
	}
	if len(changed) == 0 {
		return was, nil
	}
	words := newWordList(was.keywords)
	var changes []change
	for _, run := range changed {
		words.add(run.Flags)
		flags := joinFlags(run.Flags)
		pos, _ := was.find(run.First)
		for _, r := range was.all([]span{{pos, pos + run.N}}) {
			changes = append(changes, change{row: row{r.uid, flags, box.ModSeq}})
		}
	}
	next := was.apply(changes)
	next.box, next.keywords = box, words.list
	if v.advance(was, next) {
		return next, nil
	}
	if is, err := v.refresh(c.ctx); err == nil { // somebody has read it already
		return is, nil
	}
	return next, nil // it is done, whatever can be read now
}

// runs returns the messages of spans in runs of equal flags. It reports false if one
// has changed after since.
func (s *snapshot) runs(spans []span, since *store.ModSeq) (runs []store.KnownRun, ok bool) {
	lists := map[flagSet][]string{}
	for _, sp := range spans {
		var last flagSet
		begun := false
		for _, r := range s.all([]span{sp}) {
			if since != nil && r.modSeq > *since {
				return nil, false
			}
			if begun && r.flags == last {
				runs[len(runs)-1].Last = r.uid
				runs[len(runs)-1].N++
				continue
			}
			flags, known := lists[r.flags]
			if !known {
				flags = strings.Fields(r.flags.Value())
				lists[r.flags] = flags
			}
			runs = append(runs, store.KnownRun{FlagRun: store.FlagRun{First: r.uid, Last: r.uid, Flags: flags}, N: 1})
			last, begun = r.flags, true
		}
	}
	return runs, true
}

// advance moves the view from one snapshot to the next, unless somebody else has
// moved it.
func (v *view) advance(was, next *snapshot) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cur.CompareAndSwap(was, next)
}
