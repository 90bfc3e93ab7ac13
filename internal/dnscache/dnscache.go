// Package dnscache keeps the answers of a resolver for a short while, so that filters
// that judge one message, and the next ones of the same sender, ask once.
//
// A *net.Resolver does not tell how long an answer holds. So answers are kept for a
// minute, and failures for as long as it takes a name server to be overrun by a
// thousand messages that all wait for it: a few seconds. What is kept is bounded in number
// and in bytes. Callers that ask the same at a time share one question.
package dnscache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
)

// A Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// A Cache is a Resolver before another. Resolver is required. It is used from many
// goroutines; answers are the caller's own.
type Cache struct {
	Resolver Resolver
	// Keep is how long an answer is kept; zero means 1 minute. KeepNone is for the answer
	// that there is nothing; zero means 30 s. KeepFailed is for a failure; zero means 5 s.
	Keep, KeepNone, KeepFailed time.Duration
	// Timeout is how long a question may take; zero means 10 s. A caller whose context
	// ends sooner waits no longer than that.
	Timeout time.Duration
	// MaxEntries and MaxBytes bound what is kept; zero means 10,000 and 8 MiB.
	MaxEntries, MaxBytes int
	Clock                mailkeel.Clock // for how old answers are; nil means real time

	mu     sync.Mutex
	asking map[string]*question
	// Entries are in the newer of two generations or in the older, which is dropped
	// when the newer is half of what is allowed.
	newer, older map[string]entry
	bytes        int // of newer
}

type entry struct {
	answer any
	err    error
	until  time.Time
}

// A question is one that somebody asks now.
type question struct {
	done chan struct{}
	entry
}

var _ Resolver = (*Cache)(nil)

func (c *Cache) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return lookup(ctx, c, "TXT ", name, slices.Clone, func(ctx context.Context) ([]string, error) { return c.Resolver.LookupTXT(ctx, name) })
}

func (c *Cache) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return lookup(ctx, c, "MX ", name, cloneMX, func(ctx context.Context) ([]*net.MX, error) { return c.Resolver.LookupMX(ctx, name) })
}

func (c *Cache) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	return lookup(ctx, c, "IP ", host, cloneIP, func(ctx context.Context) ([]net.IPAddr, error) { return c.Resolver.LookupIPAddr(ctx, host) })
}

func (c *Cache) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return lookup(ctx, c, "PTR ", addr, slices.Clone, func(ctx context.Context) ([]string, error) { return c.Resolver.LookupAddr(ctx, addr) })
}

func cloneMX(all []*net.MX) []*net.MX {
	var own []*net.MX
	for _, mx := range all {
		m := *mx
		own = append(own, &m)
	}
	return own
}

func cloneIP(all []net.IPAddr) []net.IPAddr {
	var own []net.IPAddr
	for _, a := range all {
		own = append(own, net.IPAddr{IP: slices.Clone(a.IP), Zone: a.Zone})
	}
	return own
}

func lookup[T any](ctx context.Context, c *Cache, kind, name string, clone func(T) T, ask func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	key := kind + strings.ToLower(name)
	e, q, mine := c.find(key)
	if mine {
		go c.ask(ctx, key, q, func(ctx context.Context) (any, error) { return ask(ctx) })
	}
	if q != nil {
		select {
		case <-q.done:
			e = q.entry
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
	}
	answer, _ := e.answer.(T)
	return clone(answer), e.err
}

// find returns what is known, or the question that is being asked, and whether the caller
// has to ask it.
func (c *Cache) find(key string) (entry, *question, bool) {
	now := mailkeel.ClockOr(c.Clock).Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range []map[string]entry{c.newer, c.older} {
		if e, ok := m[key]; ok && now.Before(e.until) {
			return e, nil, false
		}
	}
	if q := c.asking[key]; q != nil {
		return entry{}, q, false
	}
	q := &question{done: make(chan struct{})}
	if c.asking == nil {
		c.asking = map[string]*question{}
	}
	c.asking[key] = q
	return entry{}, q, true
}

// ask asks, for everybody who waits: that the first of them goes away ends it for
// nobody.
func (c *Cache) ask(ctx context.Context, key string, q *question, fn func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(c.Timeout, 10*time.Second))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			q.err = &net.DNSError{Err: fmt.Sprint("the resolver panicked: ", p), Name: key, IsTemporary: true}
		}
		c.put(key, q)
	}()
	q.answer, q.err = fn(ctx)
}

// put ends a question and keeps its answer.
func (c *Cache) put(key string, q *question) {
	keep := cmp.Or(c.Keep, time.Minute)
	var e *net.DNSError
	switch {
	case errors.As(q.err, &e) && e.IsNotFound:
		keep = cmp.Or(c.KeepNone, 30*time.Second)
	case q.err != nil:
		keep = cmp.Or(c.KeepFailed, 5*time.Second)
	}
	q.until = mailkeel.ClockOr(c.Clock).Now().Add(keep)
	n := 200 + len(key) + size(q.answer)
	entries, bytes := max(2, cmp.Or(c.MaxEntries, 10_000))/2, cmp.Or(c.MaxBytes, 8<<20)/2

	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asking, key)
	close(q.done)
	if n > bytes/16 {
		return // for one that is so large many others would have to go
	}
	if c.newer == nil || len(c.newer) >= entries || c.bytes+n > bytes {
		c.older, c.newer, c.bytes = c.newer, map[string]entry{}, 0
	}
	if old, ok := c.newer[key]; ok {
		c.bytes -= 200 + len(key) + size(old.answer)
	}
	c.newer[key] = q.entry
	c.bytes += n
}

// size is about how many bytes an answer has.
func size(answer any) (n int) {
	switch a := answer.(type) {
	case []string:
		for _, s := range a {
			n += 16 + len(s)
		}
	case []*net.MX:
		for _, mx := range a {
			n += 32 + len(mx.Host)
		}
	case []net.IPAddr:
		n = 56 * len(a)
	}
	return n
}
