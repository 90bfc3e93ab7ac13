package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/store"
)

// Limits of the results that a session is kept up to date about.
const (
	maxContexts       = 10
	maxContextResults = 200_000 // in all of them together
)

// A liveResult is what a SEARCH or SORT found whose client wants to hear what comes to
// it and leaves it (RFC 5267, 4.3). It ends with the selection of its mailbox.
type liveResult struct {
	tag   string
	uid   bool
	keys  *criteria
	order []criterion // nil for SEARCH
	uids  []store.UID // in order
	snap  *snapshot   // what it is up to date with
}

// keepUp begins to tell the client about a result, or says that it will not.
func (c *conn) keepUp(cmd *command, k *criteria, order []criterion, found outcome) {
	frozen, ok := k.frozen(c.sel)
	total := found.len()
	for _, l := range c.sel.live {
		total += len(l.uids)
	}
	why := ""
	switch {
	case !ok || slices.ContainsFunc(order, func(x criterion) bool { return x.key == byRelevancy }):
		why = "It depends on more than the messages"
	case len(c.sel.live) == maxContexts:
		why = "Too many contexts"
	case total > maxContextResults:
		why = "Too many messages in contexts"
	}
	if why != "" {
		c.noUpdate(cmd.tag, why)
		return
	}
	l := &liveResult{tag: cmd.tag, uid: cmd.uid, keys: frozen, order: order, snap: c.sel.snap}
	for uid := range found.numbers(true) {
		l.uids = append(l.uids, store.UID(uid))
	}
	c.sel.live = append(c.sel.live, l)
}

// noUpdate refuses updates, now or from now on (RFC 5267, 4.3.1).
func (c *conn) noUpdate(tag, why string) {
	c.w.raw("* NO [NOUPDATE ")
	c.w.string(tag)
	c.w.raw("] ")
	c.w.raw(why)
	c.w.crlf()
}

// wantsUpdates checks a command that asks for updates: its tag is the name of them.
func (c *conn) wantsUpdates(cmd *command, r *returns) error {
	if r.update && slices.ContainsFunc(c.sel.live, func(l *liveResult) bool { return l.tag == cmd.tag }) {
		return bad("The tag names another context")
	}
	return nil
}

// cancelUpdate is CANCELUPDATE (RFC 5267, 4.3.5).
func (c *conn) cancelUpdate(cmd *command) error {
	var tags []string
	for cmd.sp(); cmd.ok(); cmd.sp() {
		if tags = append(tags, cmd.string()); len(trimSpace(cmd.line)) == 0 || len(tags) > maxContexts {
			break
		}
	}
	if err := cmd.end(); err != nil {
		return err
	}
	for _, tag := range tags {
		if !slices.ContainsFunc(c.sel.live, func(l *liveResult) bool { return l.tag == tag }) {
			return bad("No context has such a tag")
		}
	}
	c.sel.live = slices.DeleteFunc(c.sel.live, func(l *liveResult) bool { return slices.Contains(tags, l.tag) })
	return nil
}

// frozen returns keys whose sequence numbers and "$" mean for ever the messages that
// they mean now. It reports false if more than messages decide: time, or which is the
// last.
func (k *criteria) frozen(sel *selection) (*criteria, bool) {
	out := *k
	if !k.Older.IsZero() || !k.Younger.IsZero() {
		return nil, false
	}
	out.SeqNum, out.UID = nil, nil
	for _, set := range k.SeqNum {
		if slices.ContainsFunc(set, func(r imap.SeqRange) bool { return r.Start == 0 || r.Stop == 0 }) {
			return nil, false
		}
		uids := imap.UIDSet{} // not nil: an empty set matches nothing
		for _, s := range sel.snap.anySeqSpans(set) {
			uids = append(uids, imap.UIDRange{Start: imap.UID(sel.snap.at(s.lo).uid), Stop: imap.UID(sel.snap.at(s.hi - 1).uid)})
		}
		out.UID = append(out.UID, uids)
	}
	for _, set := range k.UID {
		if imap.IsSearchRes(set) {
			set = slices.Clone(sel.saved)
		}
		if slices.ContainsFunc(set, func(r imap.UIDRange) bool { return r.Start == 0 || r.Stop == 0 }) {
			return nil, false
		}
		out.UID = append(out.UID, set)
	}
	out.Not, out.Or = make([]criteria, len(k.Not)), make([][2]criteria, len(k.Or))
	for i := range k.Not {
		x, ok := k.Not[i].frozen(sel)
		if !ok {
			return nil, false
		}
		out.Not[i] = *x
	}
	for i := range k.Or {
		for j := range 2 {
			x, ok := k.Or[i][j].frozen(sel)
			if !ok {
				return nil, false
			}
			out.Or[i][j] = *x
		}
	}
	return &out, true
}

// liveGone tells that messages leave results because they have gone, by their
// positions in what the client knows. It comes before EXPUNGE does, so that sequence
// numbers are right.
func (c *conn) liveGone(was *snapshot, gone []int) {
	if len(gone) == 0 {
		return
	}
	for _, l := range c.sel.live {
		left := make(map[store.UID]bool, len(gone))
		for _, pos := range gone {
			left[was.at(pos).uid] = true
		}
		c.removeFrom(l, was, left)
	}
}

// liveChanged tells what came to results and left them since it was told last.
func (c *conn) liveChanged() {
	if c.sel == nil || len(c.sel.live) == 0 {
		return
	}
	c.sel.live = slices.DeleteFunc(c.sel.live, func(l *liveResult) bool {
		if l.snap == c.sel.snap {
			return false
		}
		err := c.liveUpdate(l)
		if err != nil {
			c.log.Error("imap: updating a search", "mailbox", c.sel.id, "err", err)
			c.noUpdate(l.tag, "It cannot be kept up to date")
		}
		return err != nil
	})
}

func (c *conn) liveUpdate(l *liveResult) error {
	snap := c.sel.snap
	_, changed, added := l.snap.diff(snap)
	l.snap = snap
	var spans []span
	for _, list := range [2][]row{changed, added} { // those that were added come last
		for _, r := range list {
			if pos, ok := snap.find(r.uid); ok {
				spans = addSpan(spans, pos)
			}
		}
	}
	if len(spans) == 0 {
		return nil
	}
	found, err := c.findIn(nil, l.keys, spans, asBeginnings)
	if err != nil {
		return err
	}
	in := make(map[store.UID]bool, len(l.uids))
	for _, uid := range l.uids {
		in[uid] = true
	}
	left, come := map[store.UID]bool{}, []store.UID{}
	for seq, r := range snap.all(spans) {
		switch is := found.has(int(seq) - 1); {
		case in[r.uid] && !is:
			left[r.uid] = true
		case !in[r.uid] && is:
			come = append(come, r.uid)
		}
	}
	c.removeFrom(l, snap, left)
	if len(come) == 0 {
		return nil
	}
	return c.addTo(l, come)
}

// removeFrom tells that messages leave a result. In one that is sorted each has its
// position at that moment, so the last goes first.
func (c *conn) removeFrom(l *liveResult, snap *snapshot, left map[store.UID]bool) {
	u := updateWriter{c: c, l: l, what: "REMOVEFROM"}
	for i := len(l.uids) - 1; i >= 0; i-- {
		if uid := l.uids[i]; left[uid] {
			u.add(i+1, u.number(snap, uid))
		}
	}
	if u.end() {
		l.uids = slices.DeleteFunc(l.uids, func(uid store.UID) bool { return left[uid] })
	}
}

// addTo tells that messages come to a result.
func (c *conn) addTo(l *liveResult, come []store.UID) error {
	snap := c.sel.snap
	fresh := make(map[store.UID]bool, len(come))
	for _, uid := range come {
		fresh[uid] = true
	}
	all := append(l.uids, come...)
	slices.Sort(all)
	if l.order != nil {
		var spans []span
		for _, uid := range all {
			if pos, ok := snap.find(uid); ok {
				spans = addSpan(spans, pos)
			}
		}
		t, list, err := c.keys(nil, spans, keysOf(l.order))
		if err != nil {
			return err
		}
		sortKeyed(t, l.order, list, nil)
		all = all[:0]
		for _, m := range list {
			all = append(all, snap.at(int(m.pos)).uid)
		}
	}
	total := len(all)
	for _, other := range c.sel.live {
		if other != l {
			total += len(other.uids)
		}
	}
	if total > maxContextResults {
		return no(imap.ResponseCodeLimit, "Too many messages in contexts")
	}
	l.uids = all
	u := updateWriter{c: c, l: l, what: "ADDTO"}
	for i, uid := range l.uids { // those before it are there when it comes
		if fresh[uid] {
			u.add(i+1, u.number(snap, uid))
		}
	}
	u.end()
	return nil
}

// An updateWriter writes an ESEARCH response with ADDTO or REMOVEFROM, if there is
// anything to say (RFC 5267, 4.3.3 and 4.3.4).
type updateWriter struct {
	c     *conn
	l     *liveResult
	what  string
	plain []uint32 // of a result in the order of the mailbox, whose position is 0
	begun bool
}

func (u *updateWriter) number(snap *snapshot, uid store.UID) uint32 {
	if u.l.uid {
		return uint32(uid)
	}
	pos, _ := snap.find(uid)
	return uint32(pos) + 1
}

func (u *updateWriter) head() {
	w := &u.c.w
	if u.begun {
		w.sp()
		return
	}
	u.begun = true
	w.raw("* ESEARCH (TAG ")
	w.string(u.l.tag)
	w.byte(')')
	if u.l.uid {
		w.raw(" UID")
	}
	w.sp()
	w.raw(u.what)
	w.raw(" (")
}

func (u *updateWriter) add(pos int, n uint32) {
	if u.l.order == nil {
		u.plain = append(u.plain, n)
		return
	}
	u.head()
	u.c.w.num(uint64(pos))
	u.c.w.sp()
	u.c.w.num(uint64(n))
}

// end ends the response, and reports whether there is one.
func (u *updateWriter) end() bool {
	if len(u.plain) > 0 {
		u.head()
		u.c.w.raw("0 ")
		slices.Sort(u.plain)
		u.c.w.set(slices.Values(u.plain))
	}
	if u.begun {
		u.c.w.byte(')')
		u.c.w.crlf()
	}
	return u.begun
}
