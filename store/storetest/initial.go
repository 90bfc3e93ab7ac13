package storetest

import (
	"slices"

	"github.com/mailkeel/mailkeel/store"
)

var initialTests = []test{
	{"NewAccountsHaveTheirMailboxes", testInitial},
	{"MailMakesThemToo", testInitialByMail},
	{"WhatIsTakenIsLeftOut", testInitialTaken},
	{"ThereMayBeNoRoomForThem", testInitialLimit},
}

var initial = []store.InitialMailbox{{Name: "Sent", Role: "sent"}, {Name: "Mail/Trash", Role: "trash"}, {Name: "Notes"}}

func testInitial(b *bench) {
	b.Initial = initial
	fs, err := b.As("ann").Folders(b.Context())
	b.must(err)
	roles := map[string]string{}
	for _, f := range fs {
		roles[f.Name] = f.Role
		if f.Created != 1 || !f.Subscribed || f.UIDNext != 1 {
			b.Errorf("not made with the others: %+v", f)
		}
	}
	if len(fs) != 5 || roles["Sent"] != "sent" || roles["Mail/Trash"] != "trash" || roles["INBOX"]+roles["Mail"]+roles["Notes"] != "" {
		b.Errorf("got %+v", fs)
	}
	b.recount("ann")

	// What people do to them is not undone.
	ann := b.As("ann")
	for _, f := range fs {
		if f.Name == "Sent" {
			b.must(ann.Delete(b.Context(), f.ID))
		}
		if f.Name == "Notes" {
			b.must(ann.Rename(b.Context(), f.ID, "Memos"))
		}
	}
	b.deliver("", "ann")
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "Mail", "Mail/Trash", "Memos"}) {
		b.Errorf("later there are %q", got)
	}
}

func testInitialByMail(b *bench) {
	b.Initial = initial
	p := b.deliver("", "ann")[0]
	if got := b.mailbox(p.Mailbox); got.Name != "INBOX" || got.Messages != 1 || b.account("ann").ModSeq != 1 {
		b.Errorf("filed in %+v", got)
	}
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "Mail", "Mail/Trash", "Notes", "Sent"}) {
		b.Errorf("there are %q", got)
	}
	b.recount("ann")
}

func testInitialTaken(b *bench) {
	b.Initial = append([]store.InitialMailbox{{Name: "a//b", Role: "junk"}, {Name: "Bad", Role: `\Junk`}}, initial...)
	sent := b.place(store.Delivery{Blob: hello, Targets: []store.Target{{Account: "ann", Role: "sent"}}})[0]
	_, err := b.As("ann").Create(b.Context(), "Bin", "trash")
	b.must(err)
	b.box("ann", "Notes")
	if got := b.names("ann"); !slices.Equal(got, []string{"Bin", "INBOX", "Notes", "Sent"}) {
		b.Errorf("there are %q", got)
	}
	if got := b.mailbox(sent.Mailbox); got.Role != "sent" || got.Messages != 1 {
		b.Errorf("the sent mail is in %+v", got)
	}
	b.recount("ann")
}

func testInitialLimit(b *bench) {
	b.Initial, b.MaxMailboxes = initial, 2
	b.deliver("", "ann")
	if got := b.names("ann"); !slices.Equal(got, []string{"INBOX", "Sent"}) {
		b.Errorf("there are %q", got)
	}
	b.recount("ann")
}
