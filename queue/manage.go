package queue

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mailkeel/mailkeel"
)

// What follows is for people: commands and administration pages call it, from many
// goroutines. Each takes the ID of an Item and returns ErrNotFound if there is
// none, or ErrLeased if it is being tried now.

// List yields items by Due.
func (q *Queue) List(ctx context.Context, query Query) iter.Seq2[Item, error] {
	return q.Backend.List(ctx, query)
}

// Trying reports whether this process is trying an item now.
func (q *Queue) Trying(id string) bool {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	for _, l := range q.state.leases {
		if slices.ContainsFunc(l.Items, func(it Item) bool { return it.ID == id }) {
			return true
		}
	}
	return false
}

// Hold keeps an item from being tried until Release. The reason is its Last.
func (q *Queue) Hold(ctx context.Context, id, reason string) error {
	return q.change(ctx, id, func(it *Item) error {
		it.Held, it.Last = true, cmp.Or(reason, it.Last)
		return nil
	})
}

// Release lets a held item be tried, now and for as long as a new one.
func (q *Queue) Release(ctx context.Context, id string) error {
	return q.change(ctx, id, func(it *Item) error {
		now := q.now()
		it.Held, it.Due = false, now
		if until := now.Add(q.expire()); !it.Expires.IsZero() && until.After(it.Expires) {
			it.Expires = until
		}
		return nil
	})
}

// Retry tries an item now. One that is held stays so.
func (q *Queue) Retry(ctx context.Context, id string) error {
	return q.change(ctx, id, func(it *Item) error {
		it.Due = q.now()
		return nil
	})
}

// Reroute sends an item by a route that the Transport after the queue knows by this
// name, such as one of route.Table.Named; an empty name is the usual way again. It
// is tried now.
func (q *Queue) Reroute(ctx context.Context, id, via string) error {
	return q.change(ctx, id, func(it *Item) error {
		it.Envelope.Rcpts = slices.Clone(it.Envelope.Rcpts)
		for i := range it.Envelope.Rcpts {
			it.Envelope.Rcpts[i].Via = via
			it.Route = q.route(it.Envelope.Rcpts[i])
		}
		it.Due = q.now()
		return nil
	})
}

func (q *Queue) change(ctx context.Context, id string, fn func(*Item) error) error {
	if err := q.Backend.Change(ctx, q.now(), id, fn); err != nil {
		return err
	}
	q.kick()
	return nil
}

// Drop removes items without a word to anyone. It returns those removed: what is
// being tried now stays.
func (q *Queue) Drop(ctx context.Context, ids ...string) ([]string, error) {
	return q.Backend.Remove(ctx, q.now(), ids...)
}

// GiveBack removes an item and sends its sender a bounce that names the reason.
func (q *Queue) GiveBack(ctx context.Context, id, reason string) error {
	// Held, so that nobody tries it between the bounce and its end.
	var it Item
	err := q.Backend.Change(ctx, q.now(), id, func(x *Item) error {
		x.Held, x.Last = true, reason
		it = *x
		return nil
	})
	if err != nil {
		return err
	}
	f := fate{&it, mailkeel.Result{Err: &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 0, 0}, Message: reason}}}
	bounce, err := q.reportItems(ctx, bounceReport, &it.Envelope, content{q.Blobs, &it}, []fate{f})
	if err != nil {
		return err
	}
	// The bounce comes first and has its ID from the item: if we die in between,
	// the item is still there and its bounce is not sent again.
	if err := q.putItems(ctx, nil, bounce); err != nil {
		return err
	}
	removed, err := q.Backend.Remove(ctx, q.now(), id)
	if err == nil && len(removed) == 0 {
		err = ErrNotFound
	}
	return err
}

// Counts are how many items there are.
type Counts struct {
	Items, Held int
	Oldest      time.Time // when the oldest was queued; zero if there is none
}

// Count counts items, for health pages. It reads all that match.
func (q *Queue) Count(ctx context.Context, query Query) (c Counts, err error) {
	for it, err := range q.Backend.List(ctx, query) {
		if err != nil {
			return c, err
		}
		c.Items++
		if it.Held {
			c.Held++
		}
		if c.Oldest.IsZero() || it.Queued.Before(c.Oldest) {
			c.Oldest = it.Queued
		}
	}
	return c, nil
}

// Open reads the message of an item: its prefix and content.
func (q *Queue) Open(ctx context.Context, id string) (mailkeel.Content, error) {
	for it, err := range q.Backend.List(ctx, Query{ID: id, Limit: 1}) {
		if err != nil {
			return nil, fmt.Errorf("queue: cannot read %s: %w", id, err)
		}
		return content{q.Blobs, &it}, nil
	}
	return nil, ErrNotFound
}
