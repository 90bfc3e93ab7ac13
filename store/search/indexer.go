package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
)

const (
	// batchDocs and batchBytes bound one Apply, so that it is short.
	batchDocs  = 64
	batchBytes = 1 << 20
	// batchMissing is about how many places an Index is asked about at a time.
	batchMissing = 1000
	// settle is how long changes are gathered before they are indexed: mail often
	// comes in bursts. Who searches does not wait for it.
	settle = 5 * time.Second
	// retry is how long an Index that fails is left alone.
	retry = time.Minute
	// busyStep and busyMost are how often a busy server is asked whether it still is,
	// and for how long it is waited for.
	busyStep = 50 * time.Millisecond
	busyMost = 10 * time.Second
)

// An Indexer keeps an Index up to date while it Runs, and answers from it. An account
// is indexed once somebody searches in it, and from then on. Store and Index are
// required. Fields are not changed once it is used.
type Indexer struct {
	Store *store.Store
	Index Index
	// Eager indexes accounts also when mail comes, before anybody searches.
	Eager bool
	// Busy, if set, reports whether the server has better things to do than to index.
	// It is waited for, a while at a time.
	Busy func() bool
	// Rest is how long the Indexer rests after each step, as a multiple of the time
	// that the step took; zero means 3, so that it takes a quarter of one
	// processor at most. Less than zero is no rest.
	Rest   float64
	Clock  mailkeel.Clock // nil means real time
	Logger *slog.Logger   // nil means discard

	mu      sync.Mutex
	began   bool
	states  map[store.AccountID]*progress
	queue   []store.AccountID // to be looked at now
	later   map[store.AccountID]struct{}
	wake    chan struct{} // holds one hint that the queue is not empty
	waiting chan struct{} // holds one hint that later is not empty
}

var _ Finder = (*Indexer)(nil)

// progress is how far an account is.
type progress struct {
	State
	checked bool // against the store, since the start
	queued  bool
	// whole is up to which ModSeq all was seen, since the start: what was in its
	// mailbox by then is indexed, so that new flags of it are nothing to look at.
	whole store.ModSeq
}

func (x *Indexer) clock() mailkeel.Clock { return mailkeel.ClockOr(x.Clock) }

func (x *Indexer) logger() *slog.Logger {
	return cmp.Or(x.Logger, slog.New(slog.DiscardHandler))
}

// begin reads what was indexed before.
func (x *Indexer) begin(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.began {
		return nil
	}
	states, err := x.Index.States(ctx)
	if err != nil {
		return err
	}
	x.states = map[store.AccountID]*progress{}
	for id, s := range states {
		x.states[id] = &progress{State: s}
	}
	x.later = map[store.AccountID]struct{}{}
	x.wake, x.waiting = make(chan struct{}, 1), make(chan struct{}, 1)
	x.began = true
	return nil
}

func hint(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// want queues an account to be indexed now. The caller holds the lock.
func (x *Indexer) want(id store.AccountID) *progress {
	p := x.states[id]
	if p == nil {
		p = new(progress)
		x.states[id] = p
	}
	if !p.queued {
		p.queued = true
		x.queue = append(x.queue, id)
		hint(x.wake)
	}
	return p
}

// Find answers from the Index, and sees to it that the account is indexed.
func (x *Indexer) Find(ctx context.Context, account store.AccountID, q Query) (Answer, error) {
	if err := x.begin(ctx); err != nil {
		return Answer{}, err
	}
	x.mu.Lock()
	p := x.want(account)
	state, checked := p.State, p.checked
	x.mu.Unlock()
	if state.Start == 0 {
		return Answer{}, ErrNoAnswer
	}
	if !checked {
		// The store may have been put back to an earlier time, and given the same
		// UIDs to other messages since.
		_, _, err := x.Store.Changes(ctx, account, state.Through, state.Start)
		if err != nil {
			return Answer{}, ErrNoAnswer // Run forgets what is known, or tries again
		}
		x.mu.Lock()
		p.checked = true
		x.mu.Unlock()
	}
	return x.Index.Find(ctx, account, q)
}

// Run indexes until ctx is done.
func (x *Indexer) Run(ctx context.Context) {
	for {
		err := x.begin(ctx)
		if err == nil {
			break
		}
		x.logger().Warn("search: the index cannot be read, and will be tried again", "err", err)
		if !x.sleep(ctx, retry) {
			return
		}
	}
	x.mu.Lock()
	for id := range x.states {
		x.want(id)
	}
	x.mu.Unlock()
	var hints sync.WaitGroup
	defer hints.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hints.Go(func() { x.Store.Hints(ctx, x.changed) })
	var due mailkeel.Timer
	for {
		x.mu.Lock()
		idle := len(x.queue) == 0
		x.mu.Unlock()
		if !idle {
			id, err := x.turn(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				x.logger().Warn("search: will be tried again", "err", err)
				if !x.sleep(ctx, retry) {
					return
				}
				x.changed(id)
			}
			continue
		}
		var ripe <-chan time.Time
		if due != nil {
			ripe = due.C()
		}
		select {
		case <-x.wake:
		case <-x.waiting:
			if due == nil {
				due = x.clock().NewTimer(settle)
			}
		case <-ripe:
			due = nil
			x.ripen()
		case <-ctx.Done():
			if due != nil {
				due.Stop()
			}
			return
		}
	}
}

// changed notes that an account may have changed, or any.
func (x *Indexer) changed(id store.AccountID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if id != "" {
		if x.states[id] == nil && !x.Eager {
			return
		}
		x.later[id] = struct{}{}
	} else {
		for id := range x.states {
			x.later[id] = struct{}{}
		}
	}
	if len(x.later) > 0 {
		hint(x.waiting)
	}
}

// ripen queues what has changed a while ago.
func (x *Indexer) ripen() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id := range x.later {
		x.want(id)
	}
	clear(x.later)
}

// CatchUp indexes what is wanted and has changed, and returns when that is done. It is
// for tests and tools, instead of Run.
func (x *Indexer) CatchUp(ctx context.Context, accounts ...store.AccountID) error {
	if err := x.begin(ctx); err != nil {
		return err
	}
	x.mu.Lock()
	for _, id := range accounts {
		x.want(id)
	}
	for id := range x.states {
		x.want(id)
	}
	x.mu.Unlock()
	for {
		x.mu.Lock()
		idle := len(x.queue) == 0
		x.mu.Unlock()
		if idle {
			return ctx.Err()
		}
		if _, err := x.turn(ctx); err != nil {
			return err
		}
	}
}

// turn indexes some of the first account of the queue.
func (x *Indexer) turn(ctx context.Context) (store.AccountID, error) {
	x.mu.Lock()
	id := x.queue[0]
	x.queue = x.queue[1:]
	p := x.states[id]
	p.queued = false
	x.mu.Unlock()
	more, err := x.step(ctx, id, p)
	if ctx.Err() != nil {
		return id, ctx.Err()
	}
	x.mu.Lock()
	if more {
		x.want(id)
	}
	x.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("search: indexing account %s: %w", id, err)
	}
	return id, err
}

// step does some of the changes of an account, and says whether there may be more.
func (x *Indexer) step(ctx context.Context, id store.AccountID, p *progress) (more bool, err error) {
	x.mu.Lock()
	state := p.State
	x.mu.Unlock()
	changes, now, err := x.Store.Changes(ctx, id, state.Through, state.Start)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, x.forget(ctx, id)
	case errors.Is(err, store.ErrHorizon):
		// What has gone meanwhile is not known, or the store is older than the index.
		x.logger().Info("search: an account is indexed anew", "account", id, "err", err)
		return true, x.forget(ctx, id)
	case err != nil:
		return false, err
	}
	x.mu.Lock()
	p.checked = true
	whole := p.whole
	x.mu.Unlock()
	w := &writing{x: x, p: p, ctx: ctx, access: x.Store.As(id)}
	w.from, w.Account = state, id
	if w.to = state; w.to.Start == 0 {
		w.to.Start = max(now, 1)
	}
	if err := w.look(changes, whole); err != nil {
		return false, err
	}
	for _, c := range changes {
		if err := w.change(c); err != nil {
			return w.changed(err)
		}
		w.to.Through = c.ModSeq
	}
	if w.to != w.from { // else nothing is new, and that was noted before
		if err := w.flush(); err != nil {
			return w.changed(err)
		}
	}
	if w.to.Through < now {
		return true, nil
	}
	// What comes after now, a hint tells of.
	x.mu.Lock()
	p.whole = now
	x.mu.Unlock()
	return false, nil
}

// forget drops an account from the index.
func (x *Indexer) forget(ctx context.Context, id store.AccountID) error {
	if err := x.Index.Drop(ctx, id); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.states[id]; p != nil {
		p.State, p.whole = State{}, 0
		if !p.queued {
			delete(x.states, id)
		}
	}
	return nil
}

// pause lets others work.
func (x *Indexer) pause(ctx context.Context, took time.Duration) {
	rest := cmp.Or(x.Rest, 3)
	if rest > 0 {
		x.sleep(ctx, time.Duration(float64(took)*rest))
	}
	for waited := time.Duration(0); x.Busy != nil && x.Busy() && waited < busyMost; waited += busyStep {
		if !x.sleep(ctx, busyStep) {
			return
		}
	}
}

func (x *Indexer) sleep(ctx context.Context, d time.Duration) bool {
	t := x.clock().NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// writing gathers a Batch.
type writing struct {
	x      *Indexer
	p      *progress
	ctx    context.Context
	access *store.Access
	Batch
	from, to State   // to is what is whole once the Batch is there
	missing  []Place // what is to be indexed, in order
	bytes    int
	began    time.Time
}

// changed says what an error of writing means for the step.
func (w *writing) changed(err error) (more bool, _ error) {
	if !errors.Is(err, ErrChanged) {
		return false, err
	}
	states, err := w.x.Index.States(w.ctx)
	if err != nil {
		return false, err
	}
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.p.State, w.p.whole = states[w.Account], 0
	return true, nil
}

func comparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.UID, b.UID))
}

// look finds out which messages of changes are to be indexed: with each the Index
// would be asked for all that it has of a mailbox, so it is asked about many. Those
// that were in their mailbox at whole are there.
func (w *writing) look(changes []store.Change, whole store.ModSeq) error {
	var places []Place
	for _, c := range changes {
		for _, m := range c.Messages {
			if !m.Expunged && m.Added > whole {
				places = append(places, Place{m.Mailbox, m.UID})
			}
		}
	}
	slices.SortFunc(places, comparePlaces)
	for some := range slices.Chunk(places, batchMissing) {
		missing, err := w.x.Index.Missing(w.ctx, w.Account, some)
		if err != nil {
			return err
		}
		w.missing = append(w.missing, missing...)
	}
	return nil
}

// change adds what a change says, and writes when that has become much.
func (w *writing) change(c store.Change) error {
	if w.began.IsZero() {
		w.began = w.x.clock().Now()
	}
	for _, mb := range c.Mailboxes {
		if mb.Deleted {
			w.Boxes = append(w.Boxes, mb.ID)
		}
	}
	var places []Place
	for _, m := range c.Messages {
		if at := (Place{m.Mailbox, m.UID}); m.Expunged {
			w.Gone = append(w.Gone, at)
		} else if _, ok := slices.BinarySearchFunc(w.missing, at, comparePlaces); ok {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, comparePlaces)
	for some := range slices.Chunk(places, batchDocs) {
		if err := w.add(some); err != nil {
			return err
		}
	}
	if len(w.Gone) > 10*batchDocs {
		return w.flush()
	}
	return nil
}

// add reads messages.
func (w *writing) add(places []Place) error {
	for len(places) > 0 {
		n := 1
		for n < len(places) && places[n].Mailbox == places[0].Mailbox {
			n++
		}
		uids := make([]store.UID, n)
		for i, at := range places[:n] {
			uids[i] = at.UID
		}
		ms, cold, err := w.access.Load(w.ctx, places[0].Mailbox, true, uids...)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		places = places[n:]
		for _, m := range ms {
			c, ok := cold[m.ID]
			if !ok {
				continue
			}
			d, ok, err := docOf(w.ctx, w.access, m, c)
			if err != nil {
				return err
			}
			if !ok || slices.ContainsFunc(w.Docs, func(o Doc) bool { return o.UID == d.UID && o.Mailbox == d.Mailbox }) {
				continue
			}
			w.Docs = append(w.Docs, d)
			if w.bytes += len(d.Header) + len(d.Body); w.bytes >= batchBytes || len(w.Docs) >= batchDocs {
				if err := w.flush(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// flush writes the Batch, and rests.
func (w *writing) flush() error {
	w.From, w.State = w.from, w.to
	if err := w.x.Index.Apply(w.ctx, w.Batch); err != nil {
		return err
	}
	w.x.mu.Lock()
	w.p.State = w.to
	w.x.mu.Unlock()
	w.from = w.to
	w.Docs, w.Gone, w.Boxes, w.bytes = nil, nil, nil, 0
	began := w.began
	w.began = time.Time{}
	if !began.IsZero() {
		w.x.pause(w.ctx, w.x.clock().Now().Sub(began))
	}
	w.began = w.x.clock().Now()
	return w.ctx.Err()
}
