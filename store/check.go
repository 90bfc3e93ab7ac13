package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/mailkeel/mailkeel/store/blob"
)

// What was done about a Finding.
const (
	// Left means that it is as it was: nobody asked for a repair, or none is
	// possible.
	Left = ""
	// Repaired means that the state is legal now.
	Repaired = "repaired"
	// Parked means that it is kept as it is, with a note that says why.
	Parked = "parked"
	// Known means that an earlier Check parked it.
	Known = "known"
)

// A Finding is a contradiction between rows, or between rows and contents.
type Finding struct {
	State string // its number in the table of the package documentation: "S21"
	Where string // account, mailbox and UID, for people
	Text  string
	Done  string // Left, Repaired, Parked or Known
}

// CheckOptions say what Check does. Found is required.
type CheckOptions struct {
	// Repair makes what is found legal again where that can be derived, and
	// parks the rest.
	Repair bool
	// Bad, if set, says what is wrong with a content that is there, and nothing
	// of a good one. Who has read all contents knows.
	Bad func(blob.Ref) string
	// Skip, if set, names accounts that are not looked at.
	Skip func(AccountID) bool
	// Name is what people call an account; nil means its ID.
	Name func(AccountID) string
	// Found is called for each finding, outside of transactions. Its error
	// ends the check.
	Found func(Finding) error
	// Progress, if set, is called now and then.
	Progress func(Checked)
}

// Checked counts what a Check looked at.
type Checked struct {
	Accounts, Mailboxes, Messages, Objects int
	// Parked are the messages and objects that are kept though they are
	// damaged, those found now among them.
	Parked int
	// Unsealed are the live messages whose rows have no checksum, because an
	// earlier version wrote them: what changes in them goes unseen. Sealed are
	// those that were given one by the repair.
	Unsealed, Sealed int
}

// A Checker is a power of a Backend: it shows what the methods of Tx cannot.
// Without it, Check sees the accounts only that its caller knows.
type Checker interface {
	// AccountIDs returns up to max accounts that have a row, in order, from
	// the first after a given one.
	AccountIDs(ctx context.Context, after AccountID, max int) ([]AccountID, error)
	// CheckRows looks for contradictions in what the backend keeps for itself:
	// rows that nothing leads to, numbers that were given before, notes of
	// deliveries that lead nowhere. It reads a part at a time and calls found
	// outside of transactions; with repair it puts right what it can.
	CheckRows(ctx context.Context, repair bool, found func(Finding) error) error
}

// Check walks through everything that accounts have, compares it with itself and
// with the blobs, and tells what it finds; see the table of states in the package
// documentation. Accounts are those of the backend, if it is a Checker, and those
// given.
//
// The Store may be in use meanwhile: rows are compared in one snapshot, and what
// looks wrong is looked at again before it is told. A repair counts a mailbox while
// others wait only if it changes each time that it was counted without. Memory does
// not grow with the mail, but for some dozens of bytes for each message that is
// damaged.
func (s *Store) Check(ctx context.Context, o CheckOptions, accounts ...AccountID) (Checked, error) {
	c := &checking{s: s, o: o}
	err := c.run(ctx, accounts)
	return c.done, err
}

// checking is one Check.
type checking struct {
	s     *Store
	o     CheckOptions
	done  Checked
	quiet bool // what is repaired now follows from what was told
	moved bool // something was brought into its account

	// Of the account at hand.
	id    AccountID
	notes map[string]*noted // what was parked before, by the ID of the note
}

// checkBatch is how many messages are looked at in one View, and checkRows how many
// rows of an account.
const (
	checkBatch = 500
	checkRows  = 5000
)

func (c *checking) run(ctx context.Context, accounts []AccountID) error {
	if rows, ok := c.s.Backend.(Checker); ok {
		if err := rows.CheckRows(ctx, c.o.Repair, c.o.Found); err != nil {
			return err
		}
	}
	// Numbers come first, so that what a repair files gets a free UID. Whose a
	// message is comes before what is wrong with it.
	if err := c.each(ctx, accounts, c.counters); err != nil {
		return err
	}
	if err := c.each(ctx, accounts, c.strays); err != nil {
		return err
	}
	if c.moved {
		c.quiet = true
		if err := c.each(ctx, accounts, c.counters); err != nil {
			return err
		}
		c.quiet = false
	}
	return c.each(ctx, accounts, c.account)
}

// each calls fn with every account, as c.id.
func (c *checking) each(ctx context.Context, accounts []AccountID, fn func(context.Context) error) error {
	known := map[AccountID]bool{}
	visit := func(id AccountID) error {
		if known[id] || c.o.Skip != nil && c.o.Skip(id) {
			return nil
		}
		known[id] = true
		var acc Account
		err := c.s.Backend.View(ctx, func(tx Tx) (err error) {
			acc, err = oneAccount(tx, id)
			return err
		})
		if err != nil || acc.Deleted { // its rows are being removed
			return err
		}
		c.id = id
		return fn(ctx)
	}
	if rows, ok := c.s.Backend.(Checker); ok {
		for after := AccountID(""); ; {
			ids, err := rows.AccountIDs(ctx, after, checkBatch)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := visit(id); err != nil {
					return err
				}
			}
			if len(ids) < checkBatch {
				break
			}
			after = ids[len(ids)-1]
		}
	}
	for _, id := range accounts {
		if err := visit(id); err != nil {
			return err
		}
	}
	return nil
}

// boxes lists the mailboxes of the account at hand, tombstones too.
func (c *checking) boxes(ctx context.Context) (boxes []Mailbox, err error) {
	err = c.s.Backend.View(ctx, func(tx Tx) error {
		boxes = nil
		for mb, err := range tx.Mailboxes(c.id, Since{Tombstones: true}) {
			if err != nil {
				return err
			}
			boxes = append(boxes, mb)
		}
		return nil
	})
	return boxes, err
}

// counters looks at what is counted, and at names.
func (c *checking) counters(ctx context.Context) error {
	boxes, err := c.boxes(ctx)
	if err != nil {
		return err
	}
	for i := range boxes {
		if err := c.numbers(ctx, boxes[i].ID); err != nil {
			return err
		}
	}
	if err := c.names(ctx); err != nil {
		return err
	}
	return c.sums(ctx)
}

// account looks at what an account has.
func (c *checking) account(ctx context.Context) error {
	c.done.Accounts++
	c.notes = map[string]*noted{}
	err := c.s.Backend.View(ctx, func(tx Tx) error {
		clear(c.notes)
		return readNotes(tx, c.id, c.notes)
	})
	if err != nil {
		return err
	}
	boxes, err := c.boxes(ctx)
	if err != nil {
		return err
	}
	for i := range boxes {
		if !boxes[i].Deleted {
			c.done.Mailboxes++
		}
		if err := c.messages(ctx, &boxes[i]); err != nil {
			return err
		}
	}
	if err := c.objects(ctx); err != nil {
		return err
	}
	return c.dropNotes(ctx)
}

func oneAccount(tx Tx, id AccountID) (Account, error) {
	accs, err := tx.Accounts(id)
	if err != nil {
		return Account{}, err
	}
	return accs[0], nil
}

func (c *checking) progress() {
	if c.o.Progress != nil {
		c.o.Progress(c.done)
	}
}

// name is what the account at hand is called.
func (c *checking) name() string {
	if c.o.Name != nil {
		return c.o.Name(c.id)
	}
	return string(c.id)
}

func (c *checking) found(state, where, done, format string, args ...any) error {
	if c.quiet {
		return nil
	}
	if where != "" {
		where = " " + where
	}
	return c.o.Found(Finding{state, c.name() + where, fmt.Sprintf(format, args...), done})
}

// A tally is what the rows of a mailbox say of its numbers.
type tally struct {
	Messages, Unseen, Marked int
	Bytes                    int64
	last                     UID
	modSeq                   ModSeq
}

// wild is how far a MODSEQ may be above its account's to be believed: of a larger
// one, a bit is wrong.
const wild = 1 << 32

func countRows(tx Tx, acc *Account, id MailboxID) (t tally, err error) {
	var mb Mailbox
	for m, err := range tx.Messages(id, Query{Since: Since{Tombstones: true}}) {
		if err != nil {
			return t, err
		}
		t.last = max(t.last, m.UID)
		if m.ModSeq <= acc.ModSeq+wild {
			t.modSeq = max(t.modSeq, m.ModSeq)
		}
		if !m.Expunged {
			mb.count(&m, 1)
		}
	}
	t.Messages, t.Unseen, t.Marked, t.Bytes = mb.Messages, mb.Unseen, mb.Marked, mb.Bytes
	return t, nil
}

// next is the least that UIDNEXT can be. The largest says that no UID is left.
func (t *tally) next() UID { return max(t.last, min(t.last, math.MaxUint32-1)+1) }

func (t *tally) String() string {
	return fmt.Sprintf("%d messages, %d unseen, %d marked, %d bytes", t.Messages, t.Unseen, t.Marked, t.Bytes)
}

// faults says what is wrong with the numbers of a mailbox.
func (t *tally) faults(acc *Account, mb *Mailbox) (fs []Finding) {
	say := func(state, format string, args ...any) {
		fs = append(fs, Finding{State: state, Text: fmt.Sprintf(format, args...)})
	}
	said := tally{mb.Messages, mb.Unseen, mb.Marked, mb.Bytes, t.last, t.modSeq}
	if said != *t {
		say("S11", "the mailbox says %v; there are %v", &said, t)
	}
	if mb.UIDNext < t.next() {
		say("S12", "UIDNEXT is %d, there is a UID %d", mb.UIDNext, t.last)
	}
	if mb.ModSeq < t.modSeq {
		say("S12", "MODSEQ is %d, a message has %d", mb.ModSeq, t.modSeq)
	}
	if mb.ModSeq > acc.ModSeq {
		say("S12", "MODSEQ is %d, the account has %d", mb.ModSeq, acc.ModSeq)
	}
	if mb.UIDValidity > acc.LastUIDValidity {
		say("S12", "UIDVALIDITY is %d, the account has %d", mb.UIDValidity, acc.LastUIDValidity)
	}
	if mb.Deleted && t.Messages > 0 {
		say("S13", "it was deleted, but there are %d messages in it", t.Messages)
	}
	return fs
}

// countTries is how often a mailbox is counted while others may change it, before they
// have to wait.
const countTries = 4

// numbers compares a mailbox with its rows. A repair believes what was counted in a
// snapshot if the mailbox is still as it was there, so that nobody waits meanwhile.
func (c *checking) numbers(ctx context.Context, id MailboxID) error {
	for try := 1; ; try++ {
		var mb Mailbox
		var t tally
		var fs []Finding
		err := c.s.Backend.View(ctx, func(tx Tx) error {
			acc, err := oneAccount(tx, c.id)
			if err == nil {
				mb, err = tx.Mailbox(id)
			}
			if err == nil {
				t, err = countRows(tx, &acc, id)
			}
			fs = t.faults(&acc, &mb)
			return err
		})
		if errors.Is(err, ErrNotFound) {
			return nil // forgotten meanwhile
		}
		if err != nil || len(fs) == 0 {
			return err
		}
		if c.o.Repair {
			was, stale := mb, false
			err := c.s.update(ctx, only(c.id), func(w *work) (err error) {
				acc := &w.accs[c.id].Account
				stale = false
				if mb, err = w.Mailbox(id); err != nil {
					return err
				}
				if mb != was {
					if stale = try < countTries; stale {
						return nil
					}
					if t, err = countRows(w, acc, id); err != nil {
						return err
					}
				}
				if fs = t.faults(acc, &mb); len(fs) > 0 {
					c.recount(w, mb, &t)
				}
				return nil
			})
			if errors.Is(err, ErrNotFound) {
				return nil
			} else if err != nil {
				return err
			}
			if stale {
				continue
			}
		}
		for _, f := range fs {
			if err := c.found(f.State, mb.Name, c.repaired(), "%s", f.Text); err != nil {
				return err
			}
		}
		return nil
	}
}

// recount gives a mailbox the numbers that its rows say.
func (c *checking) recount(w *work, mb Mailbox, t *tally) {
	acc := w.accs[c.id]
	mb.Messages, mb.Unseen, mb.Marked, mb.Bytes = t.Messages, t.Unseen, t.Marked, t.Bytes
	mb.UIDNext = max(mb.UIDNext, t.next())
	if mb.Deleted = mb.Deleted && t.Messages == 0; mb.Name == "" {
		mb.Name = recovered
	}
	acc.LastUIDValidity = max(acc.LastUIDValidity, mb.UIDValidity)
	acc.ModSeq = max(acc.ModSeq, t.modSeq+1)
	if mb.ModSeq <= acc.ModSeq+wild {
		acc.ModSeq = max(acc.ModSeq, mb.ModSeq+1)
	}
	b := &workBox{Mailbox: mb}
	w.boxes[mb.ID] = b
	w.touch(b)
}

func (c *checking) repaired() string {
	if c.o.Repair {
		return Repaired
	}
	return Left
}

// names looks for live mailboxes with one name, of which a client sees one.
func (c *checking) names(ctx context.Context) error {
	var twice map[MailboxID]string
	look := func(tx Tx) error {
		twice = map[MailboxID]string{}
		last := ""
		for mb, err := range tx.Mailboxes(c.id, Since{}) {
			if err != nil {
				return err
			}
			if mb.Name == last {
				twice[mb.ID] = mb.Name
			}
			last = mb.Name
		}
		return nil
	}
	if err := c.s.Backend.View(ctx, look); err != nil || len(twice) == 0 {
		return err
	}
	if c.o.Repair {
		err := c.s.update(ctx, only(c.id), func(w *work) error {
			if err := look(w); err != nil {
				return err
			}
			for id, name := range twice {
				b, err := w.box(id)
				if err != nil {
					return err
				}
				b.Name = fmt.Sprintf("%s (%d)", name, id)
				w.touch(b)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(twice)) {
		text := "another mailbox has the same name"
		if c.o.Repair {
			text += fmt.Sprintf("; this one is called %s (%d) now", twice[id], id)
		}
		if err := c.found("S14", twice[id], c.repaired(), "%s", text); err != nil {
			return err
		}
	}
	return nil
}

// sums compares an account with its mailboxes.
func (c *checking) sums(ctx context.Context) error {
	var text string
	look := func(tx Tx, acc *Account) (sum Account, err error) {
		text = ""
		for mb, err := range tx.Mailboxes(c.id, Since{}) {
			if err != nil {
				return sum, err
			}
			sum.Mailboxes++
			sum.Messages += mb.Messages
			sum.Bytes += mb.Bytes
		}
		if acc.Mailboxes != sum.Mailboxes || acc.Messages != sum.Messages || acc.Bytes != sum.Bytes {
			text = fmt.Sprintf("the account says %d mailboxes, %d messages, %d bytes; there are %d, %d, %d",
				acc.Mailboxes, acc.Messages, acc.Bytes, sum.Mailboxes, sum.Messages, sum.Bytes)
		}
		if acc.Horizon > acc.ModSeq {
			text = cmp.Or(text, fmt.Sprintf("its horizon is %d, its MODSEQ %d", acc.Horizon, acc.ModSeq))
		}
		return sum, nil
	}
	err := c.s.Backend.View(ctx, func(tx Tx) error {
		acc, err := oneAccount(tx, c.id)
		if err == nil {
			_, err = look(tx, &acc)
		}
		return err
	})
	if err != nil || text == "" {
		return err
	}
	if c.o.Repair {
		err := c.s.update(ctx, only(c.id), func(w *work) error {
			acc := w.accs[c.id]
			sum, err := look(w, &acc.Account)
			if err != nil || text == "" {
				return err
			}
			acc.Mailboxes, acc.Messages, acc.Bytes = sum.Mailboxes, sum.Messages, sum.Bytes
			acc.Horizon = min(acc.Horizon, acc.ModSeq)
			acc.changed = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	if text == "" {
		return nil
	}
	return c.found("S11", "", c.repaired(), "%s", text)
}
