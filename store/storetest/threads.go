package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

var threadTests = []test{
	{"RepliesJoinTheThread", testThreads},
	{"ThreadsNeedTheSameSubject", testThreadSubjects},
	{"ThreadsAreOfOneAccount", testThreadAccounts},
	{"ManyReferencesAreLookedUpBoundedly", testThreadBounds},
}

// mail delivers a message with these header fields to an account.
func (b *bench) mail(to store.AccountID, fields ...string) store.Message {
	b.Helper()
	info := b.blob(strings.Join(fields, "\r\n") + "\r\n\r\ntext\r\n")
	c, err := b.Parse(b.Context(), info)
	b.must(err)
	p := b.place(store.Delivery{Blob: info, Cold: c, Targets: []store.Target{{Account: to}}})[0]
	_, ms := b.scan(b.As(to), p.Mailbox, store.Query{First: p.UID, Last: p.UID})
	return ms[0]
}

func testThreads(b *bench) {
	one := b.mail("ann", "Subject: Dinner", "Message-ID: <1@x>")
	if one.Thread != store.ThreadID(one.ID) {
		b.Errorf("the first is %+v", one)
	}
	for _, fields := range [][]string{
		{"Subject: Re: Dinner", "Message-ID: <2@x>", "In-Reply-To: <1@x>"},
		{"Subject: RE[2]: AW: dinner ", "Message-ID: <3@x>", "References: <1@x> <2@x>"},
		{"Subject: [list] Re: [list]  Din ner (fwd)", "Message-ID: <4@x>", "References: <lost@x> <3@x>"},
		{"Subject: =?utf-8?q?Odp=3A_Dinner?=", "In-Reply-To: your mail of <4@x>"},
		{"Subject: Dinner", "Message-ID: <1@x>"}, // the copy from a list
		{"Subject: Re: dinner", "Message-ID: <6@x>", "In-Reply-To: <5@x>", "References: <lost@x>"},
	} {
		if m := b.mail("ann", fields...); m.Thread != one.Thread || m.ID == one.ID {
			b.Errorf("%q is in thread %d, want %d", fields, m.Thread, one.Thread)
		}
	}
	reply := b.mail("ann", "Subject: Re: Lunch", "Message-ID: <12@x>", "References: <11@x>")
	if first := b.mail("ann", "Subject: Lunch", "Message-ID: <11@x>"); first.Thread != reply.Thread {
		b.Errorf("a reply that came first is in thread %d, what it answers in %d", reply.Thread, first.Thread)
	}
	info := b.blob("Subject: Re: Lunch\r\nIn-Reply-To: <11@x>\r\n\r\n")
	ps, err := b.As("ann").Append(b.Context(), one.Mailbox, store.Append{Blob: info},
		store.Append{Blob: b.blob("Subject: new\r\nMessage-ID: <20@x>\r\n\r\n")}, store.Append{Blob: b.blob("Subject: Re: new\r\nIn-Reply-To: <20@x>\r\n\r\n")})
	b.must(err)
	_, ms := b.scan(b.As("ann"), one.Mailbox, store.Query{First: ps[0].UID})
	if len(ms) != 3 || ms[0].Thread != reply.Thread || ms[1].Thread != store.ThreadID(ms[1].ID) || ms[2].Thread != ms[1].Thread {
		b.Errorf("appended %+v", ms)
	}
	d := store.Delivery{Blob: info, Targets: []store.Target{{Account: "ann", Thread: 12345}}}
	d.Cold, err = b.Parse(b.Context(), b.blob("Subject: told\r\nMessage-ID: <30@x>\r\n\r\n"))
	b.must(err)
	b.place(d)
	if m := b.mail("ann", "Subject: Re: told", "In-Reply-To: <30@x>"); m.Thread != 12345 {
		b.Errorf("a reply to what was put in thread 12345 is in %d", m.Thread)
	}
	two := b.mail("ann", "Subject: Dinner", "Message-ID: <40@x>")
	if m := b.mail("ann", "Subject: Re: Dinner", "References: <1@x> <40@x>"); m.Thread != two.Thread || two.Thread == one.Thread {
		b.Errorf("an answer to both %d and %d is in thread %d, want that of the nearest", one.Thread, two.Thread, m.Thread)
	}
	d.Cold, err = b.Parse(b.Context(), b.blob("Subject: Re: Dinner\r\nReferences: <1@x>\r\n\r\n"))
	b.must(err)
	if p := b.place(d)[0]; b.messages(p.Mailbox, false)[p.UID-1].Thread != 12345 {
		b.Error("a thread that was told does not win")
	}
	if none := b.mail("ann", "Subject: Dinner"); none.Thread == one.Thread {
		b.Error("a subject alone joined a thread")
	}
}

func testThreadSubjects(b *bench) {
	one := b.mail("ann", "Subject: Dinner", "Message-ID: <1@x>")
	if m := b.mail("ann", "Subject: Something else", "Message-ID: <2@x>", "In-Reply-To: <1@x>"); m.Thread == one.Thread {
		b.Error("a reply with a new subject is in the old thread")
	}
	empty := b.mail("ann", "Message-ID: <3@x>")
	if m := b.mail("ann", "Subject: Re:", "In-Reply-To: <3@x>"); m.Thread != empty.Thread {
		b.Error("a reply to a message without a subject is in another thread")
	}
}

func testThreadAccounts(b *bench) {
	one := b.mail("ann", "Subject: Dinner", "Message-ID: <1@x>")
	theirs := b.mail("bob", "Subject: Re: Dinner", "Message-ID: <2@x>", "In-Reply-To: <1@x>")
	if theirs.Thread != store.ThreadID(theirs.ID) {
		b.Errorf("bob's is in thread %d, which is ann's", theirs.Thread)
	}
	b.must(b.As("ann").Grant(b.Context(), one.Mailbox, "bob", "lri"))
	done, err := b.As("bob").Copy(b.Context(), theirs.Mailbox, one.Mailbox, theirs.UID)
	b.must(err)
	if _, ms := b.scan(b.As("ann"), one.Mailbox, store.Query{First: done[0].To}); len(ms) != 1 || ms[0].Thread != one.Thread {
		b.Errorf("a copy for ann is %+v, want thread %d", ms, one.Thread)
	}
}

// counting counts the keys that a backend is asked for.
type countingTx struct {
	store.Tx
	asked, put *int
}

func (c countingTx) Threads(id store.AccountID, keys []store.ThreadKey) (map[store.ThreadKey]store.ThreadID, error) {
	*c.asked += len(keys)
	return c.Tx.Threads(id, keys)
}

func (c countingTx) PutThreads(id store.AccountID, t store.ThreadID, keys []store.ThreadKey, at time.Time) error {
	*c.put += len(keys)
	return c.Tx.PutThreads(id, t, keys, at)
}

func testThreadBounds(b *bench) {
	var asked, put int
	b.Backend = wrapped{b.Backend, func(tx store.Tx) store.Tx { return countingTx{tx, &asked, &put} }}
	refs := make([]string, 5_000)
	for i := range refs {
		refs[i] = fmt.Sprintf("<%d@x>", i)
	}
	b.mail("ann", "Subject: x", "Message-ID: <me@x>", "References: "+strings.Join(refs, "\r\n "))
	if asked == 0 || asked > 25 || put == 0 || put > 10 {
		b.Errorf("looked %d keys up and noted %d", asked, put)
	}
}
