package imap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mailkeel/mailkeel/store"
)

// A view is what is known of one mailbox, for all sessions of one account that
// have it selected. It holds one snapshot at a time, which it moves on by reading
// what changed since. A session holds the snapshot that it has told its client
// about, and tells the difference when the protocol allows.
//
// Accounts do not share views: each has its own \Seen flags in a shared mailbox,
// and its own rights.
type view struct {
	access *store.Access
	id     store.MailboxID

	asked  atomic.Uint64 // how often somebody asked for what is now
	mu     sync.Mutex    // held while reading
	served uint64        // of asked, those that a reading has answered
	cur    atomic.Pointer[snapshot]
	failed atomic.Pointer[error] // of the last reading for those in IDLE

	refs int // guarded by views.mu, as are those below
	kept int // rows it had when the last session left
	idle map[*conn]struct{}
	quit chan struct{} // ends follow; nil if nobody is in IDLE
}

// refresh moves the view to what is now, and returns that. ErrNotFound means that
// the mailbox has gone.
//
// One reading serves all who asked before it began: twenty sessions that have each
// appended a message, in one commit, read once.
func (v *view) refresh(ctx context.Context) (*snapshot, error) {
	ask := v.asked.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.cur.Load(); s != nil && v.served >= ask {
		return s, nil
	}
	all := v.asked.Load()
	s, err := v.read(ctx)
	if err == nil {
		v.served = all
	}
	return s, err
}

// read is refresh for who holds mu.
func (v *view) read(ctx context.Context) (*snapshot, error) {
	old := v.cur.Load()
	if old == nil {
		return v.load(ctx)
	}
	var changes []change
	var box store.Mailbox
	words := newWordList(old.keywords)
	take := func(m *store.Message) {
		c := change{gone: m.Expunged}
		c.uid, c.modSeq = m.UID, m.ModSeq
		if !c.gone {
			c.flags = joinFlags(m.Flags)
			words.add(m.Flags)
		}
		changes = append(changes, c)
	}
	if mb, ms, ok := v.access.Recent(v.id, old.box.ModSeq); ok {
		box = mb
		for i := range ms {
			take(&ms[i])
		}
	} else {
		q := store.Query{Since: store.Since{After: old.box.ModSeq, Tombstones: true}, Brief: true}
		err := v.access.Scan(ctx, v.id, q, func(mb store.Mailbox, ms iter.Seq2[store.Message, error]) error {
			changes, box = changes[:0], mb
			if mb.ModSeq == old.box.ModSeq {
				return nil
			}
			for m, err := range ms {
				if err != nil {
					return err
				}
				take(&m)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if box.ModSeq == old.box.ModSeq {
		return old, nil
	}
	next := new(snapshot)
	if *next = *old; len(changes) > 0 {
		next = old.apply(changes)
	}
	next.box, next.keywords = box, words.list
	if next.size != box.Messages {
		// Tombstones that the account has forgotten, or a restored backup.
		return v.load(ctx)
	}
	v.cur.Store(next)
	return next, nil
}

// load reads all messages.
func (v *view) load(ctx context.Context) (*snapshot, error) {
	known, err := v.access.Keywords(ctx, v.id)
	if err != nil {
		return nil, err
	}
	var next *snapshot
	err = v.access.Scan(ctx, v.id, store.Query{Brief: true}, func(mb store.Mailbox, ms iter.Seq2[store.Message, error]) error {
		next = &snapshot{box: mb}
		words := newWordList(known)
		rows := make([]row, 0, min(mb.Messages, chunkRows))
		var lastFlags []string
		var lastSet flagSet
		first := true
		for m, err := range ms {
			if err != nil {
				return err
			}
			if len(rows) == chunkRows {
				next.chunks = append(next.chunks, chunk{next.size, rows})
				next.size += len(rows)
				rows = make([]row, 0, chunkRows)
			}
			if first || !slices.Equal(m.Flags, lastFlags) { // neighbours are often alike
				lastFlags, lastSet, first = m.Flags, joinFlags(m.Flags), false
				words.add(m.Flags)
			}
			rows = append(rows, row{m.UID, lastSet, m.ModSeq})
		}
		if len(rows) > 0 {
			next.chunks = append(next.chunks, chunk{next.size, rows})
			next.size += len(rows)
		}
		next.keywords = words.list
		return nil
	})
	if err != nil {
		return nil, err
	}
	if old := v.cur.Load(); old != nil && old.box.UIDValidity != next.box.UIDValidity {
		return nil, fmt.Errorf("%w: its UIDVALIDITY changed", store.ErrNotFound)
	}
	v.cur.Store(next)
	return next, nil
}

// A wordList collects keywords in the order in which they came. The list it
// begins with is not changed.
type wordList struct {
	list []string
	has  map[string]bool // in lower case; nil until it is needed
}

func newWordList(known []string) *wordList {
	return &wordList{list: slices.Clip(known)}
}

func (w *wordList) add(flags []string) {
	for _, f := range flags {
		if strings.HasPrefix(f, `\`) {
			continue
		}
		if w.has == nil {
			w.has = make(map[string]bool, len(w.list))
			for _, k := range w.list {
				w.has[strings.ToLower(k)] = true
			}
		}
		if low := strings.ToLower(f); !w.has[low] {
			w.has[low] = true
			w.list = append(w.list, f)
		}
	}
}

type viewKey struct {
	account store.AccountID
	box     store.MailboxID
}

// maxKept is how many rows of mailboxes that no session has selected are kept, so
// that selecting one again does not read it all. They are about 32 bytes each.
const maxKept = 200_000

// views are those of a server.
type views struct {
	mu   sync.Mutex
	open map[viewKey]*view
	kept []*view // without sessions, the oldest first
	rows int     // in kept
	wg   *sync.WaitGroup
}

// get returns the view of a mailbox, as it is now, for one session more. Each get
// is followed by a put.
func (vs *views) get(ctx context.Context, access *store.Access, id store.MailboxID) (*view, *snapshot, error) {
	key := viewKey{access.Account(), id}
	vs.mu.Lock()
	if vs.open == nil {
		vs.open = map[viewKey]*view{}
	}
	v := vs.open[key]
	if v == nil {
		v = &view{access: access, id: id, idle: map[*conn]struct{}{}}
		vs.open[key] = v
	} else if v.refs == 0 {
		i := slices.Index(vs.kept, v)
		vs.kept = slices.Delete(vs.kept, i, i+1)
		vs.rows -= v.kept
	}
	v.refs++
	vs.mu.Unlock()
	var s *snapshot
	defer func() { // also if the backend panics
		if s == nil {
			vs.put(v)
		}
	}()
	s, err := v.refresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	return v, s, nil
}

// put ends what get began.
func (vs *views) put(v *view) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if v.refs--; v.refs > 0 {
		return
	}
	s := v.cur.Load()
	if s == nil {
		delete(vs.open, viewKey{v.access.Account(), v.id})
		return
	}
	v.kept = s.size
	vs.kept = append(vs.kept, v)
	vs.rows += v.kept
	for len(vs.kept) > 0 && (vs.rows > maxKept || len(vs.kept) > maxKept/100) {
		old := vs.kept[0]
		vs.kept = slices.Delete(vs.kept, 0, 1)
		vs.rows -= old.kept
		delete(vs.open, viewKey{old.access.Account(), old.id})
	}
}

// wait has c woken when the mailbox changes, until leave, which is called even if
// wait panics. What changed before is for c to look at afterwards.
func (vs *views) wait(v *view, c *conn) {
	vs.mu.Lock()
	v.idle[c] = struct{}{}
	followed := v.quit != nil
	vs.mu.Unlock()
	if followed {
		return
	}
	wake, stop := v.access.Wake(v.id) // it reads, so not with the lock held
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if v.quit != nil { // somebody else was faster
		stop()
		return
	}
	v.quit = make(chan struct{})
	vs.wg.Add(1)
	go vs.follow(v, v.cur.Load(), wake, stop, v.quit)
}

// lost returns why views.follow could not read.
func (v *view) lost() error {
	if err := v.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (vs *views) leave(v *view, c *conn) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	delete(v.idle, c)
	if len(v.idle) == 0 && v.quit != nil {
		close(v.quit)
		v.quit = nil
	}
}

// safeRefresh is refresh for a goroutine that serves nobody in particular: what
// panics for a session, too, is told there.
func (v *view) safeRefresh() (s *snapshot, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("imap: panic: %v", p)
		}
	}()
	return v.refresh(context.Background())
}

// follow wakes those in IDLE when a hint came and something has changed since
// told: one goroutine reads, however many wait. It reads once before the first
// hint, so that no change falls between.
func (vs *views) follow(v *view, told *snapshot, wake <-chan struct{}, stop func(), quit chan struct{}) {
	defer vs.wg.Done()
	defer stop()
	for {
		now, err := v.safeRefresh()
		if v.failed.Store(nil); err != nil {
			v.failed.Store(&err)
		}
		if err != nil || now != told {
			told = now
			vs.mu.Lock()
			for c := range v.idle {
				c.low.Wake()
			}
			vs.mu.Unlock()
		}
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDenied) {
			wake = nil // they will leave
		}
		select {
		case <-wake:
		case <-quit:
			return
		}
	}
}
