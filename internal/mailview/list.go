package mailview

import (
	"context"
	"iter"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/store"
)

// Limits of a Query.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// A Query asks for a page of a folder.
type Query struct {
	Folder store.MailboxID
	// Text is what is looked for; empty lists all. All words must be in a message: in
	// its subject, the names and addresses of who wrote and who receives it, its text,
	// or the names of its attachments; in any case, and with or without accents.
	// Words in quotes follow each other, and a word behind - must not be there. What is
	// looked for may be narrowed: "from:x", "to:x", "cc:x", "subject:x", "body:x",
	// "has:attachment", "is:unread" (read, flagged, unflagged, answered, forwarded, draft),
	// "before:2026-01-31" and "after:2026-01-31" (or a month, or a year; by when it
	// was received, after includes the day), "larger:1M", "smaller:10K". At most
	// 1,000 bytes and 20 words count.
	Text string
	// Before asks for the newest messages with smaller UIDs, After for the oldest with
	// larger ones: values of Page.Older and Page.Newer. Both zero is the first page.
	Before, After store.UID
	// Fill makes the page above After the first page, if there are not enough messages
	// for a whole one.
	Fill bool
	// Limit is how many rows a page has; zero means DefaultLimit, at most MaxLimit.
	Limit int
}

// A Row is a message in a list.
type Row struct {
	UID      store.UID
	ID       store.MessageID
	Thread   store.ThreadID
	From, To []Address // at most 20 of each
	Subject  string    // decoded, on one line; empty if there is none
	Preview  string    // the beginning of the text, on one line
	// Date is that of the message, unless it has none or one to come: then it is when
	// the message was received.
	Date, Received                                  time.Time
	Seen, Flagged, Answered, Forwarded, Draft, Junk bool
	Attachments                                     bool
	Size                                            int64 // bytes
	// Damaged says that what is known of the message is lost. It can be moved and
	// deleted, but not read.
	Damaged bool
}

// A Page is part of a folder, the newest first.
type Page struct {
	Folder Folder
	Rows   []Row
	// Newer and Older are what to ask for with After and Before for the pages beside
	// this one; zero if there is none.
	Newer, Older store.UID
	// Total is how many messages the folder has; with a search, how many of this page
	// were found.
	Total int
	// More says that a search stopped because it has read enough for once, before it
	// had a whole page. Older (or Newer, after a Query with After) goes on from there.
	More bool
}

// List returns a page of a folder. It reads about as many rows as the page has, however
// large the folder is; a search reads more, but not without end: see Page.More.
func (b *Box) List(ctx context.Context, q Query) (Page, error) {
	mb, f, err := b.folder(ctx, q.Folder)
	if err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	if terms := parseSearch(q.Text); len(terms) > 0 {
		return b.search(ctx, &mb, f, q, terms)
	}
	p := Page{Folder: f, Total: f.Messages}
	var ms []store.Message // the newest first
	if q.After != 0 {
		if ms, err = b.above(ctx, mb.ID, q.After, q.Limit+1); err != nil {
			return Page{}, err
		}
		if n := len(ms) - q.Limit; n > 0 {
			ms = ms[n:]
			p.Newer = ms[0].UID
		} else if q.Fill {
			q.Before, q.After = 0, 0
		}
	}
	if q.After != 0 {
		oldest := q.After
		if oldest++; len(ms) > 0 {
			oldest = ms[len(ms)-1].UID
		}
		if p.Older, err = b.anyOlder(ctx, mb.ID, oldest); err != nil {
			return Page{}, err
		}
	} else {
		if ms, err = b.below(ctx, &mb.Mailbox, q.Before, q.Limit+1); err != nil {
			return Page{}, err
		}
		if len(ms) > q.Limit {
			ms = ms[:q.Limit]
			p.Older = ms[q.Limit-1].UID
		}
		if q.Before != 0 {
			newest := q.Before - 1
			if len(ms) > 0 {
				newest = ms[0].UID
			}
			if p.Newer, err = b.anyNewer(ctx, mb.ID, newest); err != nil {
				return Page{}, err
			}
		}
	}
	p.Rows, err = b.rows(ctx, mb.ID, ms)
	return p, err
}

// Beside returns the messages next to one in its folder; zero if there is none.
func (b *Box) Beside(ctx context.Context, folder store.MailboxID, uid store.UID) (newer, older store.UID, err error) {
	mb, err := b.access.Mailbox(ctx, folder)
	if err != nil {
		return 0, 0, err
	}
	ms, err := b.above(ctx, folder, uid, 1)
	if err != nil {
		return 0, 0, err
	}
	if len(ms) > 0 {
		newer = ms[0].UID
	}
	if uid > 1 {
		if ms, err = b.below(ctx, &mb.Mailbox, uid, 1); err != nil {
			return 0, 0, err
		}
		if len(ms) > 0 {
			older = ms[0].UID
		}
	}
	return newer, older, nil
}

// some returns the messages from lo to hi, in order, or the first max of them: then
// whole is false.
func (b *Box) some(ctx context.Context, id store.MailboxID, lo, hi store.UID, max int) (ms []store.Message, whole bool, err error) {
	err = b.access.Scan(ctx, id, store.Query{First: lo, Last: hi}, func(_ store.Mailbox, all iter.Seq2[store.Message, error]) error {
		ms, whole = nil, true
		for m, err := range all {
			if err != nil {
				return err
			}
			if len(ms) == max {
				whole = false
				break
			}
			ms = append(ms, m)
		}
		return nil
	})
	return ms, whole, err
}

// near is how many UIDs are looked at first where a few messages are wanted: a backend
// that reads ahead would read many of all.
const near = 16

// above returns up to n messages with larger UIDs than after, the nearest, the newest
// first.
func (b *Box) above(ctx context.Context, id store.MailboxID, after store.UID, n int) ([]store.Message, error) {
	if after+1 == 0 {
		return nil, nil
	}
	last := after + min(store.UID(n+near), ^after)
	ms, _, err := b.some(ctx, id, after+1, last, n)
	if err == nil && len(ms) < n && last+1 != 0 {
		var more []store.Message
		more, _, err = b.some(ctx, id, last+1, 0, n-len(ms))
		ms = append(ms, more...)
	}
	slices.Reverse(ms)
	return ms, err
}

// anyNewer returns uid if there is a message with a larger one, and else zero.
func (b *Box) anyNewer(ctx context.Context, id store.MailboxID, uid store.UID) (store.UID, error) {
	ms, err := b.above(ctx, id, uid, 1)
	if err != nil || len(ms) == 0 {
		return 0, err
	}
	return uid, nil
}

// anyOlder returns uid if there is a message with a smaller one, and else zero.
func (b *Box) anyOlder(ctx context.Context, id store.MailboxID, uid store.UID) (store.UID, error) {
	if uid <= 1 {
		return 0, nil
	}
	first := max(uid, near+1) - near
	ms, _, err := b.some(ctx, id, first, uid-1, 1)
	if err == nil && len(ms) == 0 && first > 1 {
		ms, _, err = b.some(ctx, id, 1, first-1, 1)
	}
	if err != nil || len(ms) == 0 {
		return 0, err
	}
	return uid, nil
}

// below returns up to n messages with smaller UIDs than before, or any if that is zero,
// the newest first.
func (b *Box) below(ctx context.Context, mb *store.Mailbox, before store.UID, n int) (ms []store.Message, err error) {
	d := b.down(mb, before, n)
	for len(ms) < n {
		more, err := d.next(ctx)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			break
		}
		ms = append(ms, more...)
	}
	return ms[:min(n, len(ms))], nil
}

// A descent goes through a mailbox from the newest message to the oldest. Rows are read
// by ascending UIDs, so it guesses from which one to read: a window that has too many
// messages is left, and the upper half of it tried; one that has few is followed by a
// larger one. However UIDs are spread, each step reads a bounded number of rows, and
// there are few steps.
type descent struct {
	b     *Box
	id    store.MailboxID
	hi    store.UID // the next window ends here; zero is the end
	span  store.UID
	floor store.UID // from here to hi there are more than max messages
	max   int
}

// down begins below before, for who wants about n messages.
func (b *Box) down(mb *store.Mailbox, before store.UID, n int) *descent {
	hi := mb.UIDNext - 1
	if before != 0 {
		hi = min(hi, before-1)
	}
	return &descent{b: b, id: mb.ID, hi: hi, span: store.UID(n + n/8), max: max(2*n, 16)}
}

// next returns messages that follow, the newest first, or none at the end.
func (d *descent) next(ctx context.Context) ([]store.Message, error) {
	for d.hi > 0 {
		lo := store.UID(1)
		if d.span < d.hi {
			lo = d.hi - d.span + 1
		}
		if d.floor > d.hi {
			d.floor = 0
		}
		lo = max(lo, d.floor)
		ms, whole, err := d.b.some(ctx, d.id, lo, d.hi, d.max)
		if err != nil {
			return nil, err
		}
		if !whole {
			d.floor = lo
			d.span = max((d.hi-lo+1)/2, store.UID(d.max))
			continue
		}
		left := lo - 1
		switch {
		case d.floor != 0 && left >= d.floor: // half of what is left has it
			d.span = max((left-d.floor+1)/2, store.UID(d.max))
		case len(ms) <= d.max/4 && d.span < 1<<30:
			d.span *= 2
		}
		if d.hi = left; len(ms) > 0 {
			slices.Reverse(ms)
			return ms, nil
		}
	}
	return nil, nil
}

// rowsStep is of how many messages at a time it is read what parsing gave, which may be
// large.
const rowsStep = 64

// rows returns what a list shows of messages, by their rows alone.
func (b *Box) rows(ctx context.Context, id store.MailboxID, ms []store.Message) ([]Row, error) {
	out := make([]Row, 0, len(ms))
	for part := range slices.Chunk(ms, rowsStep) {
		ids := make([]store.MessageID, len(part))
		for i := range part {
			ids[i] = part[i].ID
		}
		cold, err := b.access.Cold(ctx, id, ids...)
		if err != nil {
			return nil, err
		}
		for i := range part {
			k := known{m: &part[i]}
			k.parse(cold)
			out = append(out, k.row())
		}
	}
	return out, nil
}

// known is what rows say of a message.
type known struct {
	m    *store.Message
	cold store.Cold
	env  message.Envelope
	root message.Part
	err  error // why cold is of no use
}

func (k *known) parse(cold map[store.MessageID]store.Cold) {
	if k.parseEnvelope(cold); k.err == nil {
		k.root, k.err = message.DecodePart(k.cold.Structure)
	}
}

// parseEnvelope is parse of the envelope alone.
func (k *known) parseEnvelope(cold map[store.MessageID]store.Cold) {
	c, ok := cold[k.m.ID]
	if !ok {
		k.err = store.ErrDamaged
		return
	}
	if k.err = c.Check(k.m); k.err != nil {
		return
	}
	k.cold = c
	k.env, k.err = message.DecodeEnvelope(c.Envelope)
}

func (k *known) row() Row {
	m := k.m
	r := Row{UID: m.UID, ID: m.ID, Thread: m.Thread, Date: m.Received, Received: m.Received, Size: m.Size, Damaged: k.err != nil}
	for _, f := range m.Flags {
		switch strings.ToLower(f) {
		case `\seen`:
			r.Seen = true
		case `\flagged`:
			r.Flagged = true
		case `\answered`:
			r.Answered = true
		case `\draft`:
			r.Draft = true
		case "$forwarded":
			r.Forwarded = true
		case "$junk", "junk":
			r.Junk = true
		}
	}
	if k.err != nil {
		return r
	}
	r.From, r.To = addresses(k.env.From, maxRowAddresses), addresses(k.env.To, maxRowAddresses)
	r.Subject, _ = line(message.DecodeHeader(k.env.Subject), maxShownSubject)
	r.Preview, _ = line(string(k.cold.Preview), maxShownSubject)
	if t, ok := parseDate(k.env.Date); ok && t.Before(m.Received.Add(24*time.Hour)) {
		r.Date = t
	}
	r.Attachments = hasAttachments(&k.root)
	return r
}

// parseDate reads a Date field, in any form that net/mail knows.
func parseDate(s string) (time.Time, bool) {
	t, err := mail.ParseDate(s)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}
