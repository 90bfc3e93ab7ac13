package mailview_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func Example() {
	ctx := context.Background()
	boxes := &store.Store{Backend: new(memstore.Backend), Blobs: &memblob.Store{}}
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "ann", Address: "ann@example.test"}},
		{Account: accounts.Account{ID: "bob", Address: "bob@example.test"}},
	}}
	var out mailkeel.Transport = &mailbox.Transport{Store: boxes}
	mail := &mailview.Mail{Store: boxes, Directory: users, Submit: &submit.Transport{Next: out, Directory: users, Sent: boxes}}

	// Ann writes, and Bob reads.
	ann, bob := mail.Of("ann", "ann@example.test"), mail.Of("bob", "bob@example.test")
	d, err := ann.Start(ctx, mailview.New, mailview.Ref{})
	if err != nil {
		log.Fatal(err)
	}
	d.To, d.Subject, d.Text = "Bob <bob@example.test>", "Grüße", "It works.\n"
	if err := ann.Send(ctx, d, nil); err != nil {
		log.Fatal(err)
	}
	inbox, err := bob.RoleFolder(ctx, "inbox")
	if err != nil {
		log.Fatal(err)
	}
	page, err := bob.List(ctx, mailview.Query{Folder: inbox.ID, Text: "from:ann works is:unread"})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range page.Rows {
		m, err := bob.Message(ctx, inbox.ID, r.UID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n%s", m.From[0].Addr, m.Subject, m.Body[0].Text)
		answer, err := bob.Start(ctx, mailview.Reply, mailview.Ref{Folder: inbox.ID, UID: r.UID})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.Subject)
	}
	// Output:
	// ann@example.test: Grüße
	// It works.
	// Re: Grüße
}
