// Package committer joins concurrent changes into one commit, because a sync
// costs the same for one change and for a thousand.
//
// Whoever finds nobody committing leads: it runs its own function and those of
// all who came meanwhile in its own goroutine, and commits once. So a lone
// writer pays for one sync and for no hand-over, and a crowd shares the sync.
package committer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("committer: closed")

	errTainted = errors.New("committer: a function failed after it wrote")
	errExited  = errors.New("committer: the goroutine that ran the batch ended inside a function")
	errPanic   = errors.New("committer: panic")
	errLost    = errors.New("committer: what a function waited for did not come")
)

// A Target is what is committed to. Its methods are called by one goroutine at a
// time, in the order Begin, then for each function Mark and either Keep or Undo,
// then Flush and Commit, or Rollback. What functions wait for (see DoAfter) is
// waited for between Flush and Commit.
//
// Nearly every batch succeeds as a whole, so the first run of a batch is not
// firm: Mark need only note in memory where a function began. If then a function
// fails whose changes Undo cannot take back, or Flush fails, the batch is rolled
// back and run again, firmly: now Keep writes at once what the function did, and
// Undo must succeed (with savepoints, say).
type Target interface {
	Begin() error
	Mark(firm bool) error
	// Keep is called after a function that returned nil. Its error fails the
	// function.
	Keep(firm bool) error
	// Undo takes back what was done since Mark. False means that only a
	// Rollback can.
	Undo(firm bool) (bool, error)
	// Flush writes what functions held back in memory.
	Flush() error
	// Commit makes everything durable, or returns an error; Rollback follows
	// then.
	Commit() error
	Rollback()
}

// Committer commits to Target, which is required. It is used by many goroutines.
type Committer struct {
	Target Target
	// MaxBatch is how many functions share a commit, and so bounds how long
	// the last one waits; zero means 256.
	MaxBatch int

	once   sync.Once
	turn   chan struct{} // holds one token while a batch runs
	mu     sync.Mutex
	open   *batch
	queued int // functions not taken yet
	closed bool
	users  sync.WaitGroup
}

type batch struct {
	jobs []*job
	done chan struct{} // closed when the results of jobs are there
}

const (
	waiting = iota
	taken
	gone
)

type job struct {
	fn       func() error
	ahead    func() error // what it waits for; nil if nothing
	wait     func() error // the same, or nil when it has come
	lost     error        // of wait
	state    atomic.Int32
	err      error
	panicked any
}

func (c *Committer) init() {
	c.turn = make(chan struct{}, 1)
	c.open = &batch{done: make(chan struct{})}
}

// Do runs fn in a transaction that it shares with others, and returns when it is
// committed. If fn fails or panics, nothing of it is kept, the error or panic
// goes to the caller, and the others do not notice. fn may run more than once and
// in another goroutine. When ctx ends before fn began, Do returns ctx's error and
// fn never runs; after that it waits for the outcome, which is then known.
func (c *Committer) Do(ctx context.Context, fn func() error) error {
	return c.DoAfter(ctx, nil, fn)
}

// DoAfter is Do for a change that may only be committed when something else is
// durable: wait returns nil when it is. It is called before the commit, when all
// functions have run, so that what several wait for may share a sync too; and while
// the batch before is committed, so that the two syncs take the time of one. If it
// fails or panics, fn has failed, and the others do not notice: they are run again
// without it. wait is called in any goroutine, more than once, perhaps in two at a time, also
// if fn fails or DoAfter has returned, and says the same each time; nil means that there is
// nothing to wait for.
func (c *Committer) DoAfter(ctx context.Context, wait, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.once.Do(c.init)
	j := &job{fn: fn, ahead: wait, wait: wait}
	b, err := c.join(j)
	if err != nil {
		return err
	}
	defer c.users.Done()
	select {
	case c.turn <- struct{}{}:
		c.lead(b)
	case <-b.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(waiting, gone) {
			c.dequeue(1)
			return ctx.Err()
		}
		<-b.done
	}
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.err
}

func (c *Committer) join(j *job) (*batch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	c.users.Add(1)
	c.queued++
	b := c.open
	b.jobs = append(b.jobs, j)
	most := c.MaxBatch
	if most == 0 {
		most = 256
	}
	if len(b.jobs) >= most {
		c.open = &batch{done: make(chan struct{})}
	}
	return b, nil
}

// Waiting is how many functions wait for a batch to end before theirs runs.
func (c *Committer) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

func (c *Committer) dequeue(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= n
}

// lead runs b, unless another did just before us. The caller has the turn.
func (c *Committer) lead(b *batch) {
	defer func() { <-c.turn }()
	select {
	case <-b.done:
		return
	default:
	}
	c.mu.Lock()
	if c.open == b {
		c.open = &batch{done: make(chan struct{})}
	}
	c.mu.Unlock()
	jobs := make([]*job, 0, len(b.jobs))
	for _, j := range b.jobs {
		if j.state.CompareAndSwap(waiting, taken) {
			jobs = append(jobs, j)
		}
	}
	c.dequeue(len(jobs))
	// Those of this batch are woken before the turn is given on, so that it
	// goes to one who still has something to do.
	defer close(b.done)
	if len(jobs) > 0 {
		c.run(jobs)
	}
}

func (c *Committer) run(jobs []*job) {
	finished := false
	defer func() {
		if !finished { // a function called runtime.Goexit, as t.FailNow does
			c.Target.Rollback()
			fail(jobs, errExited)
		}
	}()
	firm := false
	for len(jobs) > 0 {
		err := c.try(jobs, firm)
		if err == errTainted && !firm {
			firm = true
			continue
		}
		if err == errLost {
			jobs = slices.DeleteFunc(jobs, func(j *job) bool { return j.lost != nil })
			continue
		}
		if err != nil {
			fail(jobs, err)
		}
		break
	}
	finished = true
}

// fail gives err to those that have none of their own.
func fail(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err == nil {
			j.err = err
		}
	}
}

func (c *Committer) try(jobs []*job, firm bool) (err error) {
	if err := c.Target.Begin(); err != nil {
		return err
	}
	for _, j := range jobs {
		if err = c.one(j, firm); err != nil {
			break
		}
	}
	if err == nil {
		if err = c.Target.Flush(); err != nil && !firm && len(jobs) > 1 {
			err = errTainted // by one of them
		}
	}
	if err == nil && !wait(jobs) {
		err = errLost
	}
	if err == nil {
		c.waitAhead()
		err = c.Target.Commit()
	}
	if err == nil {
		return nil
	}
	c.Target.Rollback()
	if err == errTainted && len(jobs) == 1 {
		return nil // nobody else is to be spared: the rollback was the undo
	}
	return err
}

// wait waits for what those whose functions went well wait for. It reports whether
// all of it came.
func wait(jobs []*job) bool {
	all := true
	for _, j := range jobs {
		if j.wait == nil || j.err != nil {
			continue
		}
		if j.lost = j.call(j.wait); j.lost != nil {
			j.err, all = j.lost, false
		} else {
			j.wait = nil
		}
	}
	return all
}

// waitAhead begins to wait for what those of the next batch wait for, while this one
// is committed, so that the two syncs take the time of one. What comes of it the
// next leader learns when it asks again.
func (c *Committer) waitAhead() {
	c.mu.Lock()
	jobs := slices.Clone(c.open.jobs)
	c.mu.Unlock()
	jobs = slices.DeleteFunc(jobs, func(j *job) bool { return j.ahead == nil || j.state.Load() == gone })
	if len(jobs) == 0 {
		return
	}
	c.users.Go(func() {
		for _, j := range jobs {
			func() {
				defer func() { _ = recover() }() // the next leader gets it too
				_ = j.ahead()
			}()
		}
	})
}

// one runs a function. What it returns concerns the whole batch.
func (c *Committer) one(j *job, firm bool) error {
	j.err, j.panicked = nil, nil
	if err := c.Target.Mark(firm); err != nil {
		return err
	}
	if j.err = j.call(j.fn); j.err == nil {
		j.err = c.Target.Keep(firm)
	}
	if j.err == nil {
		return nil
	}
	ok, err := c.Target.Undo(firm)
	switch {
	case err != nil: // for all, who are to hear what began it
		return errors.Join(err, j.err)
	case !ok:
		return errTainted
	}
	return nil
}

// call keeps a panic for the goroutine whose function it was.
func (j *job) call(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			j.panicked, err = p, errPanic
		}
	}()
	return fn()
}

// Close lets those that wait finish, and refuses new ones.
func (c *Committer) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.users.Wait()
}
