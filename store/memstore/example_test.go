package memstore_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

func Example() {
	ctx := context.Background()
	s := &store.Store{Backend: &memstore.Backend{}, Blobs: &memblob.Store{}}
	s.As("ann").Create(ctx, "Work/2026", "")
	folders, err := s.As("ann").Folders(ctx)
	for _, f := range folders {
		fmt.Println(f.Name)
	}
	fmt.Println(err)
	// Output:
	// INBOX
	// Work
	// Work/2026
	// <nil>
}
