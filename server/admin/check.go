package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store/blob"
)

type checkArgs struct {
	// Contents also reads every blob and compares its hash.
	Contents bool `json:"contents,omitempty"`
}

// A Finding is something that check found to be wrong.
type Finding struct {
	// What says which rule is broken, in a word that does not change: "blob
	// missing", "counter", "order".
	What  string `json:"what"`
	Where string `json:"where"` // account, mailbox, UID or item
	Text  string `json:"text"`
}

// A Summary is the last row of check.
type Summary struct {
	Accounts  int `json:"accounts"`
	Mailboxes int `json:"mailboxes"`
	Messages  int `json:"messages"`
	Objects   int `json:"objects"`
	Items     int `json:"items"` // of the queue
	Blobs     int `json:"blobs"`
	// Orphans are blobs that nothing names. They are harmless and will be
	// swept once they are old enough.
	Orphans     int   `json:"orphans"`
	OrphanBytes int64 `json:"orphan_bytes"`
	Problems    int   `json:"problems"`
}

// checking is one run of check.
type checking struct {
	*Admin
	args checkArgs
	emit Emit
	sum  Summary
}

func check(a *Admin, ctx context.Context, args checkArgs, emit Emit) error {
	c := &checking{Admin: a, args: args, emit: emit}
	if a.Damage != nil {
		faults, err := a.Damage(ctx)
		if err != nil {
			return err
		}
		for _, f := range faults {
			if err := c.found("damage", "database", "%s", f); err != nil {
				return err
			}
		}
	}
	if err := c.checkStore(ctx); err != nil {
		return err
	}
	if err := c.checkQueue(ctx); err != nil {
		return err
	}
	if err := c.checkBlobs(ctx); err != nil {
		return err
	}
	if err := emit(c.sum); err != nil {
		return err
	}
	if c.sum.Problems > 0 {
		return fail(fmt.Sprintf("%d problems found", c.sum.Problems), "")
	}
	return nil
}

// found reports a problem.
func (c *checking) found(what, where, format string, args ...any) error {
	c.sum.Problems++
	return c.emit(Finding{what, where, fmt.Sprintf(format, args...)})
}

func (c *checking) checkStore(ctx context.Context) error {
	// First the list, for a transaction on accounts need not last.
	var all []accounts.Account
	for acc, err := range c.Accounts.Accounts(ctx, "") {
		if err != nil {
			return err
		}
		all = append(all, acc)
	}
	for _, acc := range all {
		c.sum.Accounts++
		if err := c.checkAccount(ctx, acc.ID, acc.Address); err != nil {
			return err
		}
	}
	return nil
}

// named is a blob that a row names, with the size that the row says.
type named struct {
	where string
	ref   blob.Ref
	size  int64 // of the blob; negative if the row does not say
}

// checkNamed looks for a blob that a row names.
func (c *checking) checkNamed(ctx context.Context, n named) error {
	info, err := c.Blobs.Stat(ctx, n.ref)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return c.found("blob missing", n.where, "its content %s is not there", n.ref)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return c.found("blob unreadable", n.where, "%v", err)
	case n.size >= 0 && info.Size != n.size:
		return c.found("blob size", n.where, "its content %s has %d bytes, the row says %d", n.ref, info.Size, n.size)
	}
	return nil
}

func (c *checking) checkQueue(ctx context.Context) error {
	var blobs []named
	for it, err := range c.Queue.List(ctx, queue.Query{}) {
		if err != nil {
			return err
		}
		c.sum.Items++
		where := "queue " + it.ID
		if len(it.Envelope.Rcpts) != 1 || it.Envelope.Rcpts[0].Addr == "" || it.ID != fmt.Sprintf("%s/%d", it.Envelope.ID, it.Envelope.Rcpts[0].Index) {
			if err := c.found("item", where, "it has %d recipients, or its ID is not that of its envelope %s", len(it.Envelope.Rcpts), it.Envelope.ID); err != nil {
				return err
			}
		}
		if it.Blob.Ref != "" { // a damaged one has none
			blobs = append(blobs, named{where, it.Blob.Ref, it.Blob.Size})
		}
	}
	for _, n := range blobs {
		if err := c.checkNamed(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// checkBlobs reads the blobs if asked to, and counts orphans.
func (c *checking) checkBlobs(ctx context.Context) error {
	const batch = 500
	var refs []blob.Ref
	sizes := map[blob.Ref]int64{}
	flush := func() error {
		free := refs
		for _, h := range []blob.Holder{c.Store, c.Queue} {
			var err error
			if free, err = h.Unreferenced(ctx, free); err != nil {
				return err
			}
		}
		for _, ref := range free {
			c.sum.Orphans++
			c.sum.OrphanBytes += sizes[ref]
		}
		refs = refs[:0]
		clear(sizes)
		return nil
	}
	for info, err := range c.Blobs.List(ctx) {
		if err != nil {
			return err
		}
		c.sum.Blobs++
		refs, sizes[info.Ref] = append(refs, info.Ref), info.Size
		if len(refs) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
		if c.args.Contents {
			if err := c.checkContent(ctx, info); err != nil {
				return err
			}
		}
	}
	return flush()
}

// checkContent reads a blob and compares it with its name.
func (c *checking) checkContent(ctx context.Context, info blob.Info) error {
	rc, err := c.Blobs.Open(ctx, info.Ref, 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return nil // swept since it was listed
	}
	var n int64
	h := sha256.New()
	if err == nil {
		n, err = io.Copy(h, rc)
		rc.Close()
	}
	switch ref := blob.Ref(fmt.Sprintf("sha256-%x", h.Sum(nil))); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return c.found("blob unreadable", string(info.Ref), "%v", err)
	case ref != info.Ref || n != info.Size:
		return c.found("blob content", string(info.Ref), "its %d bytes have the hash %s", n, ref)
	}
	return nil
}

func (s *Summary) text() string {
	return fmt.Sprintf("%d accounts, %d mailboxes, %d messages, %d objects, %d queued, %d blobs (%d of them, %s, named by nothing: they will be swept)",
		s.Accounts, s.Mailboxes, s.Messages, s.Objects, s.Items, s.Blobs, s.Orphans, FormatSize(s.OrphanBytes))
}
