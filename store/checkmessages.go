package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// recovered is the mailbox for messages that have lost theirs.
const recovered = "Recovered"

// A content is what is known of a blob that a row names.
type content struct {
	info  blob.Info
	state string // S21 or S22 if it cannot be read
	why   string
	// unread says that nobody knows, because the disk gives an error.
	unread bool
}

func (c *checking) content(ctx context.Context, ref blob.Ref) (x content, err error) {
	x.info, err = c.s.Blobs.Stat(ctx, ref)
	switch {
	case ctx.Err() != nil:
		return x, ctx.Err()
	case errors.Is(err, blob.ErrDamaged):
		x.state, x.why = "S22", fmt.Sprintf("its content %s is damaged: %v", ref, err)
	case errors.Is(err, blob.ErrUnreadable): // it may be there
		x.unread, x.why = true, fmt.Sprintf("its content %s cannot be read now: %v", ref, err)
	case errors.Is(err, blob.ErrNotFound):
		x.state, x.why = "S21", fmt.Sprintf("its content %s is not there: %v", ref, err)
	case err != nil: // an error of the disk: what is there is unknown
		return x, err
	case c.o.Bad != nil:
		if why := c.o.Bad(ref); why != "" {
			x.state, x.why = "S22", fmt.Sprintf("its content %s is damaged: %s", ref, why)
		}
	}
	return x, nil
}

// A foundMessage is a message as its rows say.
type foundMessage struct {
	Message
	cold      *Cold // nil if it is missing
	elsewhere bool  // its ID leads to another place
	foreign   bool  // its row is not one of the account of its mailbox
}

// A fault is what is wrong with a message, and what to do about it: one of park,
// fix and nothing.
type fault struct {
	state, text string
	park        bool
	fix         func(w *work, b *workBox, m *foundMessage) error
	after       string // what people may see of the repair
}

// readMessages reads some messages of a mailbox with all that belongs to them.
func (c *checking) readMessages(tx Tx, id MailboxID, q Query, max int) (ms []foundMessage, err error) {
	var ids []MessageID
	for m, err := range tx.Messages(id, q) {
		if err != nil {
			return nil, err
		}
		if ms = append(ms, foundMessage{Message: m}); !m.Expunged {
			ids = append(ids, m.ID)
		}
		if len(ms) == max {
			break
		}
	}
	cold := make(map[MessageID]Cold, len(ids))
	for row, err := range tx.Cold(c.id, ids...) {
		if err != nil {
			return nil, err
		}
		cold[row.ID] = row
	}
	for i := range ms {
		m := &ms[i]
		if m.Expunged {
			continue
		}
		if row, ok := cold[m.ID]; ok {
			m.cold = &row
		}
		at, err := tx.MessageByID(c.id, m.ID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		m.foreign = errors.Is(err, ErrNotFound)
		// If the cold row is not of the other, the other has the wrong ID.
		m.elsewhere = err == nil && (at.Mailbox != m.Mailbox || at.UID != m.UID) && (m.cold == nil || m.cold.Check(&at) == nil)
	}
	return ms, nil
}

// messages compares the messages of a mailbox with their cold rows and contents.
func (c *checking) messages(ctx context.Context, mb *Mailbox) error {
	var maxSeq ModSeq
	for first := UID(1); ; {
		var ms []foundMessage
		err := c.s.Backend.View(ctx, func(tx Tx) (err error) {
			acc, err := oneAccount(tx, c.id)
			if err != nil {
				return err
			}
			maxSeq = acc.ModSeq
			ms, err = c.readMessages(tx, mb.ID, Query{Since: Since{Tombstones: true}, First: first}, checkBatch)
			return err
		})
		if err != nil {
			return err
		}
		var bare []MessageID // sound, and without a checksum
		for i := range ms {
			m := &ms[i]
			if !m.Expunged {
				c.done.Messages++
			}
			f, err := c.examine(ctx, m, maxSeq)
			switch {
			case err != nil:
			case f != nil:
				err = c.again(ctx, mb, m)
			case !m.Expunged && m.cold != nil && m.cold.Sum == 0:
				bare = append(bare, m.ID)
			}
			if err != nil {
				return err
			}
		}
		if err := c.seal(ctx, bare); err != nil {
			return err
		}
		c.progress()
		if len(ms) < checkBatch || ms[len(ms)-1].UID == 1<<32-1 {
			return nil
		}
		first = ms[len(ms)-1].UID + 1
	}
}

// seal gives the rows of messages a checksum, as they are.
func (c *checking) seal(ctx context.Context, bare []MessageID) error {
	if len(bare) == 0 {
		return nil
	}
	if !c.o.Repair {
		c.done.Unsealed += len(bare)
		return nil
	}
	var rows []Cold
	err := c.s.update(ctx, only(c.id), func(w *work) error {
		rows = nil
		for row, err := range w.Cold(c.id, bare...) {
			if err != nil {
				return err
			}
			if row.Sum != 0 { // by now
				continue
			}
			m, err := w.MessageByID(c.id, row.ID)
			if errors.Is(err, ErrNotFound) {
				continue // expunged meanwhile
			} else if err != nil {
				return err
			}
			row.seal(&m)
			rows = append(rows, row)
		}
		return w.PutCold(rows)
	})
	c.done.Sealed += len(rows)
	return err
}

// examine says what is wrong with a message; nil if nothing is.
func (c *checking) examine(ctx context.Context, m *foundMessage, maxSeq ModSeq) (*fault, error) {
	if m.Expunged {
		if m.Moved || !m.KeepUntil.After(c.s.now()) {
			return nil, nil
		}
		x, err := c.content(ctx, m.Blob)
		if err != nil || x.state == "" {
			return nil, err
		}
		return &fault{state: "S18", text: "it was deleted and cannot be restored any more: " + x.why, fix: unkeep}, nil
	}
	if m.Blob == "" {
		if moved, err := c.wasMoved(ctx, m); err != nil || moved {
			return &fault{state: "S20", text: "it has no content: it was moved, and its row says that it is here", fix: rebury}, err
		}
		return &fault{state: "S21", text: "its row names no content", park: true}, nil
	}
	if m.foreign && m.cold == nil { // it may be anybody's
		return &fault{state: "S19", text: "its row is not one of this account"}, nil
	}
	x, err := c.content(ctx, m.Blob)
	if err != nil {
		return nil, err
	}
	switch {
	case x.unread:
		return &fault{state: "S22", text: x.why}, nil
	case x.state != "":
		return &fault{state: x.state, text: x.why, park: true}, nil
	case m.elsewhere:
		return &fault{state: "S16", text: fmt.Sprintf("its ID %d is also that of another message", m.ID), fix: refile(x.info.Size), after: refiled}, nil
	case m.cold == nil && m.Size == x.info.Size:
		return c.parseAgain(ctx, m, Cold{}, "its cold row is missing")
	case m.cold == nil:
		return &fault{state: "S17", text: "its cold row is missing, and with it the header fields added at delivery", fix: refile(x.info.Size), after: refiled}, nil
	}
	size := int64(len(m.cold.Prefix)) + x.info.Size
	switch err := m.cold.Check(&m.Message); {
	case err == nil && m.Size == size && m.ModSeq <= maxSeq+wild:
		return nil, nil
	case err == nil && m.Size == size:
		return &fault{state: "S12", text: fmt.Sprintf("its MODSEQ is %d, the account has %d", m.ModSeq, maxSeq), fix: renumber}, nil
	case err == nil: // no checksum, or both were written so
		return &fault{state: "S15", text: fmt.Sprintf("its size is %d, that of its parts is %d", m.Size, size), fix: resize(size)}, nil
	}
	right := m.Message
	if right.Size = size; m.cold.Check(&right) == nil {
		return &fault{state: "S15", text: fmt.Sprintf("its size is %d, that of its parts is %d", m.Size, size), fix: resize(size)}, nil
	}
	if m.Size == size {
		f, err := c.parseAgain(ctx, m, *m.cold, "what was parsed of it is damaged")
		if err != nil || f != nil {
			return f, err
		}
	}
	return &fault{state: "S17", text: "its rows have a wrong checksum: the header fields added at delivery, or its size, dates or content, are not what they were", fix: refile(x.info.Size), after: refiled}, nil
}

// wasMoved reports whether a message has a row in another place, that is not older.
func (c *checking) wasMoved(ctx context.Context, m *foundMessage) (moved bool, err error) {
	err = c.s.Backend.View(ctx, func(tx Tx) error {
		moved = false
		for x, err := range tx.Changed(c.id, max(m.ModSeq, 1)-1) {
			if err != nil {
				return err
			}
			if x.ID == m.ID && (x.Mailbox != m.Mailbox || x.UID != m.UID) {
				moved = true
				break
			}
		}
		return nil
	})
	return moved, err
}

// parseAgain derives a cold row from the content; nil if that is not what was there.
func (c *checking) parseAgain(ctx context.Context, m *foundMessage, was Cold, text string) (*fault, error) {
	fresh, err := c.s.Parse(ctx, blob.Info{Ref: m.Blob})
	if errors.Is(err, blob.ErrUnreadable) {
		return &fault{state: "S22", text: fmt.Sprintf("%s, and its content cannot be read now: %v", text, err)}, nil
	} else if errors.Is(err, blob.ErrNotFound) {
		return &fault{state: "S22", text: fmt.Sprintf("its content %s is damaged: %v", m.Blob, err), park: true}, nil
	} else if err != nil {
		return nil, err
	}
	fresh.Account, fresh.ID, fresh.Prefix = m.Account, m.ID, was.Prefix
	if fresh.Sum = was.Sum; !was.bare() && fresh.Check(&m.Message) != nil {
		return nil, nil
	}
	fresh.seal(&m.Message)
	return &fault{state: "S15", text: text, fix: func(w *work, _ *workBox, _ *foundMessage) error {
		return w.PutCold([]Cold{fresh})
	}}, nil
}

// again looks at a message once more, as it is now, and then tells and repairs.
func (c *checking) again(ctx context.Context, mb *Mailbox, m *foundMessage) error {
	q := Query{Since: Since{Tombstones: true}, First: m.UID, Last: m.UID}
	var now []foundMessage
	var maxSeq ModSeq
	err := c.s.Backend.View(ctx, func(tx Tx) (err error) {
		acc, err := oneAccount(tx, c.id)
		if err == nil {
			maxSeq = acc.ModSeq
			now, err = c.readMessages(tx, mb.ID, q, 1)
		}
		return err
	})
	if err != nil || len(now) == 0 {
		return err
	}
	m = &now[0]
	f, err := c.examine(ctx, m, maxSeq)
	if err != nil || f == nil {
		return err
	}
	where := fmt.Sprintf("%s UID %d", mb.Name, m.UID)
	if f.park {
		return c.park(ctx, fmt.Sprint(m.ID), where, f)
	}
	done := Left
	if c.o.Repair && f.fix != nil {
		if !m.Expunged && m.Blob != "" { // a new row may name it
			if err := c.s.Blobs.Touch(ctx, m.Blob); err != nil {
				return err
			}
		}
		err := c.s.update(ctx, only(c.id), func(w *work) error {
			done = Left
			ms, err := c.readMessages(w, mb.ID, q, 1)
			if err != nil || len(ms) == 0 || !ms[0].same(m) {
				return err // it changed, and will be looked at by the next Check
			}
			row, err := w.Mailbox(mb.ID)
			if err != nil {
				return err
			}
			b := &workBox{Mailbox: row}
			if known := w.boxes[mb.ID]; known != nil {
				b = known
			}
			w.boxes[mb.ID] = b
			done = Repaired
			w.touch(b)
			return f.fix(w, b, &ms[0])
		})
		if err != nil {
			return err
		}
	}
	if done == Repaired && f.after != "" {
		return c.found(f.state, where, done, "%s; %s", f.text, f.after)
	}
	return c.found(f.state, where, done, "%s", f.text)
}

// same reports whether two readings of a message agree in what a repair relies on.
func (m *foundMessage) same(o *foundMessage) bool {
	a, b := m.Message, o.Message
	if a.ID != b.ID || a.Blob != b.Blob || a.Size != b.Size || a.Expunged != b.Expunged || a.ModSeq != b.ModSeq || (m.cold == nil) != (o.cold == nil) {
		return false
	}
	return m.cold == nil || m.cold.sum(&a) == o.cold.sum(&b)
}

// unkeep ends the time in which an expunged message can be restored.
func unkeep(w *work, b *workBox, m *foundMessage) error {
	m.KeepUntil, m.ModSeq = time.Time{}, w.seq(b)
	return w.PutMessages([]Message{m.Message})
}

// rebury makes the tombstone of a moved message one again.
func rebury(w *work, b *workBox, m *foundMessage) error {
	w.add(b, &m.Message, -1)
	m.Expunged, m.Moved, m.ModSeq = true, true, w.seq(b)
	return w.PutMessages([]Message{m.Message})
}

func renumber(w *work, b *workBox, m *foundMessage) error {
	m.ModSeq = w.seq(b)
	m.Added = min(m.Added, m.ModSeq)
	return w.PutMessages([]Message{m.Message})
}

func resize(size int64) func(*work, *workBox, *foundMessage) error {
	return func(w *work, b *workBox, m *foundMessage) error {
		w.add(b, &m.Message, -1)
		m.Size, m.ModSeq = size, w.seq(b)
		w.add(b, &m.Message, 1)
		return w.PutMessages([]Message{m.Message})
	}
}

const refiled = "its content is filed anew, under another UID"

// refile files the content of a message anew, with what is sure of it, and expunges
// the damaged row: bytes under a UID never change (RFC 9051, 2.3.1.1).
func refile(size int64) func(*work, *workBox, *foundMessage) error {
	return func(w *work, b *workBox, m *foundMessage) error {
		if err := fileAgain(w, b, m, size); err != nil {
			return err
		}
		return w.PutMessages([]Message{w.expunge(b, m.Message)})
	}
}

// fileAgain files the content of m, of so many bytes, in a mailbox.
func fileAgain(w *work, b *workBox, m *foundMessage, size int64) error {
	n := Message{Flags: m.Flags, Received: m.Received, Blob: m.Blob, Size: size}
	var cold Cold // without contents, it is parsed when somebody asks
	if m.cold != nil && m.cold.Check(&m.Message) == nil && (m.cold.Sum != 0 || m.Size == int64(len(m.cold.Prefix))+size) {
		cold, n.Size, n.Thread = *m.cold, m.Size, m.Thread
	}
	f := filing{w: w, dst: b}
	if _, err := f.add(n, cold, nil); err != nil {
		return err
	}
	return f.put()
}

// A stray is a live message whose mailbox is not there, or another account's.
type stray struct {
	Message
	owner AccountID // of the mailbox; empty if there is none
}

// strays looks for what no mailbox of the account shows.
func (c *checking) strays(ctx context.Context) error {
	owners := map[MailboxID]AccountID{}
	for after := ModSeq(0); ; {
		var list []stray
		n, last := 0, after
		err := c.s.Backend.View(ctx, func(tx Tx) error {
			list, n, last = nil, 0, after
			for m, err := range tx.Changed(c.id, after) {
				if err != nil {
					return err
				}
				if n >= checkRows && m.ModSeq != last {
					break
				}
				n, last = n+1, m.ModSeq
				owner, ok := owners[m.Mailbox]
				if !ok {
					mb, err := tx.Mailbox(m.Mailbox)
					if err != nil && !errors.Is(err, ErrNotFound) {
						return err
					}
					owner = mb.Account
					owners[m.Mailbox] = owner
				}
				if owner != c.id && !m.Expunged {
					list = append(list, stray{m, owner})
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, x := range list {
			if err := c.stray(ctx, x); err != nil {
				return err
			}
		}
		c.progress()
		if n < checkRows {
			return nil
		}
		after = last
	}
}

// stray tells of a message that is not where it belongs, and brings it there.
func (c *checking) stray(ctx context.Context, x stray) error {
	done, text := Left, "its mailbox is not there"
	// One whose content is lost is brought there too, and parked.
	info, err := c.s.Blobs.Stat(ctx, x.Blob)
	if c.o.Repair && err == nil {
		err = c.s.Blobs.Touch(ctx, x.Blob)
	}
	if err != nil && !errors.Is(err, blob.ErrNotFound) && !errors.Is(err, blob.ErrUnreadable) {
		return err
	}
	if x.owner != "" {
		text = "its mailbox belongs to another account"
	}
	fix := func(w *work) error {
		done = Left
		m, err := w.MessageByID(c.id, x.ID)
		if errors.Is(err, ErrNotFound) || err == nil && (m.Mailbox != x.Mailbox || m.UID != x.UID) {
			return nil
		} else if err != nil {
			return err
		}
		ours, theirs := &foundMessage{Message: m}, false
		for cold, err := range w.Cold(c.id, m.ID) {
			if err != nil {
				return err
			}
			if cold.Check(&m) == nil {
				ours.cold = &cold
			}
		}
		if x.owner != "" && ours.cold == nil {
			m.Account = x.owner
			for cold, err := range w.Cold(x.owner, m.ID) {
				if err != nil {
					return err
				}
				theirs = cold.Sum != 0 && cold.Check(&m) == nil
			}
			if !theirs {
				return nil // whose it is cannot be told, so nobody gets it
			}
			// The number of the account was wrong in the row.
			done, m.ModSeq = Repaired, w.accs[x.owner].ModSeq
			w.accs[x.owner].changed = true
			c.moved = true
			return w.PutMessages([]Message{m})
		}
		b, err := found(w.named(c.id, recovered))
		if err == nil && b == nil {
			b, err = w.create(c.id, recovered, "")
		}
		if err == nil {
			err = fileAgain(w, b, ours, info.Size)
		}
		if err != nil {
			return err
		}
		done, c.moved = Repaired, true
		m.Expunged, m.Moved, m.Blob, m.ModSeq = true, true, "", w.seq(b)
		return w.PutMessages([]Message{m})
	}
	if c.o.Repair {
		ids := []AccountID{c.id}
		if x.owner != "" {
			ids = append(ids, x.owner)
		}
		if err := c.s.update(ctx, only(ids...), fix); err != nil {
			return err
		}
		if done == Repaired && x.owner == "" {
			text += "; it is in " + recovered + " now"
		}
	}
	return c.found("S19", fmt.Sprintf("mailbox %d UID %d", x.Mailbox, x.UID), done, "%s", text)
}
