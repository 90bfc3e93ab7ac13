package storetest

import (
	"slices"

	"github.com/mailkeel/mailkeel/store"
)

var seenTests = []test{
	{"SeenIsEachAccountsOwn", testSeen},
	{"SeenEndsWithTheGrant", testSeenGrant},
	{"SeenFollowsMoves", testSeenMoves},
	{"SeenStaysSmall", testSeenMany},
}

// seenBy is which UIDs of a mailbox an account has seen; its counter must agree.
func (b *bench) seenBy(id store.AccountID, box store.MailboxID) (uids []store.UID) {
	b.Helper()
	mb, ms := b.scan(b.As(id), box, store.Query{})
	for _, m := range ms {
		if slices.Contains(m.Flags, store.FlagSeen) {
			uids = append(uids, m.UID)
		}
	}
	sel, _, err := b.As(id).Select(b.Context(), box)
	b.must(err)
	if want := len(ms) - len(uids); mb.Unseen != want || sel.Unseen != want {
		b.Errorf("%s has %d unseen, Scan says %d and Select %d", id, want, mb.Unseen, sel.Unseen)
	}
	return uids
}

func (b *bench) wantSeen(box store.MailboxID, want map[store.AccountID][]store.UID) {
	b.Helper()
	for id, uids := range want {
		if got := b.seenBy(id, box); !slices.Equal(got, uids) {
			b.Errorf("%s has seen %v, want %v", id, got, uids)
		}
	}
}

type seenMap = map[store.AccountID][]store.UID

// team is a mailbox of ann's with n messages, in which bob and cat may do all.
func (b *bench) team(name string, n int) store.MailboxID {
	b.Helper()
	id := b.box("ann", name).ID
	for _, to := range []store.AccountID{"bob", "cat"} {
		b.must(b.As("ann").Grant(b.Context(), id, to, store.AllRights))
	}
	ms := make([]store.Append, n)
	for i := range ms {
		ms[i].Blob = hello
	}
	_, err := b.As("ann").Append(b.Context(), id, ms...)
	b.must(err)
	return id
}

func (b *bench) see(who store.AccountID, box store.MailboxID, uids ...store.UID) []store.Message {
	b.Helper()
	changed, _, err := b.As(who).SetFlags(b.Context(), box, store.FlagChange{Add: []string{store.FlagSeen}}, uids...)
	b.must(err)
	return changed
}

func testSeen(b *bench) {
	box := b.team("Team", 4)
	b.see("ann", box, 1)
	if changed := b.see("bob", box, 1, 2); len(changed) != 2 || !slices.Equal(changed[0].Flags, []string{store.FlagSeen}) {
		b.Errorf("changed %+v", changed)
	}
	b.wantSeen(box, seenMap{"ann": {1}, "bob": {1, 2}, "cat": nil})
	seq := b.account("ann").ModSeq
	if changed := b.see("bob", box, 1, 2); len(changed) != 0 || b.account("ann").ModSeq != seq {
		b.Errorf("the same again changed %+v", changed)
	}
	b.see("cat", box, 4)
	if _, ms := b.scan(b.As("cat"), box, store.Query{Since: store.Since{After: seq}}); len(ms) != 1 || ms[0].UID != 4 || !slices.Contains(ms[0].Flags, store.FlagSeen) {
		b.Errorf("another session of cat's sees %+v", ms)
	}
	_, _, err := b.As("bob").SetFlags(b.Context(), box, store.FlagChange{Replace: true, Add: []string{`\Flagged`}}, 1, 4)
	b.must(err)
	b.wantSeen(box, seenMap{"ann": {1}, "bob": {2}, "cat": {4}})
	if _, ms := b.scan(b.As("ann"), box, store.Query{First: 1, Last: 1}); !slices.Equal(ms[0].Flags, []string{`\Flagged`, `\Seen`}) {
		b.Errorf("ann sees flags %q", ms[0].Flags)
	}
	_, err = b.As("cat").Expunge(b.Context(), box, 2, 4)
	b.must(err)
	b.wantSeen(box, seenMap{"ann": {1}, "bob": nil, "cat": nil})
	_, err = b.As("bob").Append(b.Context(), box, store.Append{Blob: hello, Flags: []string{`\Seen`}})
	b.must(err)
	b.wantSeen(box, seenMap{"ann": {1}, "bob": {5}, "cat": nil})
	m, rc, err := b.As("bob").Open(b.Context(), box, 5)
	b.must(err)
	b.must(rc.Close())
	if !slices.Contains(m.Flags, store.FlagSeen) {
		b.Errorf("bob opens %+v", m)
	}
	b.recount("ann")
}

func testSeenGrant(b *bench) {
	box := b.team("Team", 3)
	b.see("bob", box, 1, 3)
	b.must(b.As("ann").Grant(b.Context(), box, "bob", "lr"))
	b.wantSeen(box, seenMap{"bob": {1, 3}})
	b.must(b.As("ann").Grant(b.Context(), box, "bob", "l"))
	_, err := b.As("ann").Expunge(b.Context(), box, 3)
	b.must(err)
	b.must(b.As("ann").Grant(b.Context(), box, "bob", "lr"))
	b.wantSeen(box, seenMap{"bob": {1}})
	b.must(b.As("ann").Grant(b.Context(), box, "bob", ""))
	b.must(b.As("ann").Grant(b.Context(), box, "bob", "lrs"))
	b.wantSeen(box, seenMap{"bob": nil, "cat": nil, "ann": nil})
	b.see("bob", box, 2)
	_, _, err = b.As("ann").SetFlags(b.Context(), box, store.FlagChange{Add: []string{"word"}}, 1)
	b.must(err)
	b.must(b.As("ann").Delete(b.Context(), box))
	if left := b.objects("ann"); len(left) != 0 {
		b.Errorf("a deleted mailbox left %q", left)
	}
	b.recount("ann")
}

func testSeenMoves(b *bench) {
	one, two := b.team("One", 4), b.team("Two", 0)
	b.must(b.As("ann").Grant(b.Context(), two, "cat", ""))
	private := b.box("ann", "Private").ID
	b.see("ann", one, 1, 2)
	b.see("bob", one, 2, 3)
	b.see("cat", one, 3, 4)
	_, err := b.As("bob").Move(b.Context(), one, two, 1, 2, 3)
	b.must(err)
	b.wantSeen(one, seenMap{"ann": nil, "bob": nil, "cat": {4}})
	b.wantSeen(two, seenMap{"ann": {1, 2}, "bob": {2, 3}})
	_, err = b.As("ann").Move(b.Context(), two, private, 2)
	b.must(err)
	_, err = b.As("ann").Move(b.Context(), private, two, 1)
	b.must(err)
	b.wantSeen(two, seenMap{"ann": {1, 4}, "bob": {3}})
	own := b.in("bob", "Own", store.FlagSeen)
	_, err = b.As("bob").Copy(b.Context(), own.Mailbox, two, own.UID) // what he has seen he sees as seen
	b.must(err)
	_, err = b.As("bob").Copy(b.Context(), two, own.Mailbox, 1, 3)
	b.must(err)
	b.wantSeen(two, seenMap{"ann": {1, 4}, "bob": {3, 5}})
	b.wantSeen(own.Mailbox, seenMap{"bob": {1, 3}})
	_, err = b.As("bob").Move(b.Context(), two, own.Mailbox, 5)
	b.must(err)
	b.wantSeen(two, seenMap{"ann": {1, 4}, "bob": {3}})
	b.wantSeen(own.Mailbox, seenMap{"bob": {1, 3, 4}})
	_, err = b.As("bob").Move(b.Context(), two, two, 3)
	b.must(err)
	b.wantSeen(two, seenMap{"ann": {1, 4}, "bob": {6}})
	b.recount("ann")
	b.recount("bob")
}

func testSeenMany(b *bench) {
	const n = 9_000 // in two chunks
	box := b.team("Team", n)
	var odd []store.UID
	for uid := store.UID(1); uid <= n; uid += 2 {
		odd = append(odd, uid)
	}
	b.see("bob", box, odd...)
	b.wantSeen(box, seenMap{"bob": odd})
	size, count := 0, 0
	b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
		size, count = 0, 0
		for o, err := range tx.Objects("ann", store.ObjectQuery{}) {
			if err != nil {
				return err
			}
			size, count = size+len(o.Data), count+1
		}
		return nil
	}))
	if size > n/8+100 || count > 5 {
		b.Errorf("%d bytes in %d objects for %d messages", size, count, n)
	}
	_, err := b.As("bob").Expunge(b.Context(), box, odd...)
	b.must(err)
	b.wantSeen(box, seenMap{"bob": nil, "cat": nil})
	if left := b.objects("ann"); len(left) != 2 { // the grants
		b.Errorf("left %q", left)
	}
	b.recount("ann")
}

// objects are the kinds and IDs of an account's live objects.
func (b *bench) objects(id store.AccountID) (out []string) {
	b.Helper()
	os, err := b.As(id).Objects(b.Context(), store.ObjectQuery{})
	b.must(err)
	for _, o := range os {
		out = append(out, o.Kind+" "+o.ID)
	}
	return out
}
