package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/store"
)

var atOnceTests = []test{
	{"RandomOperationsAtOnceLoseNothing", testAtOnce},
}

const (
	atOnceWorkers = 4
	atOnceSteps   = 40
)

// A crowd is several workers who change the same mailboxes. What each of them was
// told to be done must be there in the end.
type crowd struct {
	*bench
	ann, bob *store.Access
	boxes    []store.MailboxID // ann's, and the last one bob's; both may use all

	mu   sync.Mutex
	live int // messages that there should be
	// words are the keywords that those messages of ann must have which are
	// only moved about and never removed. Each worker uses words of its own.
	words map[store.MessageID]map[string]bool
}

func testAtOnce(b *bench) {
	c := &crowd{bench: b, ann: b.As("ann"), bob: b.As("bob"), words: map[store.MessageID]map[string]bool{}}
	for _, name := range []string{"A", "B", "C"} {
		c.boxes = append(c.boxes, b.box("ann", name).ID)
	}
	c.boxes = append(c.boxes, b.box("bob", "D").ID)
	for i, id := range c.boxes {
		owner, other := c.ann, store.AccountID("bob")
		if i == 3 {
			owner, other = c.bob, "ann"
		}
		b.must(owner.Grant(b.Context(), id, other, store.AllRights))
	}
	for range 5 {
		ps, err := c.ann.Append(b.Context(), c.boxes[0], store.Append{Blob: hello})
		b.must(err)
		c.words[ps[0].ID] = map[string]bool{}
		c.live++
	}

	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	var readers, workers sync.WaitGroup
	follows := map[store.AccountID]*follow{}
	for _, id := range modelUsers {
		f := &follow{rows: map[string]store.Message{}}
		follows[id] = f
		readers.Go(func() { f.run(ctx, b.Store, id) })
	}
	errs := make([]error, atOnceWorkers)
	for w := range errs {
		workers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 3))
			for n := range atOnceSteps {
				if err := c.step(rnd, fmt.Sprintf("w%d-%d", w, n)); err != nil {
					errs[w] = fmt.Errorf("worker %d, step %d: %w", w, n, err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.must(errors.Join(errs...))
	// A last change, which the followers wait for.
	for _, id := range modelUsers {
		_, err := b.As(id).PutObject(b.Context(), store.Object{Kind: "test", ID: "end"})
		b.must(err)
	}
	readers.Wait()
	c.check(follows)
}

// pick returns a random message of a mailbox.
func (c *crowd) pick(rnd *rand.Rand, box store.MailboxID) (got store.Message, ok bool, err error) {
	n := rnd.IntN(8)
	err = c.ann.Scan(c.Context(), box, store.Query{}, func(_ store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		i := 0
		for m, err := range ms {
			if err != nil {
				return err
			}
			if got, ok = m, true; i == n {
				break
			}
			i++
		}
		return nil
	})
	return got, ok, err
}

// step does one random thing.
func (c *crowd) step(rnd *rand.Rand, word string) error {
	ctx := c.Context()
	from, to := rnd.IntN(4), rnd.IntN(4)
	m, ok, err := c.pick(rnd, c.boxes[from])
	if err != nil {
		return err
	}
	c.mu.Lock()
	pinned := from < 3 && c.words[m.ID] != nil
	c.mu.Unlock()
	kind := rnd.IntN(12)
	if !ok {
		kind = 0
	}
	add := func(n int) {
		c.mu.Lock()
		c.live += n
		c.mu.Unlock()
	}
	switch kind {
	case 0, 1:
		out, err := c.Deliver(ctx, store.Delivery{Blob: hello, Targets: []store.Target{
			{Account: "ann", Mailbox: "A", Create: true}, {Account: "bob", Index: 1, Mailbox: "D", Create: true}}})
		if err = errors.Join(err, errOf(out)); err == nil {
			add(2)
		}
		return err
	case 2, 3, 4:
		if !pinned {
			_, _, err := c.bob.SetFlags(ctx, m.Mailbox, store.FlagChange{Add: []string{store.FlagSeen}}, m.UID)
			return err
		}
		changed, _, err := c.ann.SetFlags(ctx, m.Mailbox, store.FlagChange{Add: []string{word}}, m.UID)
		for _, x := range changed {
			c.mu.Lock()
			c.words[x.ID][word] = true
			c.mu.Unlock()
		}
		return err
	case 5, 6, 7:
		if pinned {
			to = rnd.IntN(3)
		}
		_, err := c.ann.Move(ctx, m.Mailbox, c.boxes[to], m.UID)
		return err
	case 8, 9:
		done, err := c.bob.Copy(ctx, m.Mailbox, c.boxes[to], m.UID)
		add(len(done))
		return err
	case 10:
		if pinned {
			return nil
		}
		gone, err := c.bob.Expunge(ctx, m.Mailbox, m.UID)
		add(-len(gone))
		return err
	}
	// B has a new name now and then; others find it by its ID.
	err = c.ann.Rename(ctx, c.boxes[1], "B"+word)
	if errors.Is(err, store.ErrExists) {
		err = nil
	}
	return err
}

func errOf(out []store.Outcome) error {
	var errs []error
	for _, o := range out {
		errs = append(errs, o.Err)
	}
	return errors.Join(errs...)
}

// check looks at what came of it.
func (c *crowd) check(follows map[store.AccountID]*follow) {
	c.Helper()
	live, seen := 0, map[store.MessageID]int{}
	for i, id := range c.boxes {
		ms := c.messages(id, false)
		live += len(ms)
		for _, m := range ms {
			want := c.words[m.ID]
			if i == 3 || want == nil {
				continue
			}
			seen[m.ID]++
			for word := range want {
				if !slices.Contains(m.Flags, word) {
					c.Errorf("message %d lost %s, it has %q", m.ID, word, m.Flags)
				}
			}
		}
	}
	if live != c.live {
		c.Errorf("%d messages, want %d", live, c.live)
	}
	for id := range c.words {
		if seen[id] != 1 {
			c.Errorf("message %d is there %d times", id, seen[id])
		}
	}
	for _, user := range modelUsers {
		c.recount(user)
		f := follows[user]
		c.must(f.err)
		want := map[string]store.Message{}
		for _, mb := range c.boxes {
			for _, m := range c.messages(mb, false) {
				if m.Account == user {
					want[f.key(m)] = m
				}
			}
		}
		if !reflect.DeepEqual(f.rows, want) {
			c.Errorf("a follower of %s knows %d messages, there are %d\n%v\n%v", user, len(f.rows), len(want), f.rows, want)
		}
	}
}

// A follow reads the changes of an account while they are made.
type follow struct {
	rows map[string]store.Message
	err  error
}

func (f *follow) key(m store.Message) string { return fmt.Sprint(m.Mailbox, "/", m.UID) }

func (f *follow) run(ctx context.Context, s *store.Store, id store.AccountID) {
	var last store.ModSeq
	for c, err := range s.Follow(ctx, id, 0) {
		if err != nil || c.ModSeq <= last {
			f.err = fmt.Errorf("after %d: %d, %w", last, c.ModSeq, err)
			return
		}
		last = c.ModSeq
		for _, m := range c.Messages {
			if m.Expunged {
				delete(f.rows, f.key(m))
			} else {
				f.rows[f.key(m)] = m
			}
		}
		for _, o := range c.Objects {
			if o.Kind == "test" {
				return
			}
		}
	}
	f.err = errors.New("the feed ended")
}
