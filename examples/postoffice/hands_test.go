package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	inbox   = "INBOX"
	shelf   = "Shelf" // where ann's clients work, several at once
	attic   = "Attic" // where they put things
	archive = "Filed" // where readers put what came
	secret  = "secret-of-all"
)

var (
	users = []string{"ann", "bob", "cat"}
	boxes = []string{inbox, shelf, attic, archive}
)

// A hand is one client that works until its connection breaks.
type hand struct {
	*ledger
	name string
	rnd  *rand.Rand
	n    int
}

func (h *hand) id() string {
	h.n++
	return fmt.Sprintf("%s.%d", h.name, h.n)
}

// size is mostly that of a note, and now and then more than a small blob may have.
func (h *hand) size() int {
	switch p := h.rnd.IntN(100); {
	case p < 70:
		return 100 + h.rnd.IntN(4000)
	case p < 94:
		return 4000 + h.rnd.IntN(40_000)
	case p < 99:
		return 40_000 + h.rnd.IntN(100_000)
	}
	return 130_000 + h.rnd.IntN(400_000)
}

// some picks one to most of list, without repetition.
func (h *hand) some(list []string, most int) []string {
	list = slices.Clone(list)
	h.rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(1+h.rnd.IntN(most), len(list))]
}

// A line speaks SMTP or LMTP.
type line struct {
	*hand
	nc net.Conn
	r  *bufio.Reader
}

// mended bounds a test that has gone wrong: nothing waits so long otherwise.
const mended = 5 * time.Minute

func (h *hand) dial(addr string) (*line, bool) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		h.odd("%s: %v", h.name, err)
		return nil, false
	}
	nc.SetDeadline(time.Now().Add(mended))
	l := &line{h, nc, bufio.NewReader(nc)}
	return l, l.reply(220)
}

// reply reads one reply and reports whether it is the one to go on with. Another
// one is a fault unless the server is on its way down.
func (l *line) reply(code int) bool {
	for {
		s, err := l.r.ReadString('\n')
		if err != nil {
			l.odd("%s: %v", l.name, err)
			return false
		}
		if len(s) > 3 && s[3] == '-' {
			continue
		}
		if !strings.HasPrefix(s, fmt.Sprint(code)) {
			l.odd("%s: got %q, want %d", l.name, s, code)
			return false
		}
		return true
	}
}

func (l *line) say(code int, format string, args ...any) bool {
	fmt.Fprintf(l.nc, format+"\r\n", args...)
	return l.reply(code)
}

// content sends a message with DATA or, in pieces, with BDAT, and reads n replies.
func (l *line) content(msg []byte, n int) bool {
	w := bufio.NewWriter(l.nc)
	if l.rnd.IntN(2) == 0 {
		if !l.say(354, "DATA") {
			return false
		}
		for _, s := range strings.SplitAfter(string(msg), "\r\n") {
			if strings.HasPrefix(s, ".") {
				w.WriteByte('.')
			}
			w.WriteString(s)
		}
		w.WriteString(".\r\n")
		w.Flush()
	} else {
		for len(msg) > 0 {
			n, last := len(msg), " LAST"
			if l.rnd.IntN(2) == 0 && n > 10 {
				n, last = 1+l.rnd.IntN(n-1), ""
			}
			fmt.Fprintf(w, "BDAT %d%s\r\n", n, last)
			w.Write(msg[:n])
			if msg = msg[n:]; last == "" {
				if w.Flush(); !l.reply(250) {
					return false
				}
			}
		}
		w.Flush()
	}
	return l.replies(n)
}

func (l *line) replies(n int) bool {
	for range n {
		if !l.reply(250) {
			return false
		}
	}
	return true
}

// brings is another server that brings mail for users, by LMTP with an answer for
// each.
func (h *hand) brings(addr string, lmtp bool) {
	l, ok := h.dial(addr)
	if !ok {
		return
	}
	defer l.nc.Close()
	hello := "EHLO"
	if lmtp {
		hello = "LHLO"
	}
	if !l.say(250, hello+" far.test") {
		return
	}
	for {
		to, id := h.some(users, len(users)), h.id()
		var ask strings.Builder
		ask.WriteString("MAIL FROM:<eve@far.test>\r\n")
		for _, who := range to {
			fmt.Fprintf(&ask, "RCPT TO:<%s@x.test>\r\n", who)
		}
		io.WriteString(l.nc, ask.String())
		if !l.replies(1 + len(to)) {
			return
		}
		msg := h.compose(id, h.size(), h.rnd)
		h.deliver(id, to)
		if !lmtp {
			if !l.content(msg, 1) {
				return
			}
			h.delivered(id, to)
			continue
		}
		if !l.content(msg, 0) {
			return
		}
		for _, who := range to {
			if !l.reply(250) {
				return
			}
			h.delivered(id, []string{who})
		}
	}
}

// submits is a user who writes to elsewhere, and often to a colleague too.
func (h *hand) submits(addr string) {
	l, ok := h.dial(addr)
	if !ok {
		return
	}
	defer l.nc.Close()
	if !l.say(250, "EHLO me") || !l.say(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00ann@x.test\x00"+secret))) {
		return
	}
	for {
		id, to := h.id(), []string{"bob"}
		if h.rnd.IntN(2) == 0 {
			to = nil
		}
		if !l.say(250, "MAIL FROM:<ann@x.test>") {
			return
		}
		for _, who := range to {
			if !l.say(250, "RCPT TO:<%s@x.test>", who) {
				return
			}
		}
		far := 1 + h.rnd.IntN(2)
		for i := range far {
			if !l.say(250, "RCPT TO:<zoe%d@far.test>", i) {
				return
			}
		}
		msg := h.compose(id, h.size(), h.rnd)
		h.deliver(id, to)
		h.leaves(id, far)
		if !l.content(msg, 1) {
			return
		}
		h.left(id)
		h.delivered(id, to)
	}
}

// A desk speaks IMAP.
type desk struct {
	*hand
	*imapclient.Client
	who string
}

// sit logs in as a user and selects a mailbox.
func (h *hand) sit(addr, who, box string) (*desk, *imap.SelectData, bool) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		h.odd("%s: %v", h.name, err)
		return nil, nil, false
	}
	nc.SetDeadline(time.Now().Add(mended))
	d := &desk{h, imapclient.New(nc, nil), who}
	if d.ok(d.Login(who+"@x.test", secret).Wait()) {
		sel, err := d.Select(box, nil).Wait()
		if d.ok(err) {
			return d, sel, true
		}
	}
	d.Close()
	return nil, nil, false
}

// ok reports whether a command was carried out. A refusal is a fault unless the
// server is on its way down.
func (d *desk) ok(err error) bool {
	if err != nil {
		d.odd("%s: %v", d.name, err)
	}
	return err == nil
}

// uids are those that some messages of ours have in a mailbox.
func (d *desk) uids(box string, ids []string) (list []imap.UID) {
	for _, id := range ids {
		for _, p := range d.now(held{d.who, id}) {
			if p.box == box {
				list = append(list, p.uid)
				break
			}
		}
	}
	return list
}

// byUID puts messages in the order in which the server names them.
func (d *desk) byUID(box string, ids []string) []string {
	at := map[string]imap.UID{}
	for _, id := range ids {
		at[id] = d.uids(box, []string{id})[0]
	}
	slices.SortFunc(ids, func(a, b string) int { return int(at[a]) - int(at[b]) })
	return ids
}

var flagSets = [][]imap.Flag{{imap.FlagSeen}, {imap.FlagFlagged}, {imap.FlagAnswered, imap.FlagSeen}, {"$Later"}, {imap.FlagFlagged, "$Work"}}

// flag changes the flags of messages in the selected mailbox.
func (d *desk) flag(box string, ids []string, op imap.StoreFlagsOp, flags []imap.Flag) bool {
	d.ask(d.who, ids, func(s state) state {
		for i := range s {
			if s[i].box != box {
				continue
			}
			var have []imap.Flag
			for _, f := range strings.Fields(s[i].flags) {
				if op == imap.StoreFlagsAdd || op == imap.StoreFlagsDel && !slices.Contains(flags, imap.Flag(f)) {
					have = append(have, imap.Flag(f))
				}
			}
			if op != imap.StoreFlagsDel {
				have = append(have, flags...)
			}
			s[i].flags = inOrder(have)
		}
		return s
	})
	if !d.ok(d.Store(imap.UIDSetNum(d.uids(box, ids)...), &imap.StoreFlags{Op: op, Flags: flags, Silent: d.rnd.IntN(2) == 0}, nil).Close()) {
		return false
	}
	d.did(d.who, box, ids, nil)
	return true
}

// expunge removes messages from the selected mailbox, in two steps.
func (d *desk) expunge(box string, ids []string) bool {
	if !d.flag(box, ids, imap.StoreFlagsAdd, []imap.Flag{imap.FlagDeleted}) {
		return false
	}
	uids := d.uids(box, ids)
	d.ask(d.who, ids, func(s state) state {
		return slices.DeleteFunc(s, func(p place) bool { return p.box == box })
	})
	if !d.ok(d.UIDExpunge(imap.UIDSetNum(uids...)).Close()) {
		return false
	}
	d.did(d.who, box, ids, nil)
	return true
}

// put copies or moves messages from the selected mailbox.
func (d *desk) put(from, to string, ids []string, move bool) bool {
	ids = d.byUID(from, ids)
	set := imap.UIDSetNum(d.uids(from, ids)...)
	d.ask(d.who, ids, func(s state) state {
		i := slices.IndexFunc(s, func(p place) bool { return p.box == from })
		s = append(s, place{to, 0, s[i].flags})
		if move {
			s = slices.Delete(s, i, i+1)
		}
		return s
	})
	var dst imap.NumSet
	if move {
		m, err := d.Move(set, to).Wait()
		if !d.ok(err) {
			return false
		}
		dst = m.DestUIDs
	} else {
		c, err := d.Copy(set, to).Wait()
		if !d.ok(err) {
			return false
		}
		dst = c.DestUIDs
	}
	set, _ = dst.(imap.UIDSet)
	uids, _ := set.Nums()
	if len(uids) != len(ids) {
		d.odd("%s: COPYUID has %d UIDs for %d messages", d.name, len(uids), len(ids))
		return false
	}
	d.did(d.who, to, ids, uids)
	return true
}

// add appends a message.
func (d *desk) add(box string) bool {
	id := d.id()
	msg := d.compose(id, d.size(), d.rnd)
	var o imap.AppendOptions
	if d.rnd.IntN(2) == 0 {
		o.Flags = flagSets[d.rnd.IntN(len(flagSets))]
	}
	d.ask(d.who, []string{id}, func(state) state { return state{{box, 0, inOrder(o.Flags)}} })
	a := d.Append(box, int64(len(msg)), &o)
	a.Write(msg)
	if a.Close() != nil {
		a.Wait()
		return false
	}
	data, err := a.Wait()
	if !d.ok(err) {
		return false
	}
	d.did(d.who, box, []string{id}, []imap.UID{data.UID})
	return true
}

// works is one of several clients of ann in the same mailbox, each with messages of
// its own.
func (h *hand) works(addr string, mine []string) {
	d, _, ok := h.sit(addr, "ann", shelf)
	if !ok {
		return
	}
	defer d.Close()
	for ok {
		mine = slices.DeleteFunc(mine, func(id string) bool { return d.uids(shelf, []string{id}) == nil })
		p := h.rnd.IntN(100)
		if len(mine) == 0 || p < 40 && len(mine) < 60 {
			if ok = d.add(shelf); ok {
				mine = append(mine, fmt.Sprintf("%s.%d", h.name, h.n))
			}
			continue
		}
		some := h.some(mine, 4)
		switch {
		case p < 65:
			op := []imap.StoreFlagsOp{imap.StoreFlagsAdd, imap.StoreFlagsDel, imap.StoreFlagsSet}[h.rnd.IntN(3)]
			ok = d.flag(shelf, some, op, flagSets[h.rnd.IntN(len(flagSets))])
		case p < 75:
			ok = d.put(shelf, attic, some, false)
		case p < 85:
			ok = d.put(shelf, attic, some, true)
		default:
			ok = d.expunge(shelf, some)
		}
	}
}

// reads is the client of somebody who gets mail: it reads what comes as soon as it
// is there, and files or deletes it.
func (h *hand) reads(addr, who string, old []string) {
	d, sel, ok := h.sit(addr, who, inbox)
	if !ok {
		return
	}
	defer d.Close()
	next := sel.UIDNext
	news := h.news[who]
	for range news {
		got, err := fetchWhole(d.Client, imap.UIDSet{{Start: next, Stop: 0}})
		if !d.ok(err) {
			return
		}
		for _, m := range got {
			if m.uid >= next { // n:* is never empty
				old = append(old, d.saw(folder{who, inbox}, m.uid, m.flags, m.bytes))
			}
		}
		for _, m := range got {
			next = max(next, m.uid+1)
		}
		old = slices.DeleteFunc(old, func(id string) bool { return d.uids(inbox, []string{id}) == nil })
		if len(old) == 0 {
			continue
		}
		some := h.some(old, 8)
		switch p := h.rnd.IntN(10); {
		case p < 3:
			ok = d.flag(inbox, some, imap.StoreFlagsAdd, flagSets[h.rnd.IntN(len(flagSets))])
		case p < 5:
			ok = d.put(inbox, archive, some, true)
		default:
			ok = d.expunge(inbox, some)
		}
		if !ok {
			return
		}
	}
}

// A whole is a message as it was fetched.
type whole struct {
	uid   imap.UID
	flags []imap.Flag
	bytes []byte
}

// fetchWhole fetches messages over a connection that may end at any byte. Collect of
// the client would go on reading a literal that was cut off while its own goroutine
// reads on behind it.
func fetchWhole(c *imapclient.Client, set imap.UIDSet) (all []whole, err error) {
	cmd := c.Fetch(set, &imap.FetchOptions{UID: true, Flags: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		var w whole
		for item := m.Next(); item != nil; item = m.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				w.uid = item.UID
			case imapclient.FetchItemDataFlags:
				w.flags = item.Flags
			case imapclient.FetchItemDataBodySection:
				if item.Literal == nil {
					continue
				}
				if w.bytes, err = io.ReadAll(item.Literal); err == nil && int64(len(w.bytes)) < item.Literal.Size() {
					err = io.ErrUnexpectedEOF
				}
				if err != nil {
					return all, err // and no Next
				}
			}
		}
		all = append(all, w)
	}
	return all, cmd.Close()
}
