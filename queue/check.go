package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// What was done about a Finding.
const (
	// Left means that it is as it was.
	Left = ""
	// Repaired means that the state is legal now.
	Repaired = "repaired"
	// Parked means that the item is held now, with the reason as its Last.
	Parked = "parked"
	// Known means that an earlier Check, or a Lease, parked it.
	Known = "known"
)

// damaged begins the Last of a parked item.
const damaged = "damaged: "

// A Finding is a contradiction in the queue.
type Finding struct {
	State string // its number in the table of the package documentation: "Q22"
	Where string // the ID of the item
	Text  string
	Done  string // Left, Repaired, Parked or Known
}

// CheckOptions say what Check does. Found is required.
type CheckOptions struct {
	// Repair makes what is found legal again where that can be derived, and
	// parks the rest.
	Repair bool
	// Bad, if set, says what is wrong with a content that is there, and nothing
	// of a good one.
	Bad func(blob.Ref) string
	// Found is called for each finding. Its error ends the check.
	Found func(Finding) error
}

// Checked counts what a Check looked at.
type Checked struct {
	Items  int
	Parked int // damaged ones, those found now among them
}

// A Checker is a power of a Backend: it looks at what it keeps besides items, and at
// items whose rows it cannot read. It reads a part at a time and calls found outside
// of transactions; with repair it derives the one again and holds the others, with
// a Last that begins with "damaged: ".
type Checker interface {
	CheckRows(ctx context.Context, now time.Time, repair bool, found func(Finding) error) error
}

// Check compares the items of a queue with themselves and with the blobs, and tells
// what it finds; see the tables of states in the package documentation. The Queue
// may run meanwhile: what looks wrong is looked at again before it is told, and an
// item that is being tried is left to its next Check.
func (q *Queue) Check(ctx context.Context, o CheckOptions) (Checked, error) {
	c := &checking{q: q, o: o}
	if rows, ok := q.Backend.(Checker); ok {
		err := rows.CheckRows(ctx, q.now(), o.Repair, func(f Finding) error {
			if f.Done == Parked || f.Done == Known || f.State == "Q21" {
				c.done.Parked++
			}
			return o.Found(f)
		})
		if err != nil {
			return c.done, err
		}
	}
	for it, err := range q.Backend.List(ctx, Query{}) {
		if err != nil {
			return c.done, err
		}
		c.done.Items++
		if err := c.item(ctx, &it); err != nil {
			return c.done, err
		}
	}
	return c.done, nil
}

type checking struct {
	q    *Queue
	o    CheckOptions
	done Checked
}

// A fault is what is wrong with an item. One with a fix is not parked.
type fault struct {
	state, text string
	fix         func(*Item)
}

func (c *checking) item(ctx context.Context, it *Item) error {
	f, err := c.examine(ctx, it)
	if err != nil || f == nil {
		return err
	}
	// It may have been settled since it was read, and its content swept.
	there := false
	for now, err := range c.q.Backend.List(ctx, Query{ID: it.ID}) {
		if err != nil {
			return err
		}
		if now.ID == it.ID {
			*it, there = now, true
		}
	}
	if !there {
		return nil
	}
	if f, err = c.examine(ctx, it); err != nil || f == nil {
		return err
	}
	if f.fix == nil {
		c.done.Parked++
	}
	done := Left
	known := f.fix == nil && it.Held && strings.HasPrefix(it.Last, damaged)
	switch {
	case known:
		done = Known
	case c.o.Repair:
		done = cmp.Or(map[bool]string{true: Repaired}[f.fix != nil], Parked)
		err := c.q.Backend.Change(ctx, c.q.now(), it.ID, func(x *Item) error {
			if f.fix != nil {
				f.fix(x)
				return nil
			}
			x.Held, x.Last = true, damaged+f.text
			return nil
		})
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case errors.Is(err, ErrLeased):
			done = Left
		case err != nil:
			return err
		}
		c.q.kick()
	}
	return c.o.Found(Finding{f.state, it.ID, f.text, done})
}

// examine says what is wrong with an item; nil if nothing is.
func (c *checking) examine(ctx context.Context, it *Item) (*fault, error) {
	if it.Envelope.ID == "" && len(it.Envelope.Rcpts) == 0 {
		if _, ok := c.q.Backend.(Checker); ok {
			return nil, nil // it told of that
		}
	}
	if n := len(it.Envelope.Rcpts); n != 1 || it.Envelope.Rcpts[0].Addr == "" || it.ID != fmt.Sprintf("%s/%d", it.Envelope.ID, it.Envelope.Rcpts[0].Index) {
		return &fault{state: "Q21", text: fmt.Sprintf("it has %d recipients, or its ID is not that of its envelope %q", n, it.Envelope.ID)}, nil
	}
	info, err := c.q.Blobs.Stat(ctx, it.Blob.Ref)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, blob.ErrDamaged):
		return &fault{state: "Q23", text: fmt.Sprintf("its content %s is damaged: %v", it.Blob.Ref, err)}, nil
	case errors.Is(err, blob.ErrUnreadable): // another time
		return nil, nil
	case errors.Is(err, blob.ErrNotFound):
		return &fault{state: "Q22", text: fmt.Sprintf("its content %s is not there: %v", it.Blob.Ref, err)}, nil
	case err != nil:
		return nil, err
	case info.Size != it.Blob.Size:
		return &fault{state: "Q24", text: fmt.Sprintf("its content %s has %d bytes, its row says %d", it.Blob.Ref, info.Size, it.Blob.Size)}, nil
	}
	if c.o.Bad != nil {
		if why := c.o.Bad(it.Blob.Ref); why != "" {
			return &fault{state: "Q23", text: fmt.Sprintf("its content %s is damaged: %s", it.Blob.Ref, why)}, nil
		}
	}
	if it.Held && strings.HasPrefix(it.Last, damaged) {
		return &fault{state: "Q7", text: "it was parked and can be read again", fix: func(x *Item) { x.Held, x.Last, x.Due = false, "", c.q.now() }}, nil
	}
	if !it.Held && !it.Expires.IsZero() && it.Due.After(it.Expires) && it.Due.After(c.q.now()) {
		return &fault{state: "Q12", text: fmt.Sprintf("it is due at %s, after it expires", it.Due.UTC().Format(time.RFC3339)), fix: func(x *Item) { x.Due = c.q.now() }}, nil
	}
	return nil, nil
}
