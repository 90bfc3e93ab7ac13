package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

var accessTests = []test{
	{"RightsHoldForEveryVerb", testRights},
	{"StrangersCannotTellWhatIsThere", testStrangers},
	{"GrantsComeAndGo", testGrants},
	{"RenameInAnothersTreeNeedsTheRightAbove", testRenameRights},
	{"RightsDecideWhichFlagsAreKept", testFlagRights},
	{"SharedMailboxesAreListed", testShared},
	{"ColdRowsOfOtherMailboxesStayHidden", testColdRights},
	{"ObjectsBelongToTheirAccount", testObjects},
	{"ChangedMailboxesAreListed", testFoldersSince},
	{"WakeFoldersHearsOfSharedMailboxes", testWakeFolders},
	{"ChangedMetadataIsToldToThoseWhoMayRead", testMetadataSince},
}

// limits knows only the accounts in m.
func limits(m map[store.AccountID]int64) func(context.Context, store.AccountID) (mailkeel.Quota, error) {
	return func(_ context.Context, id store.AccountID) (mailkeel.Quota, error) {
		n, ok := m[id]
		if !ok {
			return mailkeel.Quota{}, store.ErrNotFound
		}
		return mailkeel.Quota{Bytes: n}, nil
	}
}

// A verb is something that can be done with a mailbox that has message 1 and a
// tombstone 2, by an account with a mailbox of its own that has message 1.
type verb struct {
	name string
	need store.Rights
	do   func(b *bench, a *store.Access, id, own store.MailboxID) error
}

var verbs = []verb{
	{"Mailbox", "l", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Mailbox(b.Context(), id)
		return err
	}},
	{"Children", "l", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Children(b.Context(), id)
		return err
	}},
	{"Subscribe", "l", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		return a.Subscribe(b.Context(), id, false)
	}},
	{"Select", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, _, err := a.Select(b.Context(), id)
		return err
	}},
	{"Scan", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		return a.Scan(b.Context(), id, store.Query{}, func(store.Mailbox, iter.Seq2[store.Message, error]) error { return nil })
	}},
	{"Cold", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Cold(b.Context(), id, 1, 2, 3)
		return err
	}},
	{"Open", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, rc, err := a.Open(b.Context(), id, 1)
		if err == nil {
			err = rc.Close()
		}
		return err
	}},
	{"OpenAt", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		m := b.messages(id, true)
		if len(m) == 0 {
			m = []store.Message{{Account: "ann", Mailbox: id, Blob: hello.Ref}}
		}
		rc, err := a.OpenAt(b.Context(), m[0], store.Cold{ID: m[0].ID}, 0, -1)
		if err == nil {
			err = rc.Close()
		}
		return err
	}},
	{"Keywords", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Keywords(b.Context(), id)
		return err
	}},
	{"Quota", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Quota(b.Context(), id)
		return err
	}},
	{"MarkedBytes", "r", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.MarkedBytes(b.Context(), id)
		return err
	}},
	{"SetFlags Seen", "s", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, _, err := a.SetFlags(b.Context(), id, store.FlagChange{Add: []string{`\Seen`}}, 1)
		return err
	}},
	{"SetFlags Flagged", "w", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, _, err := a.SetFlags(b.Context(), id, store.FlagChange{Remove: []string{`\Flagged`}}, 1)
		return err
	}},
	{"SetFlags Deleted", "t", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, _, err := a.SetFlags(b.Context(), id, store.FlagChange{Add: []string{`\Deleted`}}, 1)
		return err
	}},
	{"Room", "i", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		return a.Room(b.Context(), id, 1, 1)
	}},
	{"Append", "i", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Append(b.Context(), id, store.Append{Blob: hello})
		return err
	}},
	{"Append of nothing", "i", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Append(b.Context(), id)
		return err
	}},
	{"Replace of", "te", func(b *bench, a *store.Access, id, own store.MailboxID) error {
		_, err := a.Replace(b.Context(), id, 1, own, store.Append{Blob: hello})
		return err
	}},
	{"Replace into", "i", func(b *bench, a *store.Access, id, own store.MailboxID) error {
		_, err := a.Replace(b.Context(), own, 1, id, store.Append{Blob: hello})
		return err
	}},
	{"Copy from", "r", func(b *bench, a *store.Access, id, own store.MailboxID) error {
		_, err := a.Copy(b.Context(), id, own, 1)
		return err
	}},
	{"Copy to", "i", func(b *bench, a *store.Access, id, own store.MailboxID) error {
		_, err := a.Copy(b.Context(), own, id, 1)
		return err
	}},
	{"Move from", "rte", func(b *bench, a *store.Access, id, own store.MailboxID) error {
		_, err := a.Move(b.Context(), id, own, 1)
		return err
	}},
	{"Move to", "i", func(b *bench, a *store.Access, id, own store.MailboxID) error {
		_, err := a.Move(b.Context(), own, id, 1)
		return err
	}},
	{"Move of nothing", "i", func(b *bench, a *store.Access, id, own store.MailboxID) error {
		_, err := a.Move(b.Context(), own, id)
		return err
	}},
	{"Expunge", "e", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Expunge(b.Context(), id, 1)
		return err
	}},
	{"Restore", "ri", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Restore(b.Context(), id, 2)
		return err
	}},
	{"CreateIn", "k", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.CreateIn(b.Context(), id, "New")
		return err
	}},
	{"Rename", "x", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		return a.Rename(b.Context(), id, fmt.Sprint("Up/Renamed ", id))
	}},
	{"Delete", "x", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		return a.Delete(b.Context(), id)
	}},
	{"SetRole", "a", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		return a.SetRole(b.Context(), id, fmt.Sprint("role-", id))
	}},
	{"Grants", "a", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		_, err := a.Grants(b.Context(), id)
		return err
	}},
	{"Grant", "a", func(b *bench, a *store.Access, id, _ store.MailboxID) error {
		return a.Grant(b.Context(), id, "dan", "lr")
	}},
}

// target makes a mailbox of ann's, fit for any verb.
func (b *bench) target(name string) store.MailboxID {
	b.Helper()
	ann := b.As("ann")
	mb := b.box("ann", "Up/"+name)
	_, err := ann.Append(b.Context(), mb.ID, store.Append{Blob: hello, Flags: []string{`\Flagged`}}, store.Append{Blob: hello})
	b.must(err)
	_, err = ann.Expunge(b.Context(), mb.ID, 2)
	b.must(err)
	return mb.ID
}

func testRights(b *bench) {
	b.Keep = time.Hour
	bob := b.As("bob")
	b.target("first")
	up, err := b.As("ann").Folder(b.Context(), "Up")
	b.must(err)
	b.must(b.As("ann").Grant(b.Context(), up.ID, "bob", "lk")) // for Rename
	without := func(r store.Rights, not store.Rights) store.Rights {
		return store.Rights(strings.Map(func(c rune) rune {
			if strings.ContainsRune(string(not), c) {
				return -1
			}
			return c
		}, string(r)))
	}
	for _, v := range verbs {
		for _, tt := range []struct {
			have store.Rights
			want error
		}{
			{v.need, nil},
			{"l" + v.need, nil},
			{"l", store.ErrDenied},
			{without(store.AllRights, v.need), store.ErrDenied},
			{without(store.AllRights, v.need+"l"), store.ErrNotFound},
		} {
			if v.need == "l" {
				if tt.want == store.ErrDenied { // it lacks nothing, or l itself
					continue
				}
			}
			own := b.in("bob", "Mine").Mailbox
			id := b.target(fmt.Sprint(v.name, " ", tt.have))
			b.must(b.As("ann").Grant(b.Context(), id, "bob", tt.have))
			before := b.account("ann")
			if err := v.do(b, bob, id, own); !errors.Is(err, tt.want) {
				b.Errorf("%s with %q: %v, want %v", v.name, tt.have, err, tt.want)
			}
			if tt.want != nil && b.account("ann") != before {
				b.Errorf("%s with %q was refused and changed something", v.name, tt.have)
			}
			b.must(bob.Delete(b.Context(), own))
		}
		id, own := b.target("own "+v.name), b.in("ann", "Mine").Mailbox
		b.must(v.do(b, b.As("ann"), id, own))
	}
	b.recount("ann")
	b.recount("bob")
}

func testStrangers(b *bench) {
	b.Keep = time.Hour
	id := b.target("Secret")
	b.must(b.As("ann").Grant(b.Context(), id, "cat", store.AllRights))
	gone := b.target("Gone")
	b.must(b.As("ann").Grant(b.Context(), gone, "bob", store.AllRights))
	b.must(b.As("ann").Delete(b.Context(), gone))
	own := b.in("bob", "Mine").Mailbox
	before := b.account("ann")
	for _, v := range verbs {
		there, deleted, never := v.do(b, b.As("bob"), id, own), v.do(b, b.As("bob"), gone, own), v.do(b, b.As("bob"), 99_999, own)
		if !errors.Is(there, store.ErrNotFound) || there.Error() != never.Error() || there.Error() != deleted.Error() {
			b.Errorf("%s: %v for what is there, %v for what was deleted, %v for what never was", v.name, there, deleted, never)
		}
	}
	if got := b.account("ann"); got != before {
		b.Errorf("a stranger changed %+v to %+v", before, got)
	}
	wake, stop := b.As("bob").Wake(id)
	b.must(b.As("ann").Subscribe(b.Context(), id, false))
	select {
	case <-wake:
		b.Error("a stranger was woken")
	default:
	}
	stop()
	b.recount("bob")
}

func testGrants(b *bench) {
	b.Limit = limits(map[store.AccountID]int64{"ann": 0, "bob": 0, "cat": 0})
	ann, mb := b.As("ann"), b.box("ann", "Team")
	grant := func(to store.AccountID, r store.Rights, want error) {
		b.Helper()
		b.is(ann.Grant(b.Context(), mb.ID, to, r), want, fmt.Sprintf("granting %q to %q", r, to))
	}
	grant("bob", "rlr", nil)
	grant("cat", "aexl", nil)
	grant("dan", "lr", store.ErrNotFound)
	grant("ann", "lr", store.ErrInvalid)
	grant("bob", "lrz", store.ErrInvalid)
	grant("", "lr", store.ErrInvalid)
	gs, err := ann.Grants(b.Context(), mb.ID)
	b.must(err)
	if !slices.Equal(gs, []store.Grant{{To: "bob", Rights: "lr"}, {To: "cat", Rights: "lxea"}}) {
		b.Errorf("grants %+v", gs)
	}
	seq := b.account("ann").ModSeq
	if grant("bob", "lr", nil); b.account("ann").ModSeq != seq {
		b.Error("the same grant again took a ModSeq")
	}
	b.must(b.As("cat").Grant(b.Context(), mb.ID, "bob", "l")) // a lets others administer
	if f, err := b.As("bob").Mailbox(b.Context(), mb.ID); err != nil || f.Rights != "l" {
		b.Errorf("bob has %+v, %v", f, err)
	}
	grant("bob", "", nil)
	_, err = b.As("bob").Mailbox(b.Context(), mb.ID)
	b.is(err, store.ErrNotFound, "after the grant ended")
	grant("dan", "", nil) // to end what an account had that is gone
	p, _, err := b.As("bob").Select(b.Context(), b.box("bob", "Own").ID)
	if err != nil || p.Account != "bob" {
		b.Errorf("bob's own mailbox: %+v, %v", p, err)
	}
}

func testRenameRights(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	box, above := b.box("ann", "Up/Box"), b.box("ann", "Other")
	b.box("ann", "Other/Secret")
	b.must(ann.Grant(b.Context(), box.ID, "bob", store.AllRights))
	for _, name := range []string{"Top", "Other/Box", "Other/New/Box", "Nowhere/Box", "Up/Else", "Other", "Other/Secret"} {
		b.is(bob.Rename(b.Context(), box.ID, name), store.ErrDenied, "renaming to "+name)
	}
	b.must(ann.Grant(b.Context(), above.ID, "bob", "l"))
	b.is(bob.Rename(b.Context(), box.ID, "Other/New/Box"), store.ErrDenied, "renaming below what may be seen")
	b.must(ann.Grant(b.Context(), above.ID, "bob", "lk"))
	b.must(bob.Rename(b.Context(), box.ID, "Other/New/Box"))
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "Other", "Other/New", "Other/New/Box", "Other/Secret", "Up"}) {
		b.Errorf("ann has %q", got)
	}
	if got := b.names("bob"); !slices.Equal(got, []string{"INBOX"}) {
		b.Errorf("bob has %q", got)
	}
}

func testFlagRights(b *bench) {
	b.Keep = time.Hour
	ann, bob := b.As("ann"), b.As("bob")
	given := []string{`\Seen`, `\Deleted`, `\Flagged`, "word"}
	for _, tt := range []struct {
		have store.Rights
		sees string
	}{
		{"lri", "[]"}, {"lris", `[\Seen]`}, {"lrit", `[\Deleted]`}, {"lriw", `[\Flagged word]`}, {"lriswt", `[\Deleted \Flagged \Seen word]`},
	} {
		mb := b.box("ann", "Team "+string(tt.have))
		b.must(ann.Grant(b.Context(), mb.ID, "bob", tt.have))
		own := b.in("bob", "Own", given...)
		_, err := bob.Append(b.Context(), mb.ID, store.Append{Blob: hello, Flags: given})
		b.must(err)
		_, err = bob.Copy(b.Context(), own.Mailbox, mb.ID, own.UID)
		b.must(err)
		_, err = bob.Move(b.Context(), own.Mailbox, mb.ID, own.UID)
		b.must(err)
		_, err = ann.Append(b.Context(), mb.ID, store.Append{Blob: hello})
		b.must(err)
		_, _, err = bob.SetFlags(b.Context(), mb.ID, store.FlagChange{Add: given}, 4)
		if none := tt.have == "lri"; none != errors.Is(err, store.ErrDenied) {
			b.Errorf("setting flags with %q: %v", tt.have, err)
		}
		_, ms := b.scan(bob, mb.ID, store.Query{})
		for _, m := range ms {
			if fmt.Sprint(m.Flags) != tt.sees {
				b.Errorf("with %q message %d has %v, want %s", tt.have, m.UID, m.Flags, tt.sees)
			}
		}
		_, _, err = ann.SetFlags(b.Context(), mb.ID, store.FlagChange{Replace: true, Add: []string{`\Answered`, `\Deleted`}}, 4)
		b.must(err)
		_, _, _ = bob.SetFlags(b.Context(), mb.ID, store.FlagChange{Replace: true, Add: []string{`\Draft`}}, 4)
		want := map[store.Rights]string{
			"lri": `[\Answered \Deleted]`, "lris": `[\Answered \Deleted]`, "lrit": `[\Answered]`, "lriw": `[\Deleted \Draft]`, "lriswt": `[\Draft]`,
		}[tt.have]
		if _, ms := b.scan(bob, mb.ID, store.Query{First: 4}); fmt.Sprint(ms[0].Flags) != want {
			b.Errorf("after FLAGS with %q: %v, want %s", tt.have, ms[0].Flags, want)
		}
	}
	b.recount("ann")
	b.recount("bob")
}

func testShared(b *bench) {
	bob := b.As("bob")
	for _, name := range []string{"Zoo", "Team", "Hidden"} {
		mb := b.box("ann", name)
		r := store.Rights("lr")
		if name == "Hidden" {
			r = "r"
		}
		b.must(b.As("ann").Grant(b.Context(), mb.ID, "bob", r))
	}
	b.must(b.As("aaron").Grant(b.Context(), b.in("aaron", "INBOX").Mailbox, "bob", "lrs"))
	list := func() (out []string) {
		fs, err := bob.Shared(b.Context())
		b.must(err)
		for _, f := range fs {
			out = append(out, fmt.Sprintf("%s/%s %s %v %d", f.Account, f.Name, f.Rights, f.Subscribed, f.Unseen))
		}
		return out
	}
	if got := list(); !slices.Equal(got, []string{"aaron/INBOX lrs true 1", "ann/Team lr true 0", "ann/Zoo lr true 0"}) {
		b.Errorf("shared %q", got)
	}
	if got := b.names("bob"); !slices.Equal(got, []string{"INBOX"}) {
		b.Errorf("bob's own are %q", got)
	}
	team, err := b.As("ann").Folder(b.Context(), "Team")
	b.must(err)
	b.must(bob.Subscribe(b.Context(), team.ID, false))
	zoo, err := b.As("ann").Folder(b.Context(), "Zoo")
	b.must(err)
	b.must(b.As("ann").Delete(b.Context(), zoo.ID))
	if got := list(); !slices.Equal(got, []string{"aaron/INBOX lrs true 1", "ann/Team lr false 0"}) {
		b.Errorf("shared %q", got)
	}
	if !b.mailbox(team.ID).Subscribed {
		b.Error("bob ended the subscription of ann")
	}
	b.must(b.As("ann").Grant(b.Context(), team.ID, "bob", ""))
	if got := list(); !slices.Equal(got, []string{"aaron/INBOX lrs true 1"}) {
		b.Errorf("shared %q", got)
	}
	cs := b.changes("bob", 0)
	n := 0
	for _, c := range cs {
		n += len(c.Objects)
	}
	if n != 3 { // Team's is a tombstone that a start from zero does show or not
		if n != 4 {
			b.Errorf("bob's feed tells of %d changes in what is shared", n)
		}
	}
}

func testColdRights(b *bench) {
	secret, team := b.in("ann", "Secret"), b.in("ann", "Team")
	b.must(b.As("ann").Grant(b.Context(), team.Mailbox, "bob", "lr"))
	cold, err := b.As("bob").Cold(b.Context(), team.Mailbox, secret.ID, team.ID, 999)
	b.must(err)
	if len(cold) != 1 || cold[team.ID].ID != team.ID {
		b.Errorf("bob reads %+v", cold)
	}
	m := b.messages(secret.Mailbox, false)[0]
	_, err = b.As("bob").OpenAt(b.Context(), m, store.Cold{ID: m.ID}, 0, -1)
	b.is(err, store.ErrNotFound, "opening a message of a mailbox that is not shared")
	m, rc, err := b.As("bob").Open(b.Context(), team.Mailbox, team.UID)
	b.must(err)
	text, err := io.ReadAll(rc)
	b.must(errors.Join(err, rc.Close()))
	if string(text) != "hello" || m.ID != team.ID {
		b.Errorf("bob opens %q of %+v", text, m)
	}
}

// keepsOneObject lets several write what there is to be one of.
func (b *bench) keepsOneObject() {
	o := store.Object{Account: store.ServerAccount, Kind: "key", ID: "example.org"}
	got := make([]store.Object, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			mine := o
			mine.Data = []byte{byte(i)}
			var err error
			if got[i], err = b.KeepObject(b.Context(), mine); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	there, err := b.As(store.ServerAccount).Objects(b.Context(), store.ObjectQuery{Kind: "key"})
	if err != nil || len(there) != 1 {
		b.Fatalf("%+v, %v", there, err)
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], there[0]) {
			b.Errorf("writer %d was told %+v, kept is %+v", i, got[i], there[0])
		}
	}
	seq := b.account(store.ServerAccount).ModSeq
	if seq != there[0].ModSeq {
		b.Errorf("the account is at %d, the object at %d", seq, there[0].ModSeq)
	}
	o.Deleted = true
	_, err = b.PutObject(b.Context(), o)
	b.must(err)
	o.Deleted, o.Data = false, []byte("new")
	if kept, err := b.KeepObject(b.Context(), o); err != nil || string(kept.Data) != "new" || kept.ModSeq != seq+2 {
		b.Errorf("after a tombstone: %+v, %v", kept, err)
	}
}

func testObjects(b *bench) {
	ann, bob := b.As("ann"), b.As("bob")
	seq, err := ann.PutObject(b.Context(), store.Object{Kind: "script", ID: "1", Data: []byte("keep;")})
	b.must(err)
	if seq != b.account("ann").ModSeq {
		b.Errorf("written at %d, the account is at %d", seq, b.account("ann").ModSeq)
	}
	long := strings.Repeat("x", 256)
	for _, o := range []store.Object{{Kind: "k"}, {ID: "1"}, {Kind: long, ID: "1"}, {Kind: "k", ID: long}} {
		_, err := ann.PutObject(b.Context(), o)
		b.is(err, store.ErrInvalid, fmt.Sprintf("writing object %.5q of kind %.5q", o.ID, o.Kind))
	}
	b.MaxObject = 10
	_, err = ann.PutObject(b.Context(), store.Object{Kind: "k", ID: "1", Data: make([]byte, 11)})
	b.is(err, store.ErrLimit, "writing a large object")
	if os, err := bob.Objects(b.Context(), store.ObjectQuery{}); err != nil || len(os) != 0 {
		b.Errorf("bob sees %+v, %v", os, err)
	}
	os, err := ann.Objects(b.Context(), store.ObjectQuery{Kind: "script"})
	if err != nil || len(os) != 1 || string(os[0].Data) != "keep;" || os[0].Account != "ann" {
		b.Errorf("ann sees %+v, %v", os, err)
	}
	b.MaxObject = 0
	b.keepsOneObject()
	for _, o := range []store.Object{{Account: "ann", Kind: "script", ID: "1"}, {Kind: store.KindGrant, ID: "1/bob"}, {Kind: store.KindShared, ID: "1"}, {Kind: "seen/1/bob", ID: "0"}, {Kind: "keywords", ID: "1"}} {
		_, err := bob.PutObject(b.Context(), o)
		b.is(err, store.ErrDenied, fmt.Sprintf("bob writes %s of %q", o.Kind, o.Account))
	}
}
