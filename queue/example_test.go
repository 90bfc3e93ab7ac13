package queue_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// A queue makes mail durable and tries until it is gone. Here it has a clock that
// stands still until it is moved, as in a test.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	clock := &testclock.Clock{}
	tries := 0
	out := &queue.Queue{
		Backend: &memqueue.Backend{}, Blobs: &memblob.Store{Clock: clock}, Clock: clock, Hostname: "mx.example.org",
		Next: mailkeel.HandlerFunc(func(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) error {
			if tries++; tries < 3 {
				return &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 1}, Message: "greylisted"}
			}
			fmt.Println("gone after", clock.Now().Sub(testclock.Start))
			return nil
		}),
	}
	done := make(chan error)
	go func() { done <- out.Run(ctx) }()

	env := &mailkeel.Envelope{ID: "m1", From: "ann@example.org", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.net"}}}
	fmt.Println(mailkeel.Deliver(ctx, out, env, text("Subject: hello\r\n\r\nhi\r\n"))[0].Action)

	for out.Settled(ctx); clock.Step(testclock.Start.Add(time.Hour)); out.Settled(ctx) {
	}
	stop()
	<-done
	// Output:
	// queued
	// gone after 3m0s
}
