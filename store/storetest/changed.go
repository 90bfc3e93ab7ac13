package storetest

import (
	"errors"
	"fmt"

	"github.com/mailkeel/mailkeel/store"
)

func testFoldersSince(b *bench) {
	a := b.As("ann")
	b.deliver("1", "ann")
	list := func(after store.ModSeq) (string, store.ModSeq) {
		fs, now, err := a.FoldersSince(b.Context(), after)
		b.must(err)
		out := ""
		for _, f := range fs {
			out += fmt.Sprint(f.Name, " ", f.Messages, " ", f.Deleted, " ", f.Rights == store.AllRights, ";")
		}
		return out, now
	}
	got, now := list(0)
	if got != "INBOX 1 false true;" || now != b.account("ann").ModSeq {
		b.Error(got, now)
	}
	if got, same := list(now); got != "" || same != now {
		b.Error(got, same)
	}
	box, err := a.Create(b.Context(), "x", "")
	b.must(err)
	begin := now
	if got, now = list(now); got != "x 0 false true;" {
		b.Error(got)
	}
	b.must(a.Rename(b.Context(), box.ID, "y"))
	if got, now = list(now); got != "y 0 false true;" {
		b.Error(got)
	}
	b.deliver("2", "ann")
	b.deliver("3", "bob") // of no concern
	b.must(a.Delete(b.Context(), box.ID))
	if got, now = list(now); got != "INBOX 2 false true;y 0 true true;" {
		b.Error(got)
	}
	if got, _ := list(0); got != "INBOX 2 false true;" {
		b.Error(got)
	}
	if _, _, err := a.FoldersSince(b.Context(), now+1); !errors.Is(err, store.ErrHorizon) {
		b.Error("of the future:", err)
	}
	b.must(b.Forget(b.Context(), "ann", now))
	if _, _, err := a.FoldersSince(b.Context(), begin); !errors.Is(err, store.ErrHorizon) {
		b.Error("beyond the horizon:", err)
	}
	if got, _ := list(now); got != "" {
		b.Error(got)
	}
}

func testWakeFolders(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	theirs := b.deliver("1", "bob")[0].Mailbox
	b.deliver("2", "ann")
	b.must(bob.Grant(b.Context(), theirs, "ann", "lr"))
	shared, err := ann.Shared(b.Context())
	b.must(err)
	wake, stop := ann.WakeFolders(shared)
	defer stop()
	<-wake // once it listens
	for i, who := range []store.AccountID{"bob", "ann", "bob"} {
		for len(wake) > 0 {
			<-wake
		}
		b.deliver(fmt.Sprint("more", i), who)
		select {
		case <-wake:
		case <-b.Context().Done():
			b.Fatal("no hint of a delivery to", who)
		}
	}
}

func testMetadataSince(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	box := b.deliver("1", "ann")[0].Mailbox
	other, err := ann.Create(b.Context(), "other", "")
	b.must(err)
	b.must(ann.Grant(b.Context(), box, "bob", "lrw"))
	_, now, err := ann.MetadataSince(b.Context(), "ann", 0)
	b.must(err)
	set := func(a *store.Access, id store.MailboxID, name, value string) {
		b.Helper()
		var v []byte
		if value != "" {
			v = []byte(value)
		}
		b.must(a.SetMetadata(b.Context(), id, nil, store.Metadata{Name: name, Value: v}))
	}
	set(ann, box, "/shared/a", "1")
	set(ann, box, "/private/b", "1")
	set(ann, other.ID, "/shared/c", "1")
	set(ann, 0, "/private/d", "1")
	set(bob, box, "/private/e", "1")
	set(bob, box, "/shared/a", "")
	b.deliver("2", "ann")
	list := func(a *store.Access, after store.ModSeq) (out string) {
		cs, is, err := a.MetadataSince(b.Context(), "ann", after)
		b.must(err)
		if is != b.account("ann").ModSeq {
			b.Error("the account is at", is)
		}
		for _, c := range cs {
			out += fmt.Sprint(c.Mailbox == box, c.Name, " ")
		}
		return out
	}
	if got, want := list(ann, now), "true/private/b false/shared/c false/private/d true/shared/a "; got != want {
		b.Errorf("ann hears of %s, not %s", got, want)
	}
	if got, want := list(bob, now), "true/private/e true/shared/a "; got != want {
		b.Errorf("bob hears of %s, not %s", got, want)
	}
	if got := list(b.As("eve"), now) + list(ann, 0) + list(ann, b.account("ann").ModSeq); got != "" {
		b.Error(got)
	}
}
