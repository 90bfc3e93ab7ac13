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
	State     string    `json:"state"` // "held", "waiting", "due" or "trying"
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
	case a.Queue.Trying(it.ID):
		r.State = "trying"
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
	c, err := a.Queue.Open(ctx, it.ID)
	if err != nil {
		return "", err
	}
	rc, err := c.Open(ctx)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	var head strings.Builder
	for r := bufio.NewReader(io.LimitReader(rc, 64<<10)); ; {
		line, err := r.ReadString('\n')
		if strings.TrimRight(line, "\r\n") == "" {
			return head.String(), nil
		}
		head.WriteString(line)
		if err == io.EOF {
			return head.String(), nil
		} else if err != nil {
			return "", err
		}
	}
}

// act calls do for each item that args select, and says what was done. An item that
// left the queue meanwhile is passed over; one that is being tried is an error, after
// the others.
func (a *Admin) act(ctx context.Context, args queueArgs, done string, emit Emit, do func(it queue.Item) error) error {
	if args.IDs == nil && !args.All && args.Route == "" && args.Sender == "" && args.Recipient == "" && !args.Held {
		return control.Usagef("which items? Name them, or say -all, -route, -sender or -recipient")
	}
	if done == "released" {
		args.Held = true
	}
	var items []queue.Item // before any is changed, for changes may move them in the list
	err := a.selectItems(ctx, args, func(it *queue.Item) error {
		items = append(items, queue.Item{ID: it.ID, Held: it.Held})
		return nil
	})
	if err != nil {
		return err
	}
	var leased []string
	for _, it := range items {
		var was Item
		for x, err := range a.Queue.List(ctx, queue.Query{ID: it.ID}) {
			if err != nil {
				return err
			}
			was = a.item(&x)
		}
		err := do(it)
		switch {
		case errors.Is(err, queue.ErrLeased):
			leased = append(leased, it.ID)
			continue
		case errors.Is(err, queue.ErrNotFound), errors.Is(err, errSkip):
			continue
		case err != nil:
			return err
		}
		now := was
		for x, err := range a.Queue.List(ctx, queue.Query{ID: it.ID}) {
			if err != nil {
				return err
			}
			now = a.item(&x)
		}
		now.Done = done
		if err := emit(now); err != nil {
			return err
		}
	}
	if leased != nil {
		return fail("being delivered at this moment: "+strings.Join(leased, ", "), "try again when that has ended")
	}
	return nil
}

// errSkip passes an item over.
var errSkip = errors.New("admin: passed over")

func queueHold(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.act(ctx, args, "held", emit, func(it queue.Item) error {
		if it.Held {
			return nil // with the reason that it has
		}
		return a.Queue.Hold(ctx, it.ID, "") // its last answer says more
	})
}

func queueRelease(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.act(ctx, args, "released", emit, func(it queue.Item) error { return a.Queue.Release(ctx, it.ID) })
}

func queueRetry(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.act(ctx, args, "retried", emit, func(it queue.Item) error {
		switch {
		case it.Held && args.IDs == nil:
			return errSkip
		case it.Held:
			return fail("held: "+it.ID, "queue release lets it go")
		}
		return a.Queue.Retry(ctx, it.ID)
	})
}

func queueDrop(a *Admin, ctx context.Context, args queueArgs, emit Emit) error {
	return a.act(ctx, args, "dropped", emit, func(it queue.Item) error {
		gone, err := a.Queue.Drop(ctx, it.ID)
		if err == nil && len(gone) == 0 {
			err = queue.ErrLeased
		}
		return err
	})
}
