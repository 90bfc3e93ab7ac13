package sqlaccounts

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/sqldb"
)

const (
	// maxMemory is how many answers are remembered, and maxTargets how many
	// targets one of them may have: together less than 4 MB.
	maxMemory  = 4096
	maxTargets = 4
	// memoryTime is how long, though every change that comes through the
	// Directory makes it forget: somebody may edit the database by hand.
	memoryTime = time.Second
)

// memory holds answers of the database, because a server asks the same for each
// recipient of each message. It is that of the time since the last change.
type memory struct {
	mu       sync.Mutex
	epoch    uint64 // counts how often it was emptied
	since    time.Time
	resolved map[string]resolved
	limits   map[mailkeel.AccountID]mailkeel.Quota
}

type resolved struct {
	targets []accounts.Target
	err     error
}

// open returns the epoch in which an answer may be put, with the mutex held.
func (m *memory) open(now time.Time) uint64 {
	if len(m.resolved)+len(m.limits) >= maxMemory || now.Sub(m.since) >= memoryTime {
		m.empty()
		m.since = now
	}
	return m.epoch
}

func (m *memory) empty() {
	m.epoch++
	clear(m.resolved)
	clear(m.limits)
}

// forget is called after each change, also one that failed: it may be there.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.empty()
}

// put runs fn if nothing has changed since epoch.
func (m *memory) put(epoch uint64, fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch != epoch {
		return
	}
	if m.resolved == nil {
		m.resolved, m.limits = map[string]resolved{}, map[mailkeel.AccountID]mailkeel.Quota{}
	}
	fn()
}

func (m *memory) resolution(now time.Time, addr string) (r resolved, epoch uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	epoch = m.open(now)
	r, ok = m.resolved[addr]
	return r, epoch, ok
}

func (m *memory) limit(now time.Time, id mailkeel.AccountID) (q mailkeel.Quota, epoch uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	epoch = m.open(now)
	q, ok = m.limits[id]
	return q, epoch, ok
}

// Resolve asks the database, or its memory if Sole.
func (d *Directory) Resolve(ctx context.Context, addr string) (accounts.Resolution, error) {
	if !d.Sole || len(addr) > 320 {
		return d.resolve(ctx, addr)
	}
	a, epoch, ok := d.memory.resolution(d.now(), addr)
	if ok {
		return accounts.Resolution{Targets: slices.Clone(a.targets)}, a.err
	}
	r, err := d.resolve(ctx, addr)
	if err == nil && len(r.Targets) <= maxTargets || errors.Is(err, accounts.ErrNotLocal) {
		d.memory.put(epoch, func() { d.memory.resolved[addr] = resolved{slices.Clone(r.Targets), err} })
	}
	return r, err
}

// Limit asks the database, or its memory if Sole.
func (d *Directory) Limit(ctx context.Context, id mailkeel.AccountID) (mailkeel.Quota, error) {
	if !d.Sole {
		return d.limit(ctx, id)
	}
	q, epoch, ok := d.memory.limit(d.now(), id)
	if ok {
		return q, nil
	}
	q, err := d.limit(ctx, id)
	if err == nil {
		d.memory.put(epoch, func() { d.memory.limits[id] = q })
	}
	return q, err
}

// update is Update of the database, after which nothing is remembered. No other
// runs beside: they are few, and what one looks up stays true until it ends.
func (d *Directory) update(ctx context.Context, fn func(sqldb.Conn) error) error {
	defer d.memory.forget()
	return d.db.Update(ctx, func(c sqldb.Conn) error {
		if err := sqldb.Lock(c, "accounts"); err != nil {
			return err
		}
		return fn(c)
	})
}

func (d *Directory) now() time.Time { return mailkeel.ClockOr(d.Clock).Now() }
