package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store"
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

// checkAccount compares the rows of an account with each other in one snapshot,
// and then the blobs with the rows.
func (c *checking) checkAccount(ctx context.Context, id mailkeel.AccountID, address string) error {
	type problem struct{ what, where, text string }
	var problems []problem
	var blobs []named
	var sum Summary
	err := c.Store.Backend.View(ctx, func(tx store.Tx) error {
		problems, blobs, sum = nil, nil, c.sum
		say := func(what, where, format string, args ...any) {
			problems = append(problems, problem{what, where, fmt.Sprintf(format, args...)})
		}
		accs, err := tx.Accounts(id)
		if err != nil {
			return err
		}
		acc := accs[0]
		var total counts
		boxes := 0
		seen := map[store.MessageID]string{}
		for mb, err := range tx.Mailboxes(id, store.Since{}) {
			if err != nil {
				return err
			}
			sum.Mailboxes++
			where := address + " " + mb.Name
			var n counts
			if mb.ModSeq > acc.ModSeq || mb.UIDValidity > acc.LastUIDValidity {
				say("order", where, "MODSEQ %d or UIDVALIDITY %d is beyond the account's %d and %d", mb.ModSeq, mb.UIDValidity, acc.ModSeq, acc.LastUIDValidity)
			}
			last := store.UID(0)
			q := store.Query{Since: store.Since{Tombstones: true}}
			for m, err := range tx.Messages(mb.ID, q) {
				if err != nil {
					return err
				}
				here := fmt.Sprintf("%s UID %d", where, m.UID)
				if m.UID <= last || m.UID >= mb.UIDNext || m.ModSeq > mb.ModSeq {
					say("order", here, "after UID %d, with UIDNEXT %d; MODSEQ %d, the mailbox has %d", last, mb.UIDNext, m.ModSeq, mb.ModSeq)
				}
				last = m.UID
				if m.Expunged {
					if !m.Moved && m.KeepUntil.After(c.now()) {
						blobs = append(blobs, named{here + " (expunged)", m.Blob, -1})
					}
					continue
				}
				sum.Messages++
				if other, ok := seen[m.ID]; ok {
					say("twice", here, "the message is at %s too", other)
				}
				seen[m.ID] = here
				n.add(&m)
				prefix, err := prefixLen(tx, m)
				if errors.Is(err, store.ErrNotFound) {
					say("row missing", here, "the row with the header fields added here is missing")
				} else if err != nil {
					return err
				}
				blobs = append(blobs, named{here, m.Blob, m.Size - prefix})
			}
			if said := (counts{mb.Messages, mb.Unseen, mb.Marked, mb.Bytes}); said != n {
				say("counter", where, "the mailbox says %v; there are %v", said, n)
			}
			boxes++
			total.messages += n.messages
			total.bytes += n.bytes
		}
		if acc.Bytes != total.bytes || acc.Messages != total.messages || acc.Mailboxes != boxes {
			say("counter", address, "the account says %d mailboxes, %d messages, %d bytes; there are %d, %d, %d",
				acc.Mailboxes, acc.Messages, acc.Bytes, boxes, total.messages, total.bytes)
		}
		for o, err := range tx.Objects(id, store.ObjectQuery{}) {
			if err != nil {
				return err
			}
			sum.Objects++
			where := fmt.Sprintf("%s object %s %s", address, o.Kind, o.ID)
			if o.ModSeq > acc.ModSeq {
				say("order", where, "MODSEQ %d, the account has %d", o.ModSeq, acc.ModSeq)
			}
			if o.Blob != "" {
				blobs = append(blobs, named{where, o.Blob, -1})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	sum.Problems = c.sum.Problems
	c.sum = sum
	for _, p := range problems {
		if err := c.found(p.what, p.where, "%s", p.text); err != nil {
			return err
		}
	}
	for _, n := range blobs {
		if err := c.checkNamed(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// counts are those of a mailbox.
type counts struct {
	messages, unseen, marked int
	bytes                    int64
}

func (n counts) String() string {
	return fmt.Sprintf("%d messages, %d unseen, %d marked, %d bytes", n.messages, n.unseen, n.marked, n.bytes)
}

func (n *counts) add(m *store.Message) {
	n.messages++
	n.bytes += m.Size
	if !slices.ContainsFunc(m.Flags, func(f string) bool { return strings.EqualFold(f, `\Seen`) }) {
		n.unseen++
	}
	if slices.ContainsFunc(m.Flags, func(f string) bool { return strings.EqualFold(f, `\Deleted`) }) {
		n.marked++
	}
}

// prefixLen is the length of what stands before the blob of a message.
func prefixLen(tx store.Tx, m store.Message) (int64, error) {
	for cold, err := range tx.Cold(m.Account, m.ID) {
		return int64(len(cold.Prefix)), err
	}
	return 0, store.ErrNotFound
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
