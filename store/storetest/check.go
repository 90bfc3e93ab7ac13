package storetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

var checkTests = []test{
	{"CheckRepairsWhatCanBeDerived", testCheckRepairs},
	{"CheckParksWhatIsLost", testCheckParks},
	{"CheckIsQuietUnderWriters", testCheckQuiet},
}

// findings checks the store, all accounts of it or also those given.
func (b *bench) findings(repair bool) (states []string) {
	b.Helper()
	_, err := b.Check(b.Context(), store.CheckOptions{Repair: repair, Found: func(f store.Finding) error {
		if f.Done != store.Known {
			states = append(states, strings.TrimSpace(f.State+" "+f.Done))
		}
		b.Log(f)
		return nil
	}}, "ann", "bob")
	b.must(err)
	slices.Sort(states)
	return slices.Compact(states)
}

// expect checks, repairs and checks again.
func (b *bench) expect(what string, states ...string) {
	b.Helper()
	if got := b.findings(false); len(got) == 0 {
		b.Errorf("%s: nothing is found", what)
	}
	if got := b.findings(true); !slices.Equal(got, states) {
		b.Errorf("%s: %q, want %q", what, got, states)
	}
	if got := b.findings(false); len(got) > 0 {
		b.Errorf("%s: after the repair there is %q", what, got)
	}
}

// spoil changes the rows of ann behind the back of the Store.
func (b *bench) spoil(fn func(tx store.Tx, acc *store.Account, mb *store.Mailbox) error) {
	b.Helper()
	b.must(b.Backend.Update(b.Context(), func(tx store.Tx) error {
		accs, err := tx.Accounts("ann")
		if err != nil {
			return err
		}
		mb, err := tx.MailboxByName("ann", "INBOX")
		if err != nil {
			return err
		}
		return fn(tx, &accs[0], &mb)
	}))
}

func testCheckRepairs(b *bench) {
	info := b.blob("Subject: one\r\nMessage-ID: <1@x>\r\n\r\ntext\r\n")
	parsed, err := b.Parse(b.Context(), info)
	b.must(err)
	var ps []store.Placed
	for range 3 {
		ps = append(ps, b.place(store.Delivery{Blob: info, Cold: parsed, Targets: []store.Target{
			{Account: "ann", Prefix: []byte("P: ann\r\n")}, {Account: "bob", Index: 1, Prefix: []byte("P: bob\r\n")},
		}})...)
	}
	read := func(account store.AccountID, box store.MailboxID, uid store.UID) string {
		b.Helper()
		_, rc, err := b.As(account).Open(b.Context(), box, uid)
		b.must(err)
		text, err := io.ReadAll(rc)
		b.must(errors.Join(err, rc.Close()))
		return string(text)
	}
	first := read("ann", ps[0].Mailbox, 1)
	theirs := b.messages(ps[1].Mailbox, true)

	b.spoil(func(tx store.Tx, acc *store.Account, mb *store.Mailbox) error {
		mb.Unseen, mb.Bytes, acc.Messages = 77, 1, 5
		return errors.Join(tx.PutMailbox(mb), tx.PutAccount(*acc))
	})
	b.expect("counters", "S11 repaired")
	b.spoil(func(tx store.Tx, acc *store.Account, mb *store.Mailbox) error {
		mb.UIDNext, mb.ModSeq, acc.ModSeq, acc.LastUIDValidity = 2, 1, 1, 0
		return errors.Join(tx.PutMailbox(mb), tx.PutAccount(*acc))
	})
	b.expect("numbers", "S12 repaired")
	if mb := b.mailbox(ps[0].Mailbox); mb.UIDNext != 4 || mb.ModSeq < 4 || b.account("ann").ModSeq < mb.ModSeq {
		b.Errorf("repaired to %+v", mb)
	}
	cold := func(id store.MessageID, change func(*store.Cold)) {
		b.Helper()
		b.spoil(func(tx store.Tx, _ *store.Account, _ *store.Mailbox) error {
			for c, err := range tx.Cold("ann", id) {
				if err != nil {
					return err
				}
				change(&c)
				return tx.PutCold([]store.Cold{c})
			}
			return store.ErrNotFound
		})
	}
	cold(ps[0].ID, func(c *store.Cold) { c.Structure = []byte("nonsense") })
	b.expect("a structure", "S15 repaired")
	if read("ann", ps[0].Mailbox, 1) != first {
		b.Error("another message is served")
	}
	cold(ps[2].ID, func(c *store.Cold) { c.Prefix = []byte("P: eve\r\n") })
	_, _, err = b.As("ann").Open(b.Context(), ps[2].Mailbox, 2)
	b.is(err, store.ErrDamaged, "reading a message with another prefix")
	b.expect("a prefix", "S17 repaired")
	if got := read("ann", ps[2].Mailbox, 4); "P: ann\r\n"+got != first {
		b.Errorf("filed anew as %q", got)
	}
	b.spoil(func(tx store.Tx, _ *store.Account, mb *store.Mailbox) error {
		m, err := tx.MessageByID("ann", ps[4].ID)
		m.Size += 8
		return errors.Join(err, tx.PutMessages([]store.Message{m}))
	})
	b.expect("a size", "S11 repaired", "S15 repaired")
	b.spoil(func(tx store.Tx, acc *store.Account, mb *store.Mailbox) error {
		other := store.Mailbox{Account: "ann", Name: "INBOX", UIDValidity: acc.LastUIDValidity, UIDNext: 1, ModSeq: acc.ModSeq}
		return tx.PutMailbox(&other)
	})
	b.expect("names", "S11 repaired", "S14 repaired")
	if now := b.messages(ps[1].Mailbox, true); !slices.EqualFunc(now, theirs, func(x, y store.Message) bool {
		return x.UID == y.UID && x.ID == y.ID && x.ModSeq == y.ModSeq && x.Blob == y.Blob
	}) {
		b.Errorf("bob had %+v, and has %+v", theirs, now)
	}
}

func testCheckParks(b *bench) {
	info := b.blob("Subject: lost\r\n\r\ntext\r\n")
	p := b.place(store.Delivery{Blob: info, Targets: []store.Target{{Account: "ann"}}})[0]
	b.deliver("", "ann")
	b.clock.Advance(time.Hour)
	n, err := b.Blobs.DeleteOlder(b.Context(), b.clock.Now(), info.Ref)
	if b.must(err); n != 1 {
		b.Fatal("the content is still there")
	}
	b.expect("a lost content", "S21 parked")
	_, _, err = b.As("ann").Open(b.Context(), p.Mailbox, p.UID)
	b.is(err, blob.ErrNotFound, "reading it")
	if _, rc, err := b.As("ann").Open(b.Context(), p.Mailbox, p.UID+1); err != nil {
		b.Errorf("reading the next one: %v", err)
	} else {
		rc.Close()
	}
	if mb := b.mailbox(p.Mailbox); mb.Messages != 2 {
		b.Errorf("it is not listed any more: %+v", mb)
	}
	b.blob("Subject: lost\r\n\r\ntext\r\n")
	if got := b.findings(true); !slices.Equal(got, []string{"S7 repaired"}) {
		b.Errorf("healed: %q", got)
	}
}

func testCheckQuiet(b *bench) {
	b.deliver("", "ann", "bob")
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ann := b.As("ann")
		box, err := ann.Create(ctx, "Other", "")
		for i := 0; err == nil && i < 60; i++ {
			d := store.Delivery{Blob: hello, Targets: []store.Target{{Account: "ann", Prefix: []byte("P: x\r\n")}}}
			var out []store.Outcome
			if out, err = b.Deliver(ctx, d); err != nil {
				break
			}
			switch p := out[0]; i % 3 {
			case 0:
				_, err = ann.Move(ctx, p.Mailbox, box.ID, p.UID)
			case 1:
				_, err = ann.Expunge(ctx, p.Mailbox, p.UID)
			}
		}
		if err != nil {
			b.Error(err)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if got := b.findings(true); len(got) > 0 {
			b.Errorf("while others write there is %q", got)
			break
		}
	}
	cancel()
	<-done
}
