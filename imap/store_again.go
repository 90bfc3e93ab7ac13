package imap

import (
	"slices"

	"github.com/mailkeel/mailkeel/store"
)

// storeAgain tries once more those of a conditional STORE that failed, if somebody
// has changed other flags of them than those it names: so that a client is not
// refused for what it does not care about (RFC 7162, 3.1.12). is is what there is
// now, and what is left of failed stays.
//
// The client speaks of the flags that it was told only if its MODSEQ is not older
// than they are.
func (c *conn) storeAgain(change store.FlagChange, is *snapshot, failed []store.UID) (*snapshot, []store.UID) {
	if change.Replace {
		return is, failed
	}
	var again []store.UID
	for _, uid := range failed {
		was, ok := c.sel.snap.get(uid)
		if r, there := is.get(uid); ok && there && was.modSeq <= *change.UnchangedSince && !touches(&change, was.flags, r.flags) {
			again = append(again, uid)
		}
	}
	if len(again) == 0 {
		return is, failed
	}
	change.UnchangedSince = &is.box.ModSeq // none may have changed since we looked
	_, still, err := c.access.SetFlags(c.ctx, c.sel.id, change, again...)
	if err != nil {
		c.log.Error("imap: conditional STORE", "err", err)
		return is, failed // they failed before
	}
	failed = slices.DeleteFunc(failed, func(uid store.UID) bool {
		_, tried := slices.BinarySearch(again, uid)
		_, not := slices.BinarySearch(still, uid)
		return tried && !not
	})
	if now, err := c.sel.view.refresh(c.ctx); err == nil {
		is = now
	}
	return is, failed
}

// touches reports whether a flag that a change names is not as it was.
func touches(change *store.FlagChange, was, is flagSet) bool {
	for _, list := range [][]string{change.Add, change.Remove} {
		for _, f := range list {
			if hasFlag(was, f) != hasFlag(is, f) {
				return true
			}
		}
	}
	return false
}

// get returns the row of a message.
func (s *snapshot) get(uid store.UID) (row, bool) {
	pos, ok := s.find(uid)
	if !ok {
		return row{}, false
	}
	return s.at(pos), true
}
