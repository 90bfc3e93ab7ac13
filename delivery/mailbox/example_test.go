package mailbox_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func Example() {
	ctx := context.Background()
	boxes := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}
	local := &mailbox.Transport{Store: boxes}

	env := &mailkeel.Envelope{ID: "m1", From: "zoe@example.com", Rcpts: []mailkeel.Recipient{
		{Addr: "ann@example.org", Account: "a1"},
		{Addr: "bob@example.org", Account: "b2", Junk: true},
		{Addr: "who@example.org"}, // no directory resolved it
	}}
	for i, r := range mailkeel.Deliver(ctx, local, env, text("Subject: lunch?\r\n\r\nAt noon.\r\n")) {
		fmt.Println(env.Rcpts[i].Addr, r.Action, r.Err)
	}
	folders, _ := boxes.As("b2").Folders(ctx)
	for _, f := range folders {
		fmt.Println(f.Name, f.Messages)
	}
	// Output:
	// ann@example.org delivered <nil>
	// bob@example.org delivered <nil>
	// who@example.org delivered 550 5.1.1 no such mailbox: store: not found
	// INBOX 0
	// Junk 1
}
