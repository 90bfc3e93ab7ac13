package queue_test

import (
	"context"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// shut knows beforehand that it has no way to bob.
type shut struct{ got chan string }

func (s shut) Holds(_ context.Context, _ *mailkeel.Envelope, r mailkeel.Recipient) error {
	if r.Addr == "bob@y" {
		return delivery.Hold("no way to bob")
	}
	return nil
}

func (s shut) Deliver(_ context.Context, env *mailkeel.Envelope, _ mailkeel.Content) []mailkeel.Result {
	for _, r := range env.Rcpts {
		s.got <- r.Addr
	}
	return make([]mailkeel.Result, len(env.Rcpts))
}

// leases counts what asks for a lease.
type leases struct {
	*memqueue.Backend
	asked int
}

func (l *leases) PutLeased(ctx context.Context, w queue.Want, items ...queue.Item) ([]queue.Lease, error) {
	l.asked++
	return l.Backend.PutLeased(ctx, w, items...)
}

// TestParkedAtOnce checks that mail for which there is no way is held by the step
// that stores it, that others of the same message go, and that a person lets it go.
func TestParkedAtOnce(t *testing.T) {
	clock := &testclock.Clock{}
	b := &leases{Backend: &memqueue.Backend{}}
	next := shut{make(chan string, 10)}
	q := &queue.Queue{Backend: b, Blobs: &memblob.Store{Clock: clock}, Next: next, Clock: clock}
	// deliver checks that who asks learns what is held, and why: it writes the log.
	deliver := func(id string, to ...string) {
		env := &mailkeel.Envelope{ID: id, From: "ann@x"}
		for i, a := range to {
			env.Rcpts = append(env.Rcpts, mailkeel.Recipient{Addr: a, Index: i})
		}
		for i, r := range q.Deliver(t.Context(), env, message) {
			why := ""
			if to[i] == "bob@y" {
				why = "held: no way to bob"
			}
			if r.Err != nil || r.Action != mailkeel.Queued || r.Reply != why {
				t.Fatalf("%s: %+v", id, r)
			}
		}
	}
	start(t, q)
	settled(t, q)
	b.asked = 0
	deliver("alone", "bob@y")
	if b.asked != 0 {
		t.Errorf("%d leases were asked for mail that is held", b.asked)
	}
	deliver("both", "bob@y", "cat@y", "dan@z")
	settled(t, q)
	if len(next.got) != 2 {
		t.Errorf("%d were delivered, want cat and dan", len(next.got))
	}
	held := 0
	for it, err := range b.List(t.Context(), queue.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if held++; !it.Held || it.Last != "no way to bob" || it.Attempts != 0 {
			t.Errorf("%+v", it)
		}
		if err := q.Release(t.Context(), it.ID); err != nil {
			t.Error(err)
		}
	}
	settled(t, q)
	if held != 2 || len(next.got) != 4 {
		t.Errorf("%d were held, want 2; %d were delivered in all, want 4", held, len(next.got))
	}
}
