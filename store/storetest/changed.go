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
