package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/mailkeel/mailkeel/store"
)

var metadataTests = []test{
	{"MetadataComesAndGoesWithItsMailbox", testMetadata},
	{"MetadataIsAllOrNothing", testMetadataAtomic},
	{"MetadataNeedsRights", testMetadataRights},
	{"MetadataIsBounded", testMetadataBounds},
	{"MetadataNamesAreChecked", testMetadataNames},
}

// meta is what an account finds: "name=value" by name.
func (b *bench) meta(a *store.Access, id store.MailboxID) string {
	b.Helper()
	es, err := a.Metadata(b.Context(), id)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, e := range es {
		if e.Value == nil {
			b.Errorf("%s has a nil Value", e.Name)
		}
		out = append(out, fmt.Sprintf("%s=%s", e.Name, e.Value))
	}
	return strings.Join(out, " ")
}

func entry(name, value string) store.Metadata {
	return store.Metadata{Name: name, Value: []byte(value)}
}

func testMetadata(b *bench) {
	ann, box := b.As("ann"), b.box("ann", "Box").ID
	set := func(a *store.Access, id store.MailboxID, es ...store.Metadata) {
		b.Helper()
		b.must(a.SetMetadata(b.Context(), id, nil, es...))
	}
	want := func(a *store.Access, id store.MailboxID, want string) {
		b.Helper()
		if got := b.meta(a, id); got != want {
			b.Errorf("got %q, want %q", got, want)
		}
	}
	set(ann, box, entry("/Private/Comment", "mine"), entry("/shared/comment", "ours"), entry("/shared/empty", ""), entry("/shared/nul", "a\x00\xff"))
	want(ann, box, "/private/comment=mine /shared/comment=ours /shared/empty= /shared/nul=a\x00\xff")
	set(ann, 0, entry("/private/comment", "server"))
	want(ann, 0, "/private/comment=server")
	want(b.As("bob"), 0, "")
	b.must(ann.Grant(b.Context(), box, "bob", "lrw"))
	bob := b.As("bob")
	want(bob, box, "/shared/comment=ours /shared/empty= /shared/nul=a\x00\xff")
	set(bob, box, entry("/private/comment", "bob's"), entry("/shared/comment", "changed"), store.Metadata{Name: "/shared/nul"})
	want(bob, box, "/private/comment=bob's /shared/comment=changed /shared/empty=")
	want(ann, box, "/private/comment=mine /shared/comment=changed /shared/empty=")

	seq := b.account("ann").ModSeq
	if got := b.mailbox(box).ModSeq; got != seq {
		b.Errorf("the mailbox is at %d after metadata changed at %d", got, seq)
	}
	set(ann, box, entry("/private/comment", "mine"), store.Metadata{Name: "/private/none"})
	if b.account("ann").ModSeq != seq {
		b.Error("what changed nothing took a ModSeq")
	}
	b.must(ann.Rename(b.Context(), box, "Else/Where"))
	want(ann, box, "/private/comment=mine /shared/comment=changed /shared/empty=")
	b.must(ann.Grant(b.Context(), box, "bob", ""))
	b.must(ann.Grant(b.Context(), box, "bob", "lr"))
	want(bob, box, "/shared/comment=changed /shared/empty=") // his own went with his rights
	set(bob, box, entry("/private/comment", "again"))
	other := b.box("ann", "Other").ID
	set(ann, other, entry("/private/comment", "stays"))
	got, err := ann.MetadataOf(b.Context(), box, other, 99_999)
	if err != nil || len(got) != 2 || len(got[box]) != 3 || len(got[other]) != 1 {
		b.Errorf("of both: %v, %v", got, err)
	}
	if got, err := bob.MetadataOf(b.Context(), box, other); err != nil || len(got) != 1 || len(got[box]) != 3 {
		b.Errorf("of both for bob: %v, %v", got, err)
	}
	b.must(ann.Delete(b.Context(), box))
	want(ann, other, "/private/comment=stays")
	b.must(b.Backend.View(b.Context(), func(tx store.Tx) error {
		for o, err := range tx.Objects("ann", store.ObjectQuery{}) {
			if err != nil {
				return err
			}
			if strings.HasPrefix(o.Kind, fmt.Sprintf("metadata/%d/", box)) {
				b.Errorf("left behind: %s %s", o.Kind, o.ID)
			}
		}
		return nil
	}))
	_, err = ann.PutObject(b.Context(), store.Object{Kind: fmt.Sprintf("metadata/%d/", other), ID: "/shared/x"})
	b.is(err, store.ErrDenied, "writing metadata as an object")
}

func testMetadataAtomic(b *bench) {
	ann, box := b.As("ann"), b.box("ann", "Box").ID
	drafts := b.box("ann", "Drafts").ID
	role, other := "drafts", "sent"
	b.must(ann.SetMetadata(b.Context(), drafts, &role))
	before := b.account("ann")
	for _, es := range [][]store.Metadata{
		{entry("/shared/a", "1"), entry("/nowhere/a", "1")},
		{entry("/shared/a", "1"), {Name: "/shared/b", Value: make([]byte, store.MaxMetadata+1)}},
	} {
		if err := ann.SetMetadata(b.Context(), box, &other, es...); err == nil {
			b.Errorf("%.60v was taken", es)
		}
	}
	b.is(ann.SetMetadata(b.Context(), box, &role, entry("/shared/a", "1")), store.ErrExists, "a role that is taken")
	if got := b.account("ann"); got != before {
		b.Errorf("refused, and %+v became %+v", before, got)
	}
	b.must(ann.SetMetadata(b.Context(), box, &other, entry("/shared/a", "1")))
	if mb := b.mailbox(box); mb.Role != "sent" || b.meta(ann, box) != "/shared/a=1" {
		b.Errorf("got %+v with %s", mb, b.meta(ann, box))
	}
}

func testMetadataRights(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	role := ""
	for _, tt := range []struct {
		have         store.Rights
		read, shared error
		role         error
	}{
		{"", store.ErrNotFound, store.ErrNotFound, store.ErrNotFound},
		{"rswipkxte", store.ErrNotFound, store.ErrNotFound, store.ErrNotFound},
		{"l", store.ErrDenied, store.ErrDenied, store.ErrDenied},
		{"lkxtea", store.ErrDenied, store.ErrDenied, store.ErrDenied},
		{"lr", nil, store.ErrDenied, store.ErrDenied},
		{"ls", nil, store.ErrDenied, store.ErrDenied},
		{"li", nil, store.ErrDenied, store.ErrDenied},
		{"lp", nil, store.ErrDenied, store.ErrDenied},
		{"lw", nil, nil, store.ErrDenied},
		{"lwa", nil, nil, nil},
	} {
		box := b.box("ann", "Box "+string(tt.have)).ID
		if tt.have != "" {
			b.must(ann.Grant(b.Context(), box, "bob", tt.have))
		}
		_, err := bob.Metadata(b.Context(), box)
		b.is(err, tt.read, fmt.Sprintf("reading with %q", tt.have))
		b.is(bob.SetMetadata(b.Context(), box, nil, entry("/private/x", "1")), tt.read, fmt.Sprintf("a private one with %q", tt.have))
		b.is(bob.SetMetadata(b.Context(), box, nil, entry("/shared/x", "1")), tt.shared, fmt.Sprintf("a shared one with %q", tt.have))
		b.is(bob.SetMetadata(b.Context(), box, &role), tt.role, fmt.Sprintf("a role with %q", tt.have))
	}
	gone := b.box("ann", "Gone").ID
	b.must(ann.Delete(b.Context(), gone))
	_, err := ann.Metadata(b.Context(), gone)
	b.is(err, store.ErrNotFound, "of a deleted mailbox")
	b.is(ann.SetMetadata(b.Context(), gone, nil, entry("/shared/x", "1")), store.ErrNotFound, "to a deleted mailbox")
	b.is(ann.SetMetadata(b.Context(), 0, nil, entry("/shared/x", "1")), store.ErrInvalid, "shared ones of an account")
}

func testMetadataBounds(b *bench) {
	ann, bob, box := b.As("ann"), b.As("bob"), b.box("ann", "Box").ID
	b.must(ann.Grant(b.Context(), box, "bob", "lr"))
	fill := func(a *store.Access, prefix string, size int) (n int) {
		b.Helper()
		for ; ; n += 10 {
			var es []store.Metadata
			for i := range 10 {
				es = append(es, store.Metadata{Name: fmt.Sprintf("%s%d", prefix, n+i), Value: bytes.Repeat([]byte("x"), size)})
			}
			switch err := a.SetMetadata(b.Context(), box, nil, es...); {
			case errors.Is(err, store.ErrLimit):
				return n
			case err != nil:
				b.Fatal(err)
			}
		}
	}
	if n := fill(bob, "/private/", 1); n != 50 {
		b.Errorf("a guest has %d", n)
	}
	if n := fill(ann, "/private/", 1); n != 200 {
		b.Errorf("the owner has %d", n)
	}
	b.must(ann.SetMetadata(b.Context(), box, nil, entry("/private/7", "changed"))) // no more than before
	if n := fill(ann, "/shared/", store.MaxMetadata); n != 200 {
		b.Errorf("%d are shared", n)
	}
	var left int
	for i := range 10 { // all mailboxes together
		box = b.box("ann", fmt.Sprint("Box ", i)).ID
		if left = fill(ann, "/shared/", store.MaxMetadata); left < 200 {
			break
		}
	}
	if left == 200 {
		b.Error("all mailboxes together have no bound")
	}
	b.must(ann.Delete(b.Context(), box)) // what went is not counted
	box = b.box("ann", "Again").ID
	if n := fill(ann, "/shared/", store.MaxMetadata); n != left {
		b.Errorf("%d after a mailbox with %d went", n, left)
	}
}

func testMetadataNames(b *bench) {
	long := "/shared/" + strings.Repeat("x", 247)
	for name, want := range map[string]string{
		"/shared/comment": "/shared/comment", "/PRIVATE/Vendor/X y": "/private/vendor/x y", long: long,
	} {
		if got, err := store.CleanEntry(name); got != want || err != nil {
			b.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "/", "/shared", "/shared/", "shared/comment", "/other/comment", "/shared//comment", "/shared/comment/", "/shared/*", "/shared/a%", "/shared/a\x00", "/shared/a\r\n", "/shared/ä", "/shared/\x7f", long + "x"} {
		if got, err := store.CleanEntry(name); !errors.Is(err, store.ErrInvalid) {
			b.Errorf("%q: %q, %v", name, got, err)
		}
	}
}
