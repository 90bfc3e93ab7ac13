package memqueue_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
)

// The zero Backend is an empty queue. A queue.Queue makes these calls.
func Example() {
	ctx := context.Background()
	var b memqueue.Backend
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	err := b.Put(ctx, queue.Item{ID: "m1/0", Route: "example.net", Queued: now, Due: now,
		Envelope: mailkeel.Envelope{ID: "m1", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.net"}}}})
	if err != nil {
		fmt.Println(err)
	}
	l, err := b.Lease(ctx, queue.Want{Now: now, TTL: time.Minute, Max: 50})
	fmt.Println(l.Items[0].ID, l.Items[0].Attempts, err)
	fmt.Println(b.Settle(ctx, l.ID, queue.Settlement{Now: now, Done: []string{"m1/0"}}))
	// Output:
	// m1/0 1 <nil>
	// <nil>
}
