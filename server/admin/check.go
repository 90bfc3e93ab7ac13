package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/control"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

type checkArgs struct {
	// Deep also reads every blob and compares its hash.
	Deep   bool `json:"deep,omitempty"`
	Repair bool `json:"repair,omitempty"`
}

// A Finding is something that check found to be wrong.
type Finding struct {
	// State is the number of the state in the tables of packages store (S11) and
	// queue (Q11). D1 is damage to the database, D2 what it lost in the
	// last crash, A1 an account that the directory does not know, B1 damage to files
	// that hold contents, B2 what is kept of them though it tells nothing, B3 a damaged
	// content that nothing names.
	State string `json:"state"`
	What  string `json:"what"`  // the state in a word or two: "blob missing"
	Where string `json:"where"` // account, mailbox, UID or item
	Text  string `json:"text"`
	// Done is what was done about it: "repaired", "parked" for what is kept and
	// cannot be read, "known" for what was parked before and what is only told, or
	// nothing.
	Done string `json:"done,omitempty"`
}

// words are the states in words.
var words = map[string]string{
	"D1": "damage", "D2": "lost", "A1": "account", "B1": "content files", "B2": "content files", "B3": "orphan",
	"S7": "healed", "S11": "counter", "S12": "order", "S13": "mailbox", "S14": "name", "S15": "row", "S16": "twice", "S17": "row lost",
	"S18": "blob missing", "S19": "stray", "S20": "tombstone", "S21": "blob missing", "S22": "blob content", "S23": "row", "S24": "account", "S25": "delivery",
	"Q7": "healed", "Q11": "route", "Q12": "time", "Q13": "ended", "Q21": "item", "Q22": "blob missing", "Q23": "blob content", "Q24": "blob size",
}

// A Progress is a row that comes now and then while check runs.
type Progress struct {
	At At `json:"progress"`
}

// At says how far a check is. All is zero while it counts.
type At struct {
	Bytes    int64 `json:"bytes,omitempty"` // of files that hold contents, read with -deep
	Blobs    int   `json:"blobs,omitempty"` // likewise, where there are no such files
	Messages int   `json:"messages,omitempty"`
}

// A Summary is the last row of check.
type Summary struct {
	Accounts  int `json:"accounts"`
	Mailboxes int `json:"mailboxes"`
	Messages  int `json:"messages"`
	Objects   int `json:"objects"`
	Items     int `json:"items"` // of the queue
	Blobs     int `json:"blobs"`
	// Orphans are blobs that nothing names. They are harmless and are swept
	// once they are old enough; Swept are those that were.
	Orphans     int   `json:"orphans"`
	OrphanBytes int64 `json:"orphan_bytes"`
	Swept       int   `json:"swept,omitempty"`
	// Problems are what was found now: Repaired, Newly parked, or left.
	Problems int `json:"problems"`
	Repaired int `json:"repaired,omitempty"`
	Newly    int `json:"newly_parked,omitempty"`
	// Parked are the messages and items that are kept and cannot be read.
	Parked int `json:"parked,omitempty"`
	// Unsealed are the messages that have no checksum yet, as an earlier version
	// wrote them, and Sealed those that were given one.
	Unsealed int `json:"unsealed,omitempty"`
	Sealed   int `json:"sealed,omitempty"`
}

// checkFound is the exit code of check when there were findings, and checkFailed when
// it could not look at everything.
const (
	checkFound  = 1
	checkFailed = 2
)

// checking is one run of check.
type checking struct {
	*Admin
	args checkArgs
	emit Emit
	sum  Summary
	bad  map[blob.Ref]string // contents that are not what they were
	told time.Time           // when there was news
	// broken says that the database is damaged below the rows.
	broken bool
}

// progressEvery is how often there is news of a check.
const progressEvery = 5 * time.Second

func check(a *Admin, ctx context.Context, args checkArgs, emit Emit) error {
	c := &checking{Admin: a, args: args, emit: emit, bad: map[blob.Ref]string{}, told: a.now()}
	err := c.run(ctx)
	if err != nil {
		e := &control.Error{}
		if err = explain(err); !errors.As(err, &e) {
			e = &control.Error{Text: err.Error()}
			if a.Hint != nil {
				e.Hint = a.Hint(err)
			}
		}
		return &control.Error{Text: "the check could not be finished: " + e.Text, Hint: e.Hint, Code: checkFailed}
	}
	if err := emit(c.sum); err != nil {
		return err
	}
	if c.sum.Problems == 0 {
		return nil
	}
	text, hint := count(c.sum.Problems, "problem")+" found", "check -repair puts right what can be, and parks the rest"
	if args.Repair {
		left := c.sum.Problems - c.sum.Repaired - c.sum.Newly
		text += fmt.Sprintf(": %d repaired, %d parked, %d left", c.sum.Repaired, c.sum.Newly, left)
		if hint = ""; left > 0 {
			hint = "what is left needs a person; what was being delivered can be checked again"
		}
	}
	if c.broken {
		text += "; the database itself is damaged, and nothing is repaired before it is restored"
		hint = a.Restore
	}
	return &control.Error{Text: text, Hint: hint, Code: checkFound}
}

func (c *checking) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{c.database, c.contents, c.store, c.queue, c.discard, c.orphans} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// found reports a problem.
func (c *checking) found(state, where, text, done string) error {
	switch done {
	case store.Known:
	case store.Repaired:
		c.sum.Repaired++
	case store.Parked:
		c.sum.Newly++
	}
	if done != store.Known {
		c.sum.Problems++
	}
	return c.emit(Finding{state, words[state], where, text, done})
}

// database looks for damage below the rows. Indexes can be made again.
func (c *checking) database(ctx context.Context) error {
	if c.Lost != nil {
		if text := c.Lost(); text != "" {
			if err := c.found("D2", "database", text, store.Known); err != nil {
				return err
			}
		}
	}
	if c.Damage == nil {
		return nil
	}
	faults, err := c.Damage(ctx)
	if err != nil {
		return err
	}
	var left []string
	if left = faults; len(faults) > 0 && c.args.Repair && c.Reindex != nil {
		if err := c.Reindex(ctx); err == nil {
			if left, err = c.Damage(ctx); err != nil {
				return err
			}
		}
	}
	for _, f := range faults {
		done := store.Left
		if !slices.Contains(left, f) {
			done = store.Repaired
		}
		if err := c.found("D1", "database", f, done); err != nil {
			return err
		}
	}
	// What is written into a damaged database damages more of it.
	if c.broken = len(left) > 0; c.broken {
		c.args.Repair = false
	}
	return nil
}

// contents reads the blobs if asked to.
func (c *checking) contents(ctx context.Context) error {
	if c.Files != nil {
		return c.files(ctx)
	}
	if !c.args.Deep {
		return nil
	}
	n := 0
	for info, err := range c.Blobs.List(ctx) {
		if err == nil {
			err = c.content(ctx, info)
		}
		if err != nil {
			return err
		}
		n++
		if err := c.news(func(at *At) { at.Blobs = n }); err != nil {
			return err
		}
	}
	return nil
}

// content reads a blob and compares it with its name.
func (c *checking) content(ctx context.Context, info blob.Info) error {
	rc, err := c.Blobs.Open(ctx, info.Ref, 0, -1)
	if errors.Is(err, blob.ErrNotFound) && !errors.Is(err, blob.ErrDamaged) {
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
	case errors.Is(err, blob.ErrUnreadable): // it may be read another time
		return c.found("B1", string(info.Ref), err.Error(), store.Left)
	case err != nil:
		c.bad[info.Ref] = err.Error()
	case ref != info.Ref || n != info.Size:
		c.bad[info.Ref] = fmt.Sprintf("its %d bytes have the hash %s", n, ref)
	}
	return nil
}

func (c *checking) isBad(ref blob.Ref) string { return c.bad[ref] }

// news tells how far it is, now and then.
func (c *checking) news(set func(*At)) error {
	now := c.now()
	if now.Sub(c.told) < progressEvery {
		return nil
	}
	c.told = now
	var p Progress
	set(&p.At)
	return c.emit(p)
}

func (c *checking) store(ctx context.Context) error {
	// The store's list comes first: an account is in the directory before it
	// has mail.
	ids, err := c.withRows(ctx)
	if err != nil {
		return err
	}
	names := map[store.AccountID]string{}
	var known []store.AccountID
	for acc, err := range c.Accounts.Accounts(ctx, "") {
		if err != nil {
			return err
		}
		names[acc.ID] = acc.Address
		known = append(known, acc.ID)
	}
	gone, err := c.Accounts.Deleted(ctx)
	if err != nil {
		return err
	}
	// What the directory does not know is left alone.
	unknown := map[store.AccountID]bool{}
	for _, id := range ids {
		if names[id] == "" && id != store.ServerAccount && !slices.Contains(gone, id) {
			unknown[id] = true
			if err := c.unknown(ctx, id); err != nil {
				return err
			}
		}
	}
	var newsErr error
	done, err := c.Store.Check(ctx, store.CheckOptions{
		Repair: c.args.Repair, Bad: c.isBad, Skip: func(id store.AccountID) bool { return unknown[id] },
		Name: func(id store.AccountID) string {
			if n := names[id]; n != "" {
				return n
			}
			return "account " + string(id)
		},
		Found: func(f store.Finding) error { return c.found(f.State, f.Where, f.Text, f.Done) },
		Progress: func(d store.Checked) {
			newsErr = errors.Join(newsErr, c.news(func(at *At) { at.Messages = d.Messages }))
		},
	}, known...)
	if err := errors.Join(err, newsErr); err != nil {
		return err
	}
	c.sum.Accounts, c.sum.Mailboxes, c.sum.Messages, c.sum.Objects = len(known), done.Mailboxes, done.Messages, done.Objects
	c.sum.Parked += done.Parked
	c.sum.Unsealed, c.sum.Sealed = done.Unsealed, done.Sealed
	return nil
}

// withRows lists the accounts of the store, if it can.
func (c *checking) withRows(ctx context.Context) (all []store.AccountID, err error) {
	rows, ok := c.Store.Backend.(store.Checker)
	for ok {
		after := store.AccountID("")
		if n := len(all); n > 0 {
			after = all[n-1]
		}
		ids, err := rows.AccountIDs(ctx, after, 1000)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			break
		}
		all = append(all, ids...)
	}
	return all, nil
}

// unknown tells of an account with mail that is not in the directory.
func (c *checking) unknown(ctx context.Context, id store.AccountID) error {
	var acc store.Account
	err := c.Store.Backend.View(ctx, func(tx store.Tx) error {
		accs, err := tx.Accounts(id)
		if err == nil {
			acc = accs[0]
		}
		return err
	})
	if err != nil || acc.Deleted || acc.Messages == 0 {
		return err
	}
	return c.found("A1", string(id), fmt.Sprintf("it has %d messages, and the directory does not know it", acc.Messages), store.Left)
}

func (c *checking) queue(ctx context.Context) error {
	done, err := c.Queue.Check(ctx, queue.CheckOptions{
		Repair: c.args.Repair, Bad: c.isBad,
		Found: func(f queue.Finding) error { return c.found(f.State, "queue "+f.Where, f.Text, f.Done) },
	})
	c.sum.Items = done.Items
	c.sum.Parked += done.Parked
	return err
}

// orphans counts blobs, and those that nothing names.
func (c *checking) orphans(ctx context.Context) error {
	const batch = 50_000 // for each, the rows of all messages are read
	var refs []blob.Ref
	sizes := map[blob.Ref]int64{}
	holders := []blob.Holder{c.Store, c.Queue}
	flush := func() error {
		free := refs
		for _, h := range holders {
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
	}
	if err := flush(); err != nil {
		return err
	}
	if !c.args.Repair || c.sum.Orphans == 0 {
		return nil
	}
	grace := c.Grace
	if grace <= 0 {
		grace = 6 * time.Hour
	}
	var err error
	c.sum.Swept, err = blob.Sweep(ctx, c.Blobs, c.now(), grace, holders...)
	return err
}

// count is how many there are, in words.
func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "x"):
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (s *Summary) text() string {
	t := fmt.Sprintf("%s, %s, %s, %s, %d queued, %s", count(s.Accounts, "account"), count(s.Mailboxes, "mailbox"),
		count(s.Messages, "message"), count(s.Objects, "object"), s.Items, count(s.Blobs, "blob"))
	if s.Orphans > 0 {
		t += fmt.Sprintf(" (%d of them, %s, named by nothing: ", s.Orphans, FormatSize(s.OrphanBytes))
		if s.Swept > 0 {
			t += fmt.Sprintf("%d swept, the others ", s.Swept)
		} else {
			t += "they "
		}
		t += "will be swept)"
	}
	if s.Parked > 0 {
		t += fmt.Sprintf("\ndamaged and kept, as listed above: %d", s.Parked)
	}
	if s.Unsealed > 0 {
		t += fmt.Sprintf("\n%d messages were filed by an earlier version and have no checksum yet; check -repair gives them one", s.Unsealed)
	}
	if s.Sealed > 0 {
		t += fmt.Sprintf("\n%d messages that were filed by an earlier version have a checksum now", s.Sealed)
	}
	return t
}

func parseCheck(fs *flag.FlagSet) func(*input) (any, error) {
	var args checkArgs
	fs.BoolVar(&args.Deep, "deep", false, "also read every message and compare its hash; takes long")
	fs.BoolVar(&args.Deep, "contents", false, "the same as -deep")
	fs.BoolVar(&args.Repair, "repair", false, "put right what can be derived, and park the rest with its reason")
	return func(in *input) (any, error) { return args, in.none() }
}
