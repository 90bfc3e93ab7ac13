package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

// coldBatch is how many messages are looked up at a time.
const coldBatch = 500

// rows are those of an account in one snapshot, compared with each other.
type rows struct {
	tx      store.Tx
	now     time.Time
	address string
	acc     store.Account

	findings []Finding
	blobs    []named
	sum      Summary
	seen     map[store.MessageID]place
	boxes    int
	total    counts
}

// place is where a message is.
type place struct {
	box string
	uid store.UID
}

func (p place) String() string { return fmt.Sprintf("%s UID %d", p.box, p.uid) }

// checkAccount compares the rows of an account with each other, and then what they
// name with the blobs.
func (c *checking) checkAccount(ctx context.Context, id mailkeel.AccountID, address string) error {
	var r *rows
	err := c.Store.Backend.View(ctx, func(tx store.Tx) error {
		r = &rows{tx: tx, now: c.now(), address: address, sum: c.sum, seen: map[store.MessageID]place{}}
		return r.check(id)
	})
	if err != nil {
		return err
	}
	c.sum = r.sum
	for _, f := range r.findings {
		if err := c.found(f.What, f.Where, "%s", f.Text); err != nil {
			return err
		}
	}
	for _, n := range r.blobs {
		if err := c.checkNamed(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (r *rows) say(what, where, format string, args ...any) {
	r.findings = append(r.findings, Finding{what, where, fmt.Sprintf(format, args...)})
}

func (r *rows) check(id mailkeel.AccountID) error {
	accs, err := r.tx.Accounts(id)
	if err != nil {
		return err
	}
	r.acc = accs[0]
	for mb, err := range r.tx.Mailboxes(id, store.Since{}) {
		if err == nil {
			err = r.mailbox(&mb)
		}
		if err != nil {
			return err
		}
	}
	if a := &r.acc; a.Bytes != r.total.bytes || a.Messages != r.total.messages || a.Mailboxes != r.boxes {
		r.say("counter", r.address, "the account says %d mailboxes, %d messages, %d bytes; there are %d, %d, %d",
			a.Mailboxes, a.Messages, a.Bytes, r.boxes, r.total.messages, r.total.bytes)
	}
	for o, err := range r.tx.Objects(id, store.ObjectQuery{}) {
		if err != nil {
			return err
		}
		r.sum.Objects++
		where := fmt.Sprintf("%s object %s %s", r.address, o.Kind, o.ID)
		if o.ModSeq > r.acc.ModSeq {
			r.say("order", where, "MODSEQ %d, the account has %d", o.ModSeq, r.acc.ModSeq)
		}
		if o.Blob != "" {
			r.blobs = append(r.blobs, named{where, o.Blob, -1})
		}
	}
	return nil
}

func (r *rows) mailbox(mb *store.Mailbox) error {
	where := r.address + " " + mb.Name
	if mb.ModSeq > r.acc.ModSeq || mb.UIDValidity > r.acc.LastUIDValidity {
		r.say("order", where, "MODSEQ %d, UIDVALIDITY %d; the account has %d, %d", mb.ModSeq, mb.UIDValidity, r.acc.ModSeq, r.acc.LastUIDValidity)
	}
	var n counts
	var live []store.Message
	last := store.UID(0)
	for m, err := range r.tx.Messages(mb.ID, store.Query{Since: store.Since{Tombstones: true}}) {
		if err != nil {
			return err
		}
		here := place{where, m.UID}
		if m.UID <= last || m.UID >= mb.UIDNext || m.ModSeq > mb.ModSeq {
			r.say("order", here.String(), "after UID %d, with UIDNEXT %d; MODSEQ %d, the mailbox has %d", last, mb.UIDNext, m.ModSeq, mb.ModSeq)
		}
		last = m.UID
		if m.Expunged {
			if !m.Moved && m.KeepUntil.After(r.now) {
				r.blobs = append(r.blobs, named{here.String() + " (expunged)", m.Blob, -1})
			}
			continue
		}
		n.add(&m)
		if other, ok := r.seen[m.ID]; ok {
			r.say("twice", here.String(), "the message is at %v too", other)
		}
		r.seen[m.ID] = here
		if live = append(live, m); len(live) == coldBatch {
			if err := r.cold(where, live); err != nil {
				return err
			}
			live = live[:0]
		}
	}
	if said := (counts{mb.Messages, mb.Unseen, mb.Marked, mb.Bytes}); said != n {
		r.say("counter", where, "the mailbox says %v; there are %v", said, n)
	}
	r.sum.Mailboxes++
	r.sum.Messages += n.messages
	r.boxes++
	r.total.messages += n.messages
	r.total.bytes += n.bytes
	return r.cold(where, live)
}

// cold looks for the cold rows of messages, and notes which blob each needs.
func (r *rows) cold(where string, ms []store.Message) error {
	if len(ms) == 0 {
		return nil
	}
	ids := make([]store.MessageID, len(ms))
	for i, m := range ms {
		ids[i] = m.ID
	}
	prefix := map[store.MessageID]int64{}
	for c, err := range r.tx.Cold(r.acc.ID, ids...) {
		if err != nil {
			return err
		}
		prefix[c.ID] = int64(len(c.Prefix))
	}
	for _, m := range ms {
		here := place{where, m.UID}.String()
		n, ok := prefix[m.ID]
		if !ok {
			r.say("row missing", here, "the row with the header fields added here is missing")
		}
		r.blobs = append(r.blobs, named{here, m.Blob, m.Size - n})
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
