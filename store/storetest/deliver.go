package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

var deliveryTests = []test{
	{"DeliverReportsEachTarget", testOutcomes},
	{"DeliverToManyAtOnce", testMany},
	{"DeliverTwiceIsOnce", testIdempotent},
	{"DeliverTwiceAtATimeIsOnce", testIdempotentRace},
	{"RecipientsOfOneMailboxBothGetTheirCopy", testTwoCopies},
	{"MissingFolderBecomesInbox", testFolders},
	{"RolesFindTheirMailbox", testRoles},
	{"QuotaHoldsAgainstRaces", testQuotaRace},
	{"AccountsInAnyOrderDoNotDeadlock", testDeadlock},
	{"DeliverReadsOnlyItsMailbox", testLean},
}

func testOutcomes(b *bench) {
	b.raw = true
	b.Limit = func(_ context.Context, id store.AccountID) (mailkeel.Quota, error) {
		if id == "nobody" {
			return mailkeel.Quota{}, store.ErrNotFound
		}
		return mailkeel.Quota{Bytes: map[store.AccountID]int64{"bob": 10}[id]}, nil
	}
	out, err := b.Deliver(b.Context(), store.Delivery{
		Blob:    blob.Info{Size: 11},
		Targets: []store.Target{{Account: "bob"}, {Account: "ann"}, {Account: "nobody"}, {Account: ""}},
	})
	b.must(err)
	b.is(out[3].Err, store.ErrNotFound, "delivery to no account")
	if !errors.Is(out[0].Err, store.ErrOverQuota) || out[1].Err != nil || !errors.Is(out[2].Err, store.ErrNotFound) {
		b.Errorf("got %+v, want over quota, placed, not found", out)
	}
	if out[1].Account != "ann" || out[1].UID == 0 || b.account("bob").ModSeq != 0 || b.account("ann").Bytes != 11 {
		b.Errorf("got %+v, %+v, %+v", out, b.account("bob"), b.account("ann"))
	}
}

func testIdempotent(b *bench) {
	p, seq := b.deliver("q1", "ann", "bob"), b.account("ann").ModSeq
	q := b.deliver("q1", "ann", "bob")
	if p[0] != q[0] || p[1] != q[1] {
		b.Errorf("repeated delivery went to %+v, first to %+v", q, p)
	}
	if b.account("ann").ModSeq != seq || len(b.messages(p[0].Mailbox, true)) != 1 {
		b.Error("the repeat changed something")
	}
}

func testTwoCopies(b *bench) {
	d := store.Delivery{Key: "m", Blob: hello, Targets: []store.Target{
		{Account: "ann", Index: 0}, {Account: "ann", Index: 1}, {Account: "ann", Index: 1, Action: 1},
	}}
	ps := b.place(d)
	if n := len(b.messages(ps[0].Mailbox, false)); n != 3 {
		b.Errorf("%d messages, want a copy for each recipient and action", n)
	}
	for _, t := range d.Targets { // as a queue that repeats one of them would
		b.place(store.Delivery{Key: "m", Blob: hello, Targets: []store.Target{t}})
	}
	if n := len(b.messages(ps[0].Mailbox, false)); n != 3 {
		b.Errorf("%d messages after the repeats, want 3", n)
	}
}

func testFolders(b *bench) {
	ps := b.place(store.Delivery{Blob: hello, Targets: []store.Target{
		{Account: "ann", Mailbox: "inbox"}, {Account: "ann", Mailbox: "plus"},
		{Account: "ann", Mailbox: "plus", Create: true}, {Account: "ann", Mailbox: "plus"},
		{Account: "ann", Role: "junk"}, {Account: "ann", Role: "junk"},
	}})
	var names []string
	for _, p := range ps {
		names = append(names, b.mailbox(p.Mailbox).Name)
	}
	if got := fmt.Sprint(names); got != "[INBOX INBOX plus plus Junk Junk]" {
		b.Errorf("filed in %s", got)
	}
	if mb := b.mailbox(ps[4].Mailbox); mb.Role != "junk" || mb.Messages != 2 {
		b.Errorf("junk is %+v", mb)
	}
}

func testQuotaRace(b *bench) {
	b.Limit = func(context.Context, store.AccountID) (mailkeel.Quota, error) { return mailkeel.Quota{Bytes: 50}, nil }
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := b.Deliver(b.Context(), store.Delivery{Blob: hello, Targets: []store.Target{{Account: "ann"}}})
			if err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	if acc := b.account("ann"); acc.Bytes != 50 {
		b.Errorf("%d bytes, want exactly the limit of 50", acc.Bytes)
	}
}

func testDeadlock(b *bench) {
	orders := [][]store.AccountID{{"ann", "bob", "cat"}, {"cat", "bob", "ann"}, {"bob", "cat", "ann"}}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			d := store.Delivery{Blob: hello}
			for _, a := range orders[i%len(orders)] {
				d.Targets = append(d.Targets, store.Target{Account: a})
			}
			if _, err := b.Deliver(b.Context(), d); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	if acc := b.account("bob"); acc.ModSeq != 30 {
		b.Errorf("bob is at %d, want 30", acc.ModSeq)
	}
}

func testMany(b *bench) {
	d := store.Delivery{Key: "m", Blob: hello}
	for i := range 200 {
		d.Targets = append(d.Targets, store.Target{Account: store.AccountID(fmt.Sprint("a", i%50)), Index: i, Prefix: []byte(strings.Repeat("x", i))})
	}
	ps := b.place(d)
	for i, p := range ps {
		if p.Account != d.Targets[i].Account {
			b.Errorf("target %d went to %+v", i, p)
		}
	}
	for i := range 50 {
		id := store.AccountID(fmt.Sprint("a", i))
		if acc := b.account(id); acc.Messages != 4 || acc.Mailboxes != 1 || acc.ModSeq != 1 || acc.Bytes != int64(4*5+4*i+50+100+150) {
			b.Errorf("account %+v", acc)
		}
		b.recount(id)
	}
}

func testIdempotentRace(b *bench) {
	var wg sync.WaitGroup
	got := make([][]store.Outcome, 8)
	for i := range got {
		wg.Go(func() {
			out, err := b.Deliver(b.Context(), store.Delivery{Key: "same", Blob: hello, Targets: []store.Target{{Account: "ann"}, {Account: "bob", Index: 1}}})
			if err != nil {
				b.Error(err)
			}
			got[i] = out
		})
	}
	wg.Wait()
	for _, out := range got {
		if !slices.Equal(out, got[0]) {
			b.Errorf("one delivery went to %+v and to %+v", out, got[0])
		}
	}
	if acc := b.account("bob"); acc.Messages != 1 {
		b.Errorf("bob has %d copies", acc.Messages)
	}
}

func testRoles(b *bench) {
	ann := b.As("ann")
	b.box("ann", "Junk") // a name says nothing
	spam, err := ann.Create(b.Context(), "Spam", "junk")
	b.must(err)
	deliver := func(t store.Target) string {
		t.Account = "ann"
		return b.mailbox(b.place(store.Delivery{Blob: hello, Targets: []store.Target{t}})[0].Mailbox).Name
	}
	if got := deliver(store.Target{Role: "junk"}); got != "Spam" {
		b.Errorf("junk went to %q", got)
	}
	b.must(ann.Rename(b.Context(), spam.ID, "Unrat"))
	if got := deliver(store.Target{Role: "junk"}); got != "Unrat" {
		b.Errorf("after a rename junk went to %q", got)
	}
	b.must(ann.SetRole(b.Context(), spam.ID, ""))
	if got := deliver(store.Target{Role: "junk"}); got != "Junk" {
		b.Errorf("without the role junk went to %q", got)
	}
	if got := deliver(store.Target{Role: "No Such\r\n"}); got != "INBOX" {
		b.Errorf("a role that cannot be went to %q", got)
	}
	if got := deliver(store.Target{Mailbox: "a//b", Create: true}); got != "INBOX" {
		b.Errorf("a name that cannot be went to %q", got)
	}
	if got := deliver(store.Target{Mailbox: "Lists/go/nuts", Create: true}); got != "Lists/go/nuts" {
		b.Errorf("a missing name went to %q", got)
	}
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "Junk", "Lists", "Lists/go", "Lists/go/nuts", "Unrat"}) {
		b.Errorf("mailboxes %q", got)
	}
	b.recount("ann")
}

// leanTx fails a test that reads more than one row at a time.
type leanTx struct {
	store.Tx
	b     *bench
	calls map[string]int
}

func (t leanTx) Mailboxes(id store.AccountID, q store.Since) iter.Seq2[store.Mailbox, error] {
	t.b.Error("read all mailboxes")
	return t.Tx.Mailboxes(id, q)
}

func (t leanTx) Messages(id store.MailboxID, q store.Query) iter.Seq2[store.Message, error] {
	t.b.Error("read messages")
	return t.Tx.Messages(id, q)
}

func (t leanTx) Objects(id store.AccountID, q store.ObjectQuery) iter.Seq2[store.Object, error] {
	t.b.Error("read objects")
	return t.Tx.Objects(id, q)
}

func (t leanTx) MailboxByName(id store.AccountID, name string) (store.Mailbox, error) {
	t.calls["MailboxByName"]++
	return t.Tx.MailboxByName(id, name)
}

func (t leanTx) PutMailbox(mb *store.Mailbox) error {
	t.calls["PutMailbox"]++
	return t.Tx.PutMailbox(mb)
}

func (t leanTx) PutAccount(a store.Account) error {
	t.calls["PutAccount"]++
	return t.Tx.PutAccount(a)
}

func (t leanTx) PutMessages(ms []store.Message) error {
	t.calls["PutMessages"]++
	return t.Tx.PutMessages(ms)
}

func (t leanTx) PutCold(cs []store.Cold) error {
	t.calls["PutCold"]++
	return t.Tx.PutCold(cs)
}

func testLean(b *bench) {
	for i := range 20 {
		b.box("ann", fmt.Sprint("Box ", i))
	}
	target := []store.Target{{Account: "ann"}, {Account: "ann", Mailbox: "Box 7"}, {Account: "ann", Role: "junk"}}
	for _, t := range target { // makes what is missing
		b.place(store.Delivery{Blob: hello, Targets: []store.Target{t}})
	}
	calls := map[string]int{}
	b.Backend = wrapped{b.Backend, func(tx store.Tx) store.Tx { return leanTx{tx, b, calls} }}
	for _, t := range target {
		clear(calls)
		b.place(store.Delivery{Key: "k" + t.Mailbox + t.Role, Blob: hello, Targets: []store.Target{t}})
		for what, n := range calls {
			if n != 1 {
				b.Errorf("%s %d times for %+v", what, n, t)
			}
		}
	}
}
