package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

var sharingTests = []test{
	{"MailboxesOfOthersHaveNames", testFolderOf},
	{"MailboxesAreMadeBelowThoseOfOthers", testCreateOf},
	{"NewMailboxesInheritGrants", testInherit},
	{"GrantsChangeInOneStep", testRegrant},
	{"MarkedBytes", testMarkedBytes},
}

func testFolderOf(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	p := b.in("ann", "Up/Team")
	b.in("ann", "Up/Team", `\Seen`)
	b.box("ann", "Up/Secret")
	of := func(a *store.Access, name string, need store.Rights, want error) store.Folder {
		b.Helper()
		f, err := a.FolderOf(b.Context(), "ann", name, need)
		b.is(err, want, fmt.Sprintf("%s with %q", name, need))
		return f
	}
	of(bob, "Up/Team", "", store.ErrNotFound)
	b.must(ann.Grant(b.Context(), p.Mailbox, "bob", "lr"))
	if f := of(bob, "Up/Team", "r", nil); f.ID != p.Mailbox || f.Rights != "lr" || f.Unseen != 2 || f.Name != "Up/Team" {
		b.Errorf("bob finds %+v", f)
	}
	if f := of(ann, "Up/Team", "ra", nil); f.Rights != store.AllRights || f.Unseen != 1 {
		b.Errorf("ann finds %+v", f)
	}
	of(bob, "Up/Team", "i", store.ErrDenied)
	b.must(ann.Grant(b.Context(), p.Mailbox, "bob", "i"))
	of(bob, "Up/Team", "", nil)
	of(bob, "Up/Team", "r", store.ErrNotFound)
	of(bob, "Up/Team", "l", store.ErrNotFound)
	for _, name := range []string{"Up", "Up/Secret", "Up/None", "None", "", "a//b", "INBOX", "Up/Team/", "\x00"} {
		of(bob, name, "", store.ErrNotFound)
	}
	if _, err := bob.FolderOf(b.Context(), "nobody", "INBOX", ""); !errors.Is(err, store.ErrNotFound) {
		b.Errorf("of nobody: %v", err)
	}
}

func testCreateOf(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	team := b.box("ann", "Team").ID
	b.box("ann", "Secret")
	refused := func(owner store.AccountID, name string, want error) {
		b.Helper()
		_, err := bob.CreateOf(b.Context(), owner, name)
		b.is(err, want, fmt.Sprintf("creating %s of %s", name, owner))
	}
	names := []string{"Team", "Team/New", "Secret", "Secret/New", "None", "None/New", "INBOX", "INBOX/New"}
	for _, name := range names {
		refused("ann", name, store.ErrDenied)
		refused("nobody", name, store.ErrDenied)
	}
	b.must(ann.Grant(b.Context(), team, "bob", "lr"))
	for _, name := range names {
		refused("ann", name, store.ErrDenied)
	}
	b.must(ann.Grant(b.Context(), team, "bob", "lrk"))
	for _, name := range []string{"Team", "Secret", "Secret/New", "None", "INBOX/New"} {
		refused("ann", name, store.ErrDenied)
	}
	refused("ann", "Team/a//b", store.ErrInvalid)
	mb, err := bob.CreateOf(b.Context(), "ann", "Team/A/B")
	if err != nil || mb.Account != "ann" || mb.Name != "Team/A/B" {
		b.Errorf("got %+v, %v", mb, err)
	}
	refused("ann", "Team/A", store.ErrExists) // which may be known
	if f, err := bob.FolderOf(b.Context(), "ann", "Team/A/B", "lrk"); err != nil || f.ID != mb.ID {
		b.Errorf("the maker finds %+v, %v", f, err)
	}
	b.recount("ann")
}

func testInherit(b *bench) {
	ann := b.As("ann")
	team := b.box("ann", "Team").ID
	b.must(ann.Grant(b.Context(), team, "bob", "lr"))
	b.must(ann.Grant(b.Context(), team, "cat", "lrswi"))
	b.box("ann", "Team/A/B")
	b.box("ann", "Teams") // beside it
	up, err := ann.Folder(b.Context(), "Team/A")
	b.must(err)
	_, err = ann.CreateIn(b.Context(), up.ID, "C")
	b.must(err)
	for who, want := range map[store.AccountID]store.Rights{"bob": "lr", "cat": "lrswi"} {
		fs, err := b.As(who).Shared(b.Context())
		b.must(err)
		var got []string
		for _, f := range fs {
			got = append(got, f.Name)
			if f.Rights != want {
				b.Errorf("%s has %q in %s", who, f.Rights, f.Name)
			}
		}
		if !slices.Equal(got, []string{"Team", "Team/A", "Team/A/B", "Team/A/C"}) {
			b.Errorf("%s sees %q", who, got)
		}
	}
	b.must(ann.Grant(b.Context(), up.ID, "bob", "")) // each has its own
	f, err := ann.Folder(b.Context(), "Team/A/B")
	b.must(err)
	if gs, err := ann.Grants(b.Context(), f.ID); err != nil || len(gs) != 2 {
		b.Errorf("grants %+v, %v", gs, err)
	}
	b.box("ann", "Team/A/D")
	if f, err = ann.Folder(b.Context(), "Team/A/D"); err != nil {
		b.Fatal(err)
	}
	if gs, err := ann.Grants(b.Context(), f.ID); err != nil || !slices.Equal(gs, []store.Grant{{To: "cat", Rights: "lrswi"}}) {
		b.Errorf("grants %+v, %v", gs, err)
	}
}

func testRegrant(b *bench) {
	ann, box := b.As("ann"), b.box("ann", "Box").ID
	const n = 9
	done := make(chan error, n)
	for _, c := range "lrswipkxt" {
		go func() {
			done <- ann.Regrant(b.Context(), box, "bob", func(old store.Rights) store.Rights { return old + store.Rights(c) })
		}()
	}
	for range n {
		b.must(<-done)
	}
	if gs, err := ann.Grants(b.Context(), box); err != nil || !slices.Equal(gs, []store.Grant{{To: "bob", Rights: "lrswipkxt"}}) {
		b.Errorf("grants %+v, %v", gs, err)
	}
	b.is(ann.Regrant(b.Context(), box, "bob", func(old store.Rights) store.Rights { return old + "?" }), store.ErrInvalid, "a right that is none")
}

func testMarkedBytes(b *bench) {
	b.Keep = time.Hour
	ann, p := b.As("ann"), b.in("ann", "Box")
	n := func(want int64) {
		b.Helper()
		if got, err := ann.MarkedBytes(b.Context(), p.Mailbox); got != want || err != nil {
			b.Errorf("%d bytes are marked, %v, want %d", got, err, want)
		}
	}
	n(0)
	b.in("ann", "Box", `\Deleted`)
	b.in("ann", "Box", `\Deleted`, `\Seen`)
	n(10)
	_, err := ann.Expunge(b.Context(), p.Mailbox, 2)
	b.must(err)
	n(5)
}
