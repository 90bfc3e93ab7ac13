package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/store"
)

var mailboxTests = []test{
	{"InboxIsAlwaysThere", testInbox},
	{"MailboxNamesAreChecked", testNames},
	{"CreateMakesWhatIsAbove", testCreate},
	{"RenameTakesInferiorsAlong", testRename},
	{"RenameOfInboxMovesItsMessages", testRenameInbox},
	{"DeleteSparesInferiors", testDeleteSparesInferiors},
	{"OneMailboxForEachRole", testSetRole},
	{"SubscribeIsNoted", testSubscribe},
	{"MailboxesHaveALimit", testMailboxLimit},
}

func testInbox(b *bench) {
	b.Limit = limits(map[store.AccountID]int64{"ann": 0, "bob": 0})
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX"}) {
		b.Errorf("a new account has %q", got)
	}
	f, err := b.As("bob").Folder(b.Context(), "inBox")
	b.must(err)
	if f.Name != "INBOX" || f.Account != "bob" || f.Rights != store.AllRights {
		b.Errorf("got %+v", f)
	}
	if p := b.deliver("", "bob")[0]; p.Mailbox != f.ID {
		b.Errorf("delivered to %+v", p)
	}
	_, err = b.As("bob").Folder(b.Context(), "Nowhere")
	b.is(err, store.ErrNotFound, "a missing folder")
	_, err = b.As("bob").Folder(b.Context(), "a//\x00")
	b.is(err, store.ErrNotFound, "a folder that cannot be")
	_, err = b.As("nobody").Folders(b.Context())
	b.is(err, store.ErrNotFound, "the folders of an unknown account")
	if acc := b.account("nobody"); acc.Mailboxes != 0 {
		b.Errorf("made %+v", acc)
	}
}

func testNames(b *bench) {
	ann := b.As("ann")
	long := strings.Repeat("x", 255)
	mb := b.box("ann", "Home")
	for _, bad := range []string{
		"", "/", "a/", "/a", "a//b", "a\x00", "a\r\nb", "a\x7f", "a\u0085", "a\u2028b", "a\xff", long + "x", strings.Repeat(long[:199]+"/", 5) + "y",
	} {
		_, err := ann.Create(b.Context(), bad, "")
		b.is(err, store.ErrInvalid, fmt.Sprintf("creating %.30q", bad))
		b.is(ann.Rename(b.Context(), mb.ID, bad), store.ErrInvalid, fmt.Sprintf("renaming to %.30q", bad))
		_, err = ann.CreateIn(b.Context(), mb.ID, bad)
		b.is(err, store.ErrInvalid, fmt.Sprintf("creating %.30q below", bad))
	}
	for _, good := range []string{long, "Entwürfe", "日本語", "a b", "*%", "..", "#x", "&AOQ-", `\"`, strings.Repeat(long[:198]+"/", 5) + "y"} {
		got := b.box("ann", good)
		if f, err := ann.Folder(b.Context(), good); err != nil || f.ID != got.ID || f.Name != good {
			b.Errorf("%.30q is %+v, %v", good, f, err)
		}
	}
	for _, in := range []string{"inbox", "Inbox/Sub", "INBOX/sub/Inbox"} {
		got := b.box("ann", in)
		if !strings.HasPrefix(got.Name, "INBOX") || got.Name[5:] != in[5:] {
			b.Errorf("%q became %q", in, got.Name)
		}
		_, err := ann.Create(b.Context(), "iNbOx"+in[5:], "")
		b.is(err, store.ErrExists, "INBOX in other case")
	}
	if home := b.box("ann", "home"); home.ID == mb.ID { // all other names have case
		b.Error("names have no case")
	}
	b.recount("ann")
}

func testCreate(b *bench) {
	ann := b.As("ann")
	c, err := ann.Create(b.Context(), "a/b/c", "archive")
	b.must(err)
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "a", "a/b", "a/b/c"}) {
		b.Errorf("mailboxes %q", got)
	}
	if a, err := ann.Folder(b.Context(), "a"); err != nil || a.Role != "" || c.Role != "archive" || a.ModSeq != c.ModSeq || a.UIDValidity == c.UIDValidity {
		b.Errorf("made %+v and %+v, %v", a, c, err)
	}
	before := b.account("ann")
	_, err = ann.Create(b.Context(), "x/y", "archive")
	b.is(err, store.ErrExists, "a second archive")
	_, err = ann.Create(b.Context(), "x", "inbox")
	b.is(err, store.ErrInvalid, "a second inbox")
	_, err = ann.Create(b.Context(), "x", "No Such")
	b.is(err, store.ErrInvalid, "a role that cannot be")
	if got := b.account("ann"); got != before {
		b.Errorf("failures left %+v, want %+v", got, before)
	}
	d, err := ann.CreateIn(b.Context(), c.ID, "d")
	if b.must(err); d.Name != "a/b/c/d" {
		b.Errorf("made %+v", d)
	}
	_, err = ann.CreateIn(b.Context(), c.ID, "d/e")
	b.is(err, store.ErrInvalid, "two components")
	b.recount("ann")
}

func testRename(b *bench) {
	ann := b.As("ann")
	p := b.in("ann", "a/b/c")
	b.in("ann", "a/b")
	b.box("ann", "ab")
	folder := func(name string) store.Mailbox {
		b.Helper()
		f, err := ann.Folder(b.Context(), name)
		b.must(err)
		return f.Mailbox
	}
	was := folder("a/b")
	seq := b.account("ann").ModSeq
	b.must(ann.Rename(b.Context(), was.ID, "x/y"))
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "a", "ab", "x", "x/y", "x/y/c"}) {
		b.Errorf("mailboxes %q", got)
	}
	now := folder("x/y")
	if now.ModSeq != seq+1 || folder("x/y/c").ModSeq != seq+1 || folder("a").ModSeq > seq {
		b.Error("the wrong mailboxes changed")
	}
	if now.Name, now.ModSeq = was.Name, was.ModSeq; now != was {
		b.Errorf("renamed %+v to %+v", was, now)
	}
	if m := b.messages(p.Mailbox, false); len(m) != 1 || m[0].UID != p.UID || folder("x/y/c").ID != p.Mailbox {
		b.Errorf("its message is %+v", m)
	}
	for _, tt := range []struct {
		name string
		want error
	}{{"x/y", store.ErrExists}, {"ab", store.ErrExists}, {"inbox", store.ErrExists}, {"x/y/z", store.ErrInvalid}, {"x/y/c/d", store.ErrInvalid}} {
		b.is(ann.Rename(b.Context(), was.ID, tt.name), tt.want, "renaming x/y to "+tt.name)
	}
	b.box("ann", "t/c") // in the way of an inferior only
	b.must(ann.Delete(b.Context(), folder("t").ID))
	b.is(ann.Rename(b.Context(), was.ID, "t"), store.ErrExists, "an inferior's name is taken")
	deep := strings.Repeat("n/", 499) + "n"
	b.is(ann.Rename(b.Context(), was.ID, deep), store.ErrInvalid, "an inferior's name becomes too long")
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "a", "ab", "t/c", "x", "x/y", "x/y/c"}) {
		b.Errorf("failures left %q", got)
	}
	b.must(ann.Rename(b.Context(), was.ID, "u"))
	b.recount("ann")
}

func testRenameInbox(b *bench) {
	ann := b.As("ann")
	p := b.deliver("", "ann", "ann")
	b.box("ann", "INBOX/sub")
	b.must(ann.Rename(b.Context(), p[0].Mailbox, "INBOX/old/2025"))
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "INBOX/old", "INBOX/old/2025", "INBOX/sub"}) {
		b.Errorf("mailboxes %q", got)
	}
	old, err := ann.Folder(b.Context(), "INBOX/old/2025")
	b.must(err)
	in, err := ann.Folder(b.Context(), "INBOX")
	b.must(err)
	if ms := b.messages(old.ID, false); in.ID != p[0].Mailbox || in.Messages != 0 || in.UIDNext != 3 || len(ms) != 2 || ms[0].ID != p[0].ID {
		b.Errorf("INBOX is %+v, the messages are %+v", in, ms)
	}
	b.is(ann.Rename(b.Context(), in.ID, "INBOX/sub"), store.ErrExists, "renaming INBOX to what is there")
	b.must(ann.Rename(b.Context(), in.ID, "Empty"))
	b.recount("ann")
}

func testDeleteSparesInferiors(b *bench) {
	ann := b.As("ann")
	b.in("ann", "a/b")
	a, err := ann.Folder(b.Context(), "a")
	b.must(err)
	if kids, err := ann.Children(b.Context(), a.ID); err != nil || len(kids) != 1 || kids[0].Name != "a/b" {
		b.Errorf("children %+v, %v", kids, err)
	}
	b.must(ann.Delete(b.Context(), a.ID))
	b.is(ann.Delete(b.Context(), a.ID), store.ErrNotFound, "deleting again")
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "a/b"}) {
		b.Errorf("mailboxes %q", got)
	}
	if again := b.box("ann", "a"); again.ID == a.ID || again.UIDValidity <= a.UIDValidity {
		b.Errorf("made again as %+v, was %+v", again, a)
	}
	b.recount("ann")
}

func testSetRole(b *bench) {
	ann := b.As("ann")
	x, y := b.box("ann", "x"), b.box("ann", "y")
	in := b.deliver("", "ann")[0].Mailbox
	b.must(ann.SetRole(b.Context(), x.ID, "sent"))
	b.is(ann.SetRole(b.Context(), y.ID, "sent"), store.ErrExists, "a second sent")
	b.is(ann.SetRole(b.Context(), in, "sent"), store.ErrInvalid, "a role for INBOX")
	b.is(ann.SetRole(b.Context(), y.ID, `\Sent`), store.ErrInvalid, "a role with a backslash")
	seq := b.account("ann").ModSeq
	b.must(ann.SetRole(b.Context(), x.ID, "sent"))
	if b.account("ann").ModSeq != seq {
		b.Error("the same role again took a ModSeq")
	}
	b.must(ann.SetRole(b.Context(), x.ID, ""))
	b.must(ann.SetRole(b.Context(), y.ID, "sent"))
	if got := b.mailbox(y.ID); got.Role != "sent" || b.mailbox(x.ID).Role != "" {
		b.Errorf("got %+v", got)
	}
}

func testSubscribe(b *bench) {
	ann, mb := b.As("ann"), b.box("ann", "x")
	b.must(ann.Subscribe(b.Context(), mb.ID, false))
	if b.mailbox(mb.ID).Subscribed {
		b.Error("still subscribed")
	}
	seq := b.account("ann").ModSeq
	b.must(ann.Subscribe(b.Context(), mb.ID, false))
	if b.account("ann").ModSeq != seq {
		b.Error("the same again took a ModSeq")
	}
	b.must(ann.Subscribe(b.Context(), mb.ID, true))
	if !b.mailbox(mb.ID).Subscribed {
		b.Error("not subscribed")
	}
}

func testMailboxLimit(b *bench) {
	b.MaxMailboxes = 3
	ann := b.As("ann")
	b.box("ann", "a/b")
	_, err := ann.Create(b.Context(), "c/d", "")
	b.is(err, store.ErrLimit, "two more where one may be")
	c := b.box("ann", "c")
	_, err = ann.Create(b.Context(), "d", "")
	b.is(err, store.ErrLimit, "a fourth")
	b.is(ann.Rename(b.Context(), c.ID, "d/e"), store.ErrLimit, "a fourth by renaming")
	out, err := b.Deliver(b.Context(), store.Delivery{Blob: hello, Targets: []store.Target{{Account: "ann"}, {Account: "bob"}}})
	b.must(err)
	if !errors.Is(out[0].Err, store.ErrLimit) || out[1].Err != nil {
		b.Errorf("a delivery for which INBOX would be the fourth: %+v", out)
	}
	b.must(ann.Delete(b.Context(), c.ID))
	b.deliver("", "ann")
	b.recount("ann")
}
