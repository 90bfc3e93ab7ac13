package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/store"
)

var modelTests = []test{
	{"RandomOperationsAgreeWithAModel", testModel},
}

// A model is what a store should hold, kept in the simplest way.
type model struct {
	boxes map[store.MailboxID]*modelBox
	// feed is what a follower of each account knows.
	feed map[store.AccountID]*replica
}

type modelBox struct {
	owner store.AccountID
	name  string
	msgs  map[store.UID]*modelMessage
	next  store.UID
}

type modelMessage struct {
	id    store.MessageID
	flags map[string]bool          // but \Seen
	seen  map[store.AccountID]bool // by those who may read
}

type replica struct {
	at    store.ModSeq
	boxes map[store.MailboxID]store.Mailbox
	msgs  map[string]store.Message
}

var modelUsers = []store.AccountID{"ann", "bob"}

// line writes a message as one account sees it.
func (m *modelMessage) line(uid store.UID, user store.AccountID) string {
	flags := slices.Collect(maps.Keys(m.flags))
	if m.seen[user] {
		flags = append(flags, store.FlagSeen)
	}
	slices.Sort(flags)
	return fmt.Sprint(uid, " ", m.id, " ", flags)
}

func (b *bench) checkModel(m *model) {
	b.Helper()
	for _, user := range modelUsers {
		var want, got []string
		for _, box := range m.boxes {
			if box.owner == user {
				want = append(want, box.name)
			}
		}
		got = b.names(user)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			b.Fatalf("%s has mailboxes %q, want %q", user, got, want)
		}
		for id, box := range m.boxes { // both see all
			mb, ms := b.scan(b.As(user), id, store.Query{})
			var got, want []string
			for _, msg := range ms {
				got = append(got, fmt.Sprint(msg.UID, " ", msg.ID, " ", msg.Flags))
			}
			unseen := 0
			for _, uid := range slices.Sorted(maps.Keys(box.msgs)) {
				want = append(want, box.msgs[uid].line(uid, user))
				if !box.msgs[uid].seen[user] {
					unseen++
				}
			}
			if !slices.Equal(got, want) || mb.UIDNext != box.next || mb.Unseen != unseen || mb.Name != box.name {
				b.Fatalf("%s sees in %+v\n%s\nwant UIDNEXT %d, %d unseen\n%s", user, mb, strings.Join(got, "\n"), box.next, unseen, strings.Join(want, "\n"))
			}
		}
		b.recount(user)
		b.checkFeed(user, m.feed[user])
	}
}

// checkFeed brings a replica up to date and compares it with the rows.
func (b *bench) checkFeed(id store.AccountID, r *replica) {
	b.Helper()
	for _, c := range b.changes(id, r.at) {
		r.at = c.ModSeq
		for _, mb := range c.Mailboxes {
			if r.boxes[mb.ID] = mb; mb.Deleted {
				delete(r.boxes, mb.ID)
			}
		}
		for _, m := range c.Messages {
			k := fmt.Sprint(m.Mailbox, ".", m.UID)
			if r.msgs[k] = m; m.Expunged {
				delete(r.msgs, k)
			}
		}
	}
	fs, err := b.As(id).Folders(b.Context())
	b.must(err)
	n := 0
	for _, f := range fs {
		if r.boxes[f.ID] != f.Mailbox {
			b.Fatalf("a follower knows %+v, there is %+v", r.boxes[f.ID], f.Mailbox)
		}
		for _, m := range b.messages(f.ID, false) {
			n++
			if got := r.msgs[fmt.Sprint(m.Mailbox, ".", m.UID)]; got.ModSeq != m.ModSeq || got.ID != m.ID || !slices.Equal(got.Flags, m.Flags) {
				b.Fatalf("a follower knows %+v, there is %+v", got, m)
			}
		}
	}
	if len(r.boxes) != len(fs) || len(r.msgs) != n {
		b.Fatalf("a follower knows %d mailboxes and %d messages, there are %d and %d", len(r.boxes), len(r.msgs), len(fs), n)
	}
}

func testModel(b *bench) {
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		m := &model{boxes: map[store.MailboxID]*modelBox{}, feed: map[store.AccountID]*replica{}}
		for _, u := range modelUsers { // a new pair for each seed
			m.feed[u] = &replica{boxes: map[store.MailboxID]store.Mailbox{}, msgs: map[string]store.Message{}}
		}
		if seed > 0 {
			fresh := b.o.New(b.T)
			b.Store = &store.Store{Backend: fresh, Blobs: b.Blobs, Clock: b.clock}
		}
		for _, u := range modelUsers {
			b.adopt(m, u)
		}
		for step := range 250 {
			b.step(m, rnd)
			if step%25 == 0 {
				b.checkModel(m)
			}
		}
		b.checkModel(m)
	}
}

// adopt takes mailboxes of an account that the model does not know into it, and
// lets the other account use them.
func (b *bench) adopt(m *model, user store.AccountID) {
	b.Helper()
	fs, err := b.As(user).Folders(b.Context())
	b.must(err)
	for _, f := range fs {
		if box := m.boxes[f.ID]; box != nil {
			box.name = f.Name
			continue
		}
		m.boxes[f.ID] = &modelBox{owner: user, name: f.Name, msgs: map[store.UID]*modelMessage{}, next: f.UIDNext}
		for _, to := range modelUsers {
			if to != user {
				b.must(b.As(user).Grant(b.Context(), f.ID, to, store.AllRights))
			}
		}
	}
}

// take moves or copies messages in the model.
func (m *model) take(user store.AccountID, from, to store.MailboxID, done []store.Moved, uids []store.UID, move bool) string {
	src, dst := m.boxes[from], m.boxes[to]
	uids = slices.Compact(slices.Sorted(slices.Values(uids)))
	uids = slices.DeleteFunc(uids, func(u store.UID) bool { return src.msgs[u] == nil })
	if len(done) != len(uids) {
		return fmt.Sprint(done, " of ", uids)
	}
	for i, uid := range uids {
		old := src.msgs[uid]
		n := &modelMessage{id: done[i].ID, flags: maps.Clone(old.flags), seen: map[store.AccountID]bool{user: old.seen[user]}}
		if within := move && src.owner == dst.owner; within {
			if n.seen = old.seen; n.id != old.id {
				return "a move gave a new ID"
			}
		} else if n.id == old.id {
			return "a copy has the old ID"
		}
		if done[i].From != uid || done[i].To != dst.next {
			return fmt.Sprint(done[i], " where UIDNEXT was ", dst.next)
		}
		dst.msgs[dst.next] = n
		dst.next++
		if move {
			delete(src.msgs, uid)
		}
	}
	return ""
}

// step does one random thing to both.
func (b *bench) step(m *model, rnd *rand.Rand) {
	b.Helper()
	user := modelUsers[rnd.IntN(2)]
	a := b.As(user)
	ids := slices.Sorted(maps.Keys(m.boxes))
	id := ids[rnd.IntN(len(ids))]
	to := ids[rnd.IntN(len(ids))]
	box := m.boxes[id]
	uids := make([]store.UID, rnd.IntN(4))
	for i := range uids {
		uids[i] = store.UID(rnd.IntN(int(box.next) + 1))
	}
	words := []string{`\Flagged`, `\Deleted`, "work", store.FlagSeen}
	set := func(msg *modelMessage, f string, on bool) {
		if f == store.FlagSeen {
			msg.seen[user] = on
		} else if msg.flags[f] = on; !on {
			delete(msg.flags, f)
		}
	}
	switch rnd.IntN(13) {
	case 0, 1: // deliver to both
		d := store.Delivery{Blob: hello}
		for i, u := range modelUsers {
			d.Targets = append(d.Targets, store.Target{Account: u, Index: i, Flags: []string{"new"}})
		}
		for _, p := range b.place(d) {
			in := m.boxes[p.Mailbox]
			if p.UID != in.next || in.name != "INBOX" {
				b.Fatalf("placed %+v in %+v", p, in)
			}
			in.msgs[p.UID] = &modelMessage{p.ID, map[string]bool{"new": true}, map[store.AccountID]bool{}}
			in.next++
		}
	case 2:
		flags := make([]string, 1+rnd.IntN(3))
		ms := make([]store.Append, len(flags))
		for i := range flags {
			flags[i] = words[rnd.IntN(4)]
			ms[i] = store.Append{Blob: hello, Flags: flags[i : i+1]}
		}
		ps, err := a.Append(b.Context(), id, ms...)
		b.must(err)
		for i, f := range flags {
			msg := &modelMessage{ps[i].ID, map[string]bool{}, map[store.AccountID]bool{}}
			set(msg, f, true)
			box.msgs[box.next] = msg
			box.next++
		}
	case 3, 4:
		c := store.FlagChange{Replace: rnd.IntN(3) == 0}
		if f := words[rnd.IntN(4)]; rnd.IntN(2) == 0 || c.Replace {
			c.Add = []string{f}
		} else {
			c.Remove = []string{strings.ToLower(f)}
		}
		_, _, err := a.SetFlags(b.Context(), id, c, uids...)
		b.must(err)
		for _, uid := range uids {
			msg := box.msgs[uid]
			if msg == nil {
				continue
			}
			if c.Replace {
				clear(msg.flags)
				msg.seen[user] = false
			}
			for _, f := range words {
				if slices.Contains(c.Add, f) {
					set(msg, f, true)
				} else if slices.Contains(c.Remove, strings.ToLower(f)) {
					set(msg, f, false)
				}
			}
		}
	case 5, 6:
		move := rnd.IntN(2) == 0
		do := a.Copy
		if move {
			do = a.Move
		}
		done, err := do(b.Context(), id, to, uids...)
		b.must(err)
		if wrong := m.take(user, id, to, done, uids, move); wrong != "" {
			b.Fatal(wrong)
		}
	case 7:
		gone, err := a.Expunge(b.Context(), id, uids...)
		b.must(err)
		for _, uid := range gone {
			if box.msgs[uid] == nil {
				b.Fatalf("expunged %d, which was not there", uid)
			}
			delete(box.msgs, uid)
		}
		for _, uid := range uids {
			if box.msgs[uid] != nil {
				b.Fatalf("did not expunge %d", uid)
			}
		}
	case 8:
		_, err := a.Create(b.Context(), fmt.Sprint(string(rune('a'+rnd.IntN(4))), "/", rnd.IntN(4)), "")
		if err != nil {
			b.is(err, store.ErrExists, "creating")
		}
		b.adopt(m, user)
	case 9:
		if box.name == "INBOX" || rnd.IntN(3) > 0 {
			return
		}
		b.must(a.Delete(b.Context(), id))
		delete(m.boxes, id)
	case 10:
		owner := b.As(box.owner)
		in := store.MailboxID(0)
		if box.name == "INBOX" {
			in = id
		}
		err := owner.Rename(b.Context(), id, fmt.Sprint(string(rune('a'+rnd.IntN(4))), "/", rnd.IntN(4)))
		if err != nil {
			return // taken, or below itself; checkModel sees that nothing changed
		}
		b.adopt(m, box.owner)
		if in != 0 { // the new mailbox has all its messages
			for _, other := range m.boxes {
				if other.owner == box.owner && other != box && len(other.msgs) == 0 && int(other.next) == len(box.msgs)+1 && len(box.msgs) > 0 {
					for _, uid := range slices.Sorted(maps.Keys(box.msgs)) {
						msg := box.msgs[uid]
						// It is new, so nobody else could be granted to see it
						// before the messages were there.
						msg.seen = map[store.AccountID]bool{box.owner: msg.seen[box.owner]}
						other.msgs[store.UID(len(other.msgs)+1)] = msg
					}
					clear(box.msgs)
					break
				}
			}
		}
	case 12:
		f := words[rnd.IntN(4)]
		uid, dst := store.UID(rnd.IntN(int(box.next)+1)), m.boxes[to]
		p, err := a.Replace(b.Context(), id, uid, to, store.Append{Blob: hello, Flags: []string{f}})
		if box.msgs[uid] == nil {
			b.is(err, store.ErrNoMessage, "replacing what is not there")
			return
		}
		b.must(err)
		delete(box.msgs, uid)
		msg := &modelMessage{p.ID, map[string]bool{}, map[store.AccountID]bool{}}
		set(msg, f, true)
		dst.msgs[dst.next] = msg
		dst.next++
	case 11:
		u := b.account(user)
		if m.feed[user].at >= u.ModSeq {
			b.must(b.Forget(b.Context(), user, u.ModSeq))
		}
	}
}
