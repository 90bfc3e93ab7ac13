package store_test

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// put stores a content and parses it, as doors and transports do.
func put(ctx context.Context, s *store.Store, text string) (blob.Info, store.Cold) {
	w, err := s.Blobs.Create(ctx)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	io.WriteString(w, text)
	info, err := w.Commit()
	if err != nil {
		panic(err)
	}
	cold, err := s.Parse(ctx, info)
	if err != nil {
		panic(err)
	}
	return info, cold
}

func Example() {
	ctx := context.Background()
	s := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}

	// One content for two accounts.
	info, cold := put(ctx, s, "Subject: lunch?\r\nMessage-ID: <1@x>\r\n\r\nAt noon.\r\n")
	out, err := s.Deliver(ctx, store.Delivery{Key: "m1", Blob: info, Cold: cold, Targets: []store.Target{
		{Account: "ann", Index: 0, Prefix: []byte("Delivered-To: ann@example.org\r\n")},
		{Account: "bob", Index: 1, Prefix: []byte("Delivered-To: bob@example.org\r\n")},
	}})
	if err != nil {
		panic(err)
	}
	inbox := out[0].Mailbox

	ann := s.As("ann")
	ann.SetFlags(ctx, inbox, store.FlagChange{Add: []string{store.FlagSeen}}, out[0].UID)
	ann.Scan(ctx, inbox, store.Query{}, func(mb store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		for m := range ms {
			fmt.Println(mb.Name, m.UID, m.Flags, m.Size)
		}
		return nil
	})
	_, rc, err := ann.Open(ctx, inbox, out[0].UID)
	if err != nil {
		panic(err)
	}
	defer rc.Close()
	text, _ := io.ReadAll(rc)
	fmt.Printf("%q\n", text)

	_, _, err = s.As("bob").Open(ctx, inbox, out[0].UID)
	fmt.Println("bob:", err)
	// Output:
	// INBOX 1 [\Seen] 79
	// "Delivered-To: ann@example.org\r\nSubject: lunch?\r\nMessage-ID: <1@x>\r\n\r\nAt noon.\r\n"
	// bob: store: not found
}

func ExampleAccess_Grant() {
	ctx := context.Background()
	s := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}
	ann, bob := s.As("ann"), s.As("bob")
	team, _ := ann.Create(ctx, "Team", "")
	info, _ := put(ctx, s, "Subject: plan\r\n\r\n")
	ann.Append(ctx, team.ID, store.Append{Blob: info})

	_, _, err := bob.Select(ctx, team.ID)
	fmt.Println(err)
	ann.Grant(ctx, team.ID, "bob", "lrs")
	bob.SetFlags(ctx, team.ID, store.FlagChange{Add: []string{store.FlagSeen}}, 1)
	for _, a := range []*store.Access{ann, bob} {
		mb, rights, _ := a.Select(ctx, team.ID)
		fmt.Println(a.Account(), rights, mb.Unseen) // what one has seen is one's own
	}
	_, err = bob.Expunge(ctx, team.ID, 1)
	fmt.Println(err)
	// Output:
	// store: not found
	// ann lrswipkxtea 1
	// bob lrs 0
	// store: permission denied
}

func ExampleStore_Follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}
	ann := s.As("ann")
	ann.Create(ctx, "Work", "")
	ann.PutObject(ctx, store.Object{Kind: "script", ID: "1", Data: []byte("keep;")})
	for c, err := range s.Follow(ctx, "ann", 0) {
		if err != nil {
			panic(err)
		}
		fmt.Println(c.ModSeq, len(c.Mailboxes), len(c.Messages), len(c.Objects))
		if c.ModSeq == 2 {
			break // a later Follow goes on after 2
		}
	}
	// Output:
	// 1 1 0 0
	// 2 0 0 1
}
