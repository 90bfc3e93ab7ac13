package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

var copyTests = []test{
	{"CopyIsANewMessage", testCopy},
	{"CopyIsAllOrNoneUnderQuota", testCopyQuota},
	{"ManyAreCopiedInOrder", testCopyMany},
	{"MoveToAnotherOwner", testMoveAcross},
	{"MovesAcrossDoNotDeadlock", testMoveAcrossRace},
	{"RestoreBringsBack", testRestore},
	{"RestoreEndsWithKeep", testRestoreEnds},
}

func testCopy(b *bench) {
	ann := b.As("ann")
	d := store.Delivery{Blob: hello, Received: b.clock.Now().Add(-time.Hour), Targets: []store.Target{{Account: "ann", Prefix: []byte("P: 1\r\n"), Flags: []string{"work", `\Seen`}}}}
	d.Cold.Envelope, d.Cold.Preview = []byte{0xff}, []byte("hi")
	p := b.place(d)[0]
	to := b.box("ann", "Copies")
	b.clock.Advance(time.Hour)
	done, err := ann.Copy(b.Context(), p.Mailbox, to.ID, p.UID, 77)
	b.must(err)
	was, is := b.messages(p.Mailbox, false)[0], b.messages(to.ID, false)[0]
	if len(done) != 1 || done[0] != (store.Moved{ID: is.ID, From: p.UID, To: 1}) || is.ID == was.ID || is.Thread != was.Thread {
		b.Errorf("%+v made %+v of %+v", done, is, was)
	}
	if !slices.Equal(is.Flags, was.Flags) || !is.Received.Equal(was.Received) || !is.Saved.Equal(b.clock.Now()) || is.Size != was.Size || is.Blob != was.Blob || is.Created != b.account("ann").ModSeq {
		b.Errorf("%+v became %+v", was, is)
	}
	cold, err := ann.Cold(b.Context(), to.ID, is.ID)
	if c := cold[is.ID]; err != nil || string(c.Prefix) != "P: 1\r\n" || string(c.Preview) != "hi" || c.ID != is.ID {
		b.Errorf("cold row %+v, %v", c, err)
	}
	if done, err := ann.Copy(b.Context(), p.Mailbox, p.Mailbox, p.UID); err != nil || len(done) != 1 || done[0].To != 2 {
		b.Errorf("a copy beside it: %+v, %v", done, err)
	}
	if done, err := ann.Copy(b.Context(), p.Mailbox, to.ID, 77); err != nil || done != nil {
		b.Errorf("a copy of nothing: %+v, %v", done, err)
	}
	b.recount("ann")
}

func testCopyQuota(b *bench) {
	b.Limit = limits(map[store.AccountID]int64{"ann": 24, "bob": 8})
	p := b.deliver("", "ann", "ann", "ann")
	in, to := p[0].Mailbox, b.box("ann", "Copies").ID
	_, err := b.As("ann").Copy(b.Context(), in, to, 1, 2)
	b.is(err, store.ErrOverQuota, "two copies where one has room")
	if mb := b.mailbox(to); mb.Messages != 0 || mb.UIDNext != 1 {
		b.Errorf("left %+v", mb)
	}
	_, err = b.As("ann").Move(b.Context(), in, to, 1, 2, 3)
	b.must(err) // needs no room
	team := b.box("bob", "Team").ID
	b.must(b.As("bob").Grant(b.Context(), team, "ann", "lri"))
	_, err = b.As("ann").Move(b.Context(), to, team, 1, 2)
	b.is(err, store.ErrOverQuota, "two for bob where one has room")
	b.recount("ann")
	_, err = b.As("ann").Move(b.Context(), to, team, 1)
	b.must(err)
	if u, err := b.As("ann").Quota(b.Context(), team); err != nil || u != (store.Usage{Bytes: 5, Limit: 8, Messages: 1}) {
		b.Errorf("usage of the owner: %+v, %v", u, err)
	}
	b.recount("ann")
	b.recount("bob")
}

func testCopyMany(b *bench) {
	const n = 600 // more than are put at a time
	d := store.Delivery{Blob: hello}
	for i := range n {
		d.Targets = append(d.Targets, store.Target{Account: "ann", Index: i, Prefix: []byte(fmt.Sprint("P: ", i, "\r\n"))})
	}
	in := b.place(d)[0].Mailbox
	to := b.box("ann", "Copies").ID
	uids := make([]store.UID, n)
	for i := range uids {
		uids[i] = store.UID(n - i)
	}
	done, err := b.As("ann").Copy(b.Context(), in, to, uids...)
	b.must(err)
	ms := b.messages(to, false)
	if len(done) != n || len(ms) != n {
		b.Fatalf("%d were copied, %d are there", len(done), len(ms))
	}
	for i, m := range ms {
		if done[i] != (store.Moved{ID: m.ID, From: store.UID(i + 1), To: m.UID}) || m.UID != store.UID(i+1) {
			b.Fatalf("%+v made %+v", done[i], m)
		}
	}
	cold, err := b.As("ann").Cold(b.Context(), to, ms[0].ID, ms[300].ID, ms[n-1].ID)
	b.must(err)
	for i, m := range map[int]store.Message{0: ms[0], 300: ms[300], n - 1: ms[n-1]} {
		if got := string(cold[m.ID].Prefix); got != fmt.Sprint("P: ", i, "\r\n") {
			b.Errorf("copy %d has prefix %q", i, got)
		}
	}
	b.recount("ann")
}

func testMoveAcross(b *bench) {
	b.Keep = time.Hour
	p := b.place(store.Delivery{Blob: hello, Targets: []store.Target{{Account: "ann", Prefix: []byte("P: 1\r\n"), Flags: []string{`\Flagged`}}}})[0]
	team := b.box("bob", "Team").ID
	b.must(b.As("bob").Grant(b.Context(), team, "ann", store.AllRights))
	done, err := b.As("ann").Move(b.Context(), p.Mailbox, team, p.UID)
	b.must(err)
	there := b.messages(team, false)
	if len(done) != 1 || len(there) != 1 || done[0].ID != there[0].ID || there[0].ID == p.ID || there[0].Account != "bob" || there[0].Created != b.account("bob").ModSeq {
		b.Fatalf("%+v made %+v", done, there)
	}
	left := b.messages(p.Mailbox, true)
	if len(left) != 1 || !left[0].Expunged || left[0].Moved || left[0].KeepUntil.IsZero() {
		b.Errorf("left %+v", left)
	}
	rc, err := b.Open(b.Context(), there[0])
	b.must(err)
	b.must(rc.Close())
	back, err := b.As("ann").Move(b.Context(), team, p.Mailbox, 1)
	b.must(err)
	if len(back) != 1 || back[0].ID == p.ID || back[0].To != p.UID+1 {
		b.Errorf("came back as %+v", back)
	}
	b.recount("ann")
	b.recount("bob")
}

func testMoveAcrossRace(b *bench) {
	x, y := b.deliver("", "ann", "ann", "ann", "ann")[0].Mailbox, b.deliver("", "bob", "bob", "bob", "bob")[0].Mailbox
	b.must(b.As("ann").Grant(b.Context(), x, "bob", store.AllRights))
	b.must(b.As("bob").Grant(b.Context(), y, "ann", store.AllRights))
	ch := make(chan error)
	for i := range 4 {
		go func() {
			_, err := b.As("ann").Move(b.Context(), x, y, store.UID(i+1))
			ch <- err
		}()
		go func() {
			_, err := b.As("bob").Move(b.Context(), y, x, store.UID(i+1))
			ch <- err
		}()
	}
	for range 8 {
		b.must(<-ch)
	}
	if b.mailbox(x).Messages != 4 || b.mailbox(y).Messages != 4 {
		b.Errorf("%+v and %+v", b.mailbox(x), b.mailbox(y))
	}
	b.recount("ann")
	b.recount("bob")
}

func testRestore(b *bench) {
	b.Keep = time.Hour
	ann := b.As("ann")
	p := b.place(store.Delivery{Blob: hello, Targets: []store.Target{
		{Account: "ann", Prefix: []byte("P: 1\r\n"), Flags: []string{`\Deleted`, `\Seen`, "work"}}, {Account: "ann", Index: 1}, {Account: "ann", Index: 2},
	}})
	in := p[0].Mailbox
	_, err := ann.Expunge(b.Context(), in, 1, 2)
	b.must(err)
	_, err = ann.Move(b.Context(), in, b.box("ann", "Other").ID, 3)
	b.must(err)
	b.must(b.Forget(b.Context(), "ann", b.account("ann").ModSeq))
	b.clock.Advance(59 * time.Minute)
	back, err := ann.Restore(b.Context(), in, 1, 2, 3, 77)
	b.must(err)
	ms := b.messages(in, false)
	if len(back) != 2 || len(ms) != 2 || back[0].UID != 4 || back[0].ID != ms[0].ID || ms[0].ID == p[0].ID || ms[0].Thread != store.ThreadID(p[0].ID) {
		b.Fatalf("brought back %+v, there is %+v", back, ms)
	}
	if !slices.Equal(ms[0].Flags, []string{`\Seen`, "work"}) {
		b.Errorf("flags %q", ms[0].Flags)
	}
	cold, err := ann.Cold(b.Context(), in, ms[0].ID)
	if b.must(err); string(cold[ms[0].ID].Prefix) != "P: 1\r\n" {
		b.Errorf("cold %+v", cold)
	}
	if again, err := ann.Restore(b.Context(), in, 1, 2); err != nil || again != nil {
		b.Errorf("brought back again as %+v, %v", again, err)
	}
	b.recount("ann")
}

func testRestoreEnds(b *bench) {
	b.Keep = time.Hour
	ann := b.As("ann")
	p := b.deliver("", "ann", "ann")
	in := p[0].Mailbox
	_, err := ann.Expunge(b.Context(), in, 1)
	b.must(err)
	limit := int64(5)
	b.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) {
		return mailkeel.Quota{Bytes: limit}, nil
	}
	_, err = ann.Restore(b.Context(), in, 1)
	b.is(err, store.ErrOverQuota, "restoring without room")
	limit = 0
	b.clock.Advance(time.Hour)
	if back, err := ann.Restore(b.Context(), in, 1); err != nil || back != nil {
		b.Errorf("after its time: %+v, %v", back, err)
	}
	b.must(b.Forget(b.Context(), "ann", b.account("ann").ModSeq))
	if ms := b.messages(in, true); len(ms) != 1 {
		b.Errorf("Forget left %+v", ms)
	}
	b.Keep = 0
	_, err = ann.Expunge(b.Context(), in, 2)
	b.must(err)
	if back, err := ann.Restore(b.Context(), in, 2); err != nil || back != nil {
		b.Errorf("without Keep: %+v, %v", back, err)
	}
	if free := fmt.Sprint(b.free(hello.Ref)); free != fmt.Sprint([]blob.Ref{hello.Ref}) {
		b.Errorf("unreferenced %s", free)
	}
	b.recount("ann")
}

// free asks which of refs nothing names.
func (b *bench) free(refs ...blob.Ref) []blob.Ref {
	b.Helper()
	out, err := b.Unreferenced(b.Context(), refs)
	b.must(err)
	return out
}
