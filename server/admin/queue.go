package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/control"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob"
)

// queueArgs select items: by ID (that of an item, or of a message with all its
// items), or all that match the rest.
type queueArgs struct {
	IDs       []string `json:"ids,omitempty"`
	All       bool     `json:"all,omitempty"`
	Route     string   `json:"route,omitempty"`
	Sender    string   `json:"sender,omitempty"`
	Recipient string   `json:"recipient,omitempty"`
	Held      bool     `json:"held,omitempty"`
	Limit     int      `json:"limit,omitempty"`
}

// An Item is a row of the queue commands.
type Item struct {
	ID        string    `json:"id"`
	State     string    `json:"state"` // "held", "waiting" or "due"
	From      string    `json:"from"`
	To        string    `json:"to"`
	Given     string    `json:"given,omitempty"` // the address the sender used, if another
	Route     string    `json:"route"`
	Size      int64     `json:"size"`
	Queued    time.Time `json:"queued"`
	Due       time.Time `json:"due"`
	Expires   time.Time `json:"expires,omitzero"`
	Attempts  int       `json:"attempts"`
	Last      string    `json:"last,omitempty"`
	Submitter string    `json:"submitter,omitempty"`
	Client    string    `json:"client,omitempty"`
	Blob      blob.Ref  `json:"blob,omitempty"`
	// Header is that of the message, of show only; cut off at 64 KiB.
	Header string `json:"header,omitempty"`
	// Done is what was done to it just now: "held", "released", "retried" or
	// "dropped".
	Done string `json:"done,omitempty"`
}

func (a *Admin) item(it *queue.Item) Item {
	r := Item{
		ID: it.ID, State: "waiting", From: it.Envelope.From, Route: it.Route, Size: int64(len(it.Prefix)) + it.Blob.Size,
		Queued: it.Queued, Due: it.Due, Expires: it.Expires, Attempts: it.Attempts, Last: it.Last,
		Submitter: string(it.Envelope.Submitter), Blob: it.Blob.Ref,
	}
	if len(it.Envelope.Rcpts) > 0 {
		rcpt := it.Envelope.Rcpts[0]
		if r.To = rcpt.Addr; rcpt.Given != rcpt.Addr {
			r.Given = rcpt.Given
		}
	}
	if o := it.Envelope.Origin; o != nil {
		r.Client = o.Addr.Addr().String()
	}
	switch {
	case it.Held:
		r.State = "held"
	case !it.Due.After(a.now()):
		r.State = "due"
	}
	return r
}

// selectItems calls fn for what args select. Each ID must select something.
func (a *Admin) selectItems(ctx context.Context, args queueArgs, fn func(*queue.Item) error) error {
	ids := args.IDs
	if ids == nil {
		ids = []string{""}
	}
	var missing []string
	for _, id := range ids {
		q := queue.Query{ID: id, Route: args.Route, Sender: args.Sender, Recipient: args.Recipient, HeldOnly: args.Held, Limit: args.Limit}
		found := false
		for it, err := range a.Queue.List(ctx, q) {
			if err != nil {
				return err
			}
			found = true
			if err := fn(&it); err != nil {
				return err
			}
		}
		if id != "" && !found {
			missing = append(missing, id)
		}
	}
	if missing == nil {
		return nil
	}
	what := "not in the queue: "
	if args.Held {
		what = "not held in the queue: "
	}
	return fail(what+strings.Join(missing, ", "), "queue list shows what is there; what was delivered or dropped has left it")
}

func queueList(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.selectItems(ctx, args, func(it *queue.Item) error { return emit(a.item(it)) })
}

func queueShow(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.selectItems(ctx, args, func(it *queue.Item) error {
		r := a.item(it)
		head, err := a.header(ctx, it)
		if err != nil && !errors.Is(err, blob.ErrNotFound) {
			return err
		}
		r.Header = head
		return emit(r)
	})
}

// header reads the header of a message, up to 64 KiB.
func (a *Admin) header(ctx context.Context, it *queue.Item) (string, error) {
	rc, err := a.Blobs.Open(ctx, it.Blob.Ref, 0, 64<<10)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	var head strings.Builder
	head.Write(it.Prefix)
	r := bufio.NewReader(rc)
	for head.Len() < 64<<10 {
		line, err := r.ReadString('\n')
		if strings.TrimRight(line, "\r\n") == "" || err != nil && err != io.EOF {
			return head.String(), nil
		}
		head.WriteString(line)
		if err == io.EOF {
			break
		}
	}
	return head.String(), nil
}

// change edits what args select, and says so.
func (a *Admin) change(ctx context.Context, args queueArgs, done string, emit Emit, edit func(*queue.Item) error) error {
	return a.act(ctx, args, done, emit, func(id string) (it queue.Item, err error) {
		err = a.Queue.Change(ctx, a.now(), id, func(x *queue.Item) error {
			err := edit(x)
			it = *x
			return err
		})
		return it, err
	})
}

// errSkip passes an item over.
var errSkip = errors.New("admin: passed over")

// act calls do for each item that args select. An item that left the queue
// meanwhile is passed over; one that is being tried is an error, after the others.
func (a *Admin) act(ctx context.Context, args queueArgs, done string, emit Emit, do func(id string) (queue.Item, error)) error {
	if args.IDs == nil && !args.All && args.Route == "" && args.Sender == "" && args.Recipient == "" && !args.Held {
		return control.Usagef("which items? Name them, or say -all, -route, -sender, -recipient or -held")
	}
	var items []string // before any is changed, for changes may move them in the list
	err := a.selectItems(ctx, args, func(it *queue.Item) error {
		items = append(items, it.ID)
		return nil
	})
	if err != nil {
		return err
	}
	var leased []string
	for _, id := range items {
		it, err := do(id)
		switch {
		case errors.Is(err, queue.ErrLeased):
			leased = append(leased, id)
			continue
		case errors.Is(err, queue.ErrNotFound), errors.Is(err, errSkip):
			continue
		case err != nil:
			return err
		}
		r := a.item(&it)
		r.Done = done
		if err := emit(r); err != nil {
			return err
		}
	}
	if leased != nil {
		return fail("being delivered at this moment: "+strings.Join(leased, ", "), "try again when that has ended")
	}
	return nil
}

func queueHold(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.change(ctx, args, "held", emit, func(it *queue.Item) error {
		it.Held = true
		return nil
	})
}

func queueRelease(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	args.Held = true
	return a.change(ctx, args, "released", emit, func(it *queue.Item) error {
		it.Held = false
		a.again(it)
		return nil
	})
}

func queueRetry(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.change(ctx, args, "retried", emit, func(it *queue.Item) error {
		if it.Held && args.IDs == nil {
			return errSkip
		} else if it.Held {
			return fail("held: "+it.ID, "queue release lets it go")
		}
		a.again(it)
		return nil
	})
}

// again makes an item due now. One that waited on a person gets its time back.
func (a *Admin) again(it *queue.Item) {
	now := a.now()
	if life := it.Expires.Sub(it.Queued); !it.Expires.IsZero() && it.Expires.Before(now.Add(life/2)) {
		it.Expires = now.Add(life / 2)
	}
	it.Due = now
}

func queueDrop(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.act(ctx, args, "dropped", emit, func(id string) (queue.Item, error) {
		var it queue.Item
		err := a.Queue.Change(ctx, a.now(), id, func(x *queue.Item) error {
			it = *x
			return nil
		})
		if err != nil {
			return it, err
		}
		gone, err := a.Queue.Remove(ctx, a.now(), id)
		if err == nil && len(gone) == 0 {
			err = queue.ErrLeased
		}
		return it, err
	})
}
