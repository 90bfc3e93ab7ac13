package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

var appendTests = []test{
	{"ManyAreAppendedInOneStep", testAppendMany},
	{"AppendToAMailboxByName", testAppendTo},
	{"AppendWaitsForAllContents", testAppendWaits},
	{"ReplaceIsOneStep", testReplace},
	{"ReplaceInSharedMailboxes", testReplaceShared},
	{"ReplaceCountsTheDifference", testReplaceQuota},
	{"OneOfTwoReplacesWins", testReplaceRace},
}

func testAppendTo(b *bench) {
	ann := b.As("ann")
	_, err := ann.AppendTo(b.Context(), "Inbox", store.Append{Blob: hello})
	b.is(err, store.ErrNotFound, "INBOX is not made")
	inbox, err := ann.Folder(b.Context(), "INBOX")
	b.must(err)
	box := b.box("ann", "Sent")
	for name, want := range map[string]store.MailboxID{"inBox": inbox.ID, "Sent": box.ID} {
		ps, err := ann.AppendTo(b.Context(), name, store.Append{Blob: hello, Flags: []string{`\seen`}})
		b.must(err)
		rows := b.messages(want, false)
		if len(ps) != 1 || len(rows) != 1 || ps[0].Mailbox != want || ps[0].UID != rows[0].UID || !slices.Equal(rows[0].Flags, []string{`\Seen`}) {
			b.Errorf("%s: placed %+v as %+v", name, ps, rows)
		}
	}
	before := b.state()
	for _, name := range []string{"sent", "None", "", "a//b", "\xff"} {
		_, err = ann.AppendTo(b.Context(), name, store.Append{Blob: hello})
		b.is(err, store.ErrNotFound, name)
	}
	_, err = b.As("bob").AppendTo(b.Context(), "Sent", store.Append{Blob: hello})
	b.is(err, store.ErrNotFound, "that of another")
	_, err = ann.AppendTo(b.Context(), "Sent", store.Append{Blob: hello, Flags: []string{`\Nonesuch`}})
	b.is(err, store.ErrInvalid, "a bad flag")
	b.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) {
		return mailkeel.Quota{Messages: 2}, nil
	}
	_, err = ann.AppendTo(b.Context(), "Sent", store.Append{Blob: hello})
	b.is(err, store.ErrOverQuota, "the third")
	b.unchanged(before, "AppendTo")
	b.recount("ann")
}

func testAppendMany(b *bench) {
	const n = 1000 // more than are put at a time
	limit := int64(5*n + 4)
	b.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) {
		return mailkeel.Quota{Bytes: limit}, nil
	}
	ann, box := b.As("ann"), b.box("ann", "Sent")
	ms := make([]store.Append, n)
	for i := range ms {
		ms[i] = store.Append{Blob: hello, Flags: []string{fmt.Sprint("k", i%7)}}
	}
	ps, err := ann.Append(b.Context(), box.ID, ms...)
	b.must(err)
	rows := b.messages(box.ID, false)
	if len(ps) != n || len(rows) != n {
		b.Fatalf("placed %d, there are %d", len(ps), len(rows))
	}
	for i, m := range rows {
		if ps[i].UID != m.UID || ps[i].ID != m.ID || m.UID != store.UID(i+1) || m.ModSeq != rows[0].ModSeq || !slices.Equal(m.Flags, ms[i].Flags) {
			b.Fatalf("%d: placed %+v as %+v", i, ps[i], m)
		}
	}
	_, err = ann.Expunge(b.Context(), box.ID, ps[0].UID)
	b.must(err)
	before := b.state()
	_, err = ann.Append(b.Context(), box.ID, ms[:2]...)
	b.is(err, store.ErrOverQuota, "the second of two")
	ms[400].Flags = []string{`\Nonesuch`}
	limit = 0
	_, err = ann.Append(b.Context(), box.ID, ms...)
	b.is(err, store.ErrInvalid, "one with a bad flag")
	b.MaxKeywords = 7
	ms[400].Flags = []string{"k9"}
	_, err = ann.Append(b.Context(), box.ID, ms...)
	b.is(err, store.ErrLimit, "one with a keyword too many")
	b.unchanged(before, "Append")
	b.recount("ann")
}

func testAppendWaits(b *bench) {
	ann, box := b.As("ann"), b.box("ann", "Sent")
	var came [3]atomic.Bool
	ms := make([]store.Append, 3)
	for i := range ms {
		ms[i] = store.Append{Blob: hello, Wait: func() error { came[i].Store(true); return nil }}
	}
	_, err := ann.Append(b.Context(), box.ID, ms...)
	b.must(err)
	if !came[0].Load() || !came[1].Load() || !came[2].Load() {
		b.Error("not all contents were waited for")
	}
	before := b.state()
	ms[1].Wait = func() error { return errBoom }
	_, err = ann.Append(b.Context(), box.ID, ms...)
	b.is(err, errBoom, "one content that is lost")
	_, err = ann.Replace(b.Context(), box.ID, 1, box.ID, ms[1])
	b.is(err, errBoom, "a replacement that is lost")
	b.unchanged(before, "Append")
}

func testReplace(b *bench) {
	b.Keep = time.Hour
	ann := b.As("ann")
	p := b.deliver("", "ann", "ann")
	drafts := b.box("ann", "Drafts")
	is := func(what string, id store.MailboxID, want ...store.UID) {
		b.Helper()
		var got []store.UID
		for _, m := range b.messages(id, false) {
			got = append(got, m.UID)
		}
		if !slices.Equal(got, want) {
			b.Errorf("%s: there are %v, want %v", what, got, want)
		}
	}
	was := b.account("ann").ModSeq
	n, err := ann.Replace(b.Context(), p[0].Mailbox, 1, p[0].Mailbox, store.Append{Blob: hello, Flags: []string{`\draft`, "Work"}})
	b.must(err)
	is("beside it", n.Mailbox, 2, 3)
	rows := b.messages(n.Mailbox, true)
	if old, is := rows[0], rows[2]; n.UID != 3 || n.ID == p[0].ID || is.ID != n.ID || !slices.Equal(is.Flags, []string{"Work", `\Draft`}) ||
		!old.Expunged || old.Moved || old.KeepUntil.IsZero() || old.ModSeq != is.ModSeq || is.ModSeq != was+1 {
		b.Errorf("placed %+v, there is %+v, MODSEQ was %d", n, rows, was)
	}
	n, err = ann.Replace(b.Context(), p[0].Mailbox, 3, drafts.ID, store.Append{Blob: hello})
	b.must(err)
	is("left", p[0].Mailbox, 2)
	is("in another mailbox", drafts.ID, n.UID)
	before := b.state()
	_, err = ann.Replace(b.Context(), p[0].Mailbox, 3, drafts.ID, store.Append{Blob: hello})
	b.is(err, store.ErrNoMessage, "what has gone")
	_, err = ann.Replace(b.Context(), p[0].Mailbox, 77, drafts.ID, store.Append{Blob: hello})
	b.is(err, store.ErrNoMessage, "what never was")
	_, err = ann.Replace(b.Context(), p[0].Mailbox, 2, drafts.ID, store.Append{Blob: hello, Flags: []string{`\Nonesuch`}})
	b.is(err, store.ErrInvalid, "a bad flag")
	_, err = ann.Replace(b.Context(), p[0].Mailbox, 2, 4711, store.Append{Blob: hello})
	b.is(err, store.ErrNotFound, "into no mailbox")
	b.unchanged(before, "Replace")
	b.recount("ann")
}

func testReplaceShared(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	team, own := b.team("Team", 3), b.in("bob", "INBOX").Mailbox
	_, _, err := bob.SetFlags(b.Context(), team, store.FlagChange{Add: []string{`\Seen`}}, 1, 2)
	b.must(err)
	n, err := bob.Replace(b.Context(), team, 1, team, store.Append{Blob: hello, Flags: []string{`\Seen`}})
	b.must(err)
	for who, unseen := range map[*store.Access]int{ann: 3, bob: 1} {
		if mb, ms := b.scan(who, team, store.Query{}); mb.Unseen != unseen || len(ms) != 3 || ms[2].UID != n.UID {
			b.Errorf("%s sees %+v, %+v", who.Account(), mb, ms)
		}
	}
	n, err = bob.Replace(b.Context(), team, 2, own, store.Append{Blob: hello})
	b.must(err)
	if n.Account != "bob" || b.mailbox(team).Messages != 2 || b.mailbox(own).Messages != 2 {
		b.Errorf("placed %+v", n)
	}
	b.recount("ann")
	b.recount("bob")
}

func testReplaceQuota(b *bench) {
	limit := int64(12)
	b.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) {
		return mailkeel.Quota{Bytes: limit}, nil
	}
	ann := b.As("ann")
	in := b.deliver("", "ann", "ann")[0].Mailbox // of 5 each
	seven, eight, six := b.blob("seven:."), b.blob("eight::."), b.blob("shorte")
	before := b.state()
	_, err := ann.Replace(b.Context(), in, 1, in, store.Append{Blob: eight})
	b.is(err, store.ErrOverQuota, "8 for 5 where 2 are left")
	b.unchanged(before, "Replace")
	_, err = ann.Replace(b.Context(), in, 1, in, store.Append{Blob: seven})
	b.must(err)
	limit = 3 // less than there is
	_, err = ann.Replace(b.Context(), in, 3, in, store.Append{Blob: six})
	b.must(err)
	_, err = ann.Replace(b.Context(), in, 4, in, store.Append{Blob: seven})
	b.is(err, store.ErrOverQuota, "7 for 6 over quota")
	if u, err := ann.Quota(b.Context(), in); err != nil || u.Bytes != 11 {
		b.Errorf("usage %+v, %v", u, err)
	}
	b.recount("ann")
}

func testReplaceRace(b *bench) {
	ann := b.As("ann")
	in := b.deliver("", "ann")[0].Mailbox
	ch := make(chan error)
	for range 4 {
		go func() {
			_, err := ann.Replace(b.Context(), in, 1, in, store.Append{Blob: hello})
			ch <- err
		}()
	}
	won := 0
	for range 4 {
		if err := <-ch; err == nil {
			won++
		} else {
			b.is(err, store.ErrNoMessage, "the others")
		}
	}
	if mb := b.mailbox(in); won != 1 || mb.Messages != 1 || mb.UIDNext != 3 {
		b.Errorf("%d won, left %+v", won, mb)
	}
	b.recount("ann")
}
