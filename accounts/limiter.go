package accounts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
)

// A KV is expiring state that processes share, like store.KV. The Limiter calls it
// from many goroutines. It may lose everything in a crash.
type KV interface {
	// Update calls fn with the value of key, nil if there is none or it has
	// expired, and stores what fn returns for ttl, or removes key if that is
	// nil. No other Update of key runs between. fn may run again. An error of
	// fn is returned and changes nothing.
	Update(ctx context.Context, key string, ttl time.Duration, fn func(old []byte) ([]byte, error)) error
}

// A Limiter slows down those who guess passwords. It counts wrong logins
//
//   - for one login from one network (/24 of IPv4, /64 of IPv6): after Free of
//     them each must wait, 1 s at first, twice as long each time, at most MaxDelay;
//   - from one network, whatever the login: likewise after FreeNet;
//   - for one login, from wherever: after FreeLogin one may try each second.
//
// An Attempt that must wait is answered with ErrThrottled before its password is
// looked at, right or wrong, and does not count. A right password forgets the wrong
// ones of its login and network.
//
// An address from which someone logged in with success of late is known: its
// attempts are counted apart, for this address alone, so that nobody can lock the
// owner of an account out from there, not even a neighbour.
//
// If the KV fails, logins are let through and the failure is logged: a Limiter that
// cannot count must not close all doors. What it bounds is guessing over the
// network; the hash is what protects passwords.
type Limiter struct {
	KV        KV            // required
	Free      int           // zero means 10
	FreeNet   int           // zero means 100
	FreeLogin int           // zero means 100
	MaxDelay  time.Duration // zero means 1 minute
	// Forget is how long wrong logins count after the last one; zero means 1
	// hour.
	Forget time.Duration
	// Known is how long an address is known after a success; zero means 90 days.
	Known  time.Duration
	Clock  mailkeel.Clock // nil means real time
	Logger *slog.Logger   // nil means discard

	mu    sync.Mutex
	lanes map[string]*lane
}

// A counter is one thing that is counted.
type counter struct {
	key  string
	free int
	most time.Duration // longest delay
}

// A ticket is an attempt that was let through.
type ticket struct {
	attempt  Attempt
	counters []counter
	taken    []bool // counted as wrong already, because they were over
	dirty    bool   // the first counter is not zero
	known    string // key
	renew    bool   // known is missing or old
	leave    func()
}

// keyOf hashes what identifies a counter: logins are long, and none of a database
// of counters' business.
func keyOf(kind string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "login-" + kind + "-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// network is what an address is counted with.
func network(a netip.Addr) string {
	if !a.IsValid() {
		return "local"
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p.String()
}

// exact is what an address is known by.
func exact(a netip.Addr) string {
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	return network(a) // a host with IPv6 has a new address each day
}

// count is the value of a counter.
type count struct {
	wrong uint32
	next  time.Time // no attempt before
}

func decode(b []byte) (c count) {
	if len(b) == 12 {
		c.wrong = binary.BigEndian.Uint32(b)
		c.next = time.Unix(0, int64(binary.BigEndian.Uint64(b[4:])))
	}
	return c
}

func (c count) encode() []byte {
	if c.wrong == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint32(nil, c.wrong)
	return binary.BigEndian.AppendUint64(b, uint64(c.next.UnixNano()))
}

// add counts one more as wrong at a time, and says how long to wait.
func (c *count) add(k counter, now time.Time) {
	if c.wrong++; int(c.wrong) < k.free {
		return
	}
	delay := k.most
	if n := int(c.wrong) - k.free; n < 20 {
		delay = min(time.Second<<n, k.most)
	}
	c.next = now.Add(delay)
}

var errUnchanged = errors.New("accounts: unchanged")

// update changes a counter. A KV that fails leaves it as it was.
func (l *Limiter) update(ctx context.Context, key string, ttl time.Duration, fn func([]byte) ([]byte, error)) {
	err := l.KV.Update(ctx, key, ttl, fn)
	if err != nil && !errors.Is(err, errUnchanged) && ctx.Err() == nil && l.Logger != nil {
		l.Logger.Error("accounts: cannot count logins, and lets them through", "err", err)
	}
}

func (l *Limiter) forget() time.Duration { return cmp.Or(l.Forget, time.Hour) }

func (l *Limiter) now() time.Time { return mailkeel.ClockOr(l.Clock).Now() }

// counters returns what an attempt is counted with; the first is what a success
// clears.
func (l *Limiter) counters(ctx context.Context, a Attempt) *ticket {
	login, err := Canonical(a.Login)
	if err != nil {
		login = strings.ToLower(a.Login)
	}
	most := cmp.Or(l.MaxDelay, time.Minute)
	net := counter{keyOf("net", network(a.Addr)), cmp.Or(l.FreeNet, 100), most}
	if login == "" { // a token
		return &ticket{attempt: a, counters: []counter{net}}
	}
	t := &ticket{attempt: a, known: keyOf("known", login, exact(a.Addr)), renew: true}
	known, now := false, l.now()
	l.update(ctx, t.known, 0, func(old []byte) ([]byte, error) {
		if known = len(old) == 8; known {
			t.renew = now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(old)))) > 24*time.Hour
		}
		return nil, errUnchanged
	})
	free := cmp.Or(l.Free, 10)
	if known {
		t.counters = []counter{{keyOf("own", login, exact(a.Addr)), free, most}}
	} else {
		t.counters = []counter{{keyOf("pair", login, network(a.Addr)), free, most}, net,
			{keyOf("all", login), cmp.Or(l.FreeLogin, 100), time.Second}}
	}
	return t
}

// look returns ErrThrottled if an attempt must wait, and takes nothing.
func (l *Limiter) look(ctx context.Context, a Attempt) error {
	now, wait := l.now(), false
	for _, k := range l.counters(ctx, a).counters {
		l.update(ctx, k.key, 0, func(old []byte) ([]byte, error) {
			wait = wait || now.Before(decode(old).next)
			return nil, errUnchanged
		})
	}
	if wait {
		return ErrThrottled
	}
	return nil
}

// enter lets an attempt through, which leaves with end, or returns ErrThrottled.
// What is over its limit is counted as wrong beforehand, so that of many attempts
// at one time one gets through.
func (l *Limiter) enter(ctx context.Context, a Attempt) (*ticket, error) {
	t := l.counters(ctx, a)
	leave, err := l.line(ctx, t.counters[0].key)
	if err != nil {
		return nil, err
	}
	t.leave = leave
	for i, k := range t.counters {
		wait, took := false, false
		l.update(ctx, k.key, l.forget(), func(old []byte) ([]byte, error) {
			wait, took = false, false
			now, c := l.now(), decode(old)
			t.dirty = t.dirty || i == 0 && c.wrong > 0
			if wait = now.Before(c.next); wait || int(c.wrong) < k.free {
				return nil, errUnchanged
			}
			took = true
			c.add(k, now)
			return c.encode(), nil
		})
		t.taken = append(t.taken, took)
		if wait {
			l.end(ctx, t, ErrThrottled)
			return nil, ErrThrottled
		}
	}
	return t, nil
}

// end counts how an attempt went.
func (l *Limiter) end(ctx context.Context, t *ticket, err error) {
	defer t.leave()
	ctx = context.WithoutCancel(ctx) // who hangs up is counted too
	wrong, over := errors.Is(err, ErrBadCredentials), false
	for i, took := range t.taken {
		k := t.counters[i]
		switch {
		case wrong && !took:
			l.update(ctx, k.key, l.forget(), func(old []byte) ([]byte, error) {
				c := decode(old)
				c.add(k, l.now())
				over = over || int(c.wrong) == k.free
				return c.encode(), nil
			})
		case err == nil && i == 0 && t.known != "":
			if t.dirty {
				l.update(ctx, k.key, l.forget(), func([]byte) ([]byte, error) { return nil, nil })
			}
		case !wrong && took: // give it back
			l.update(ctx, k.key, l.forget(), func(old []byte) ([]byte, error) {
				c := decode(old)
				c.wrong = max(c.wrong, 1) - 1
				return c.encode(), nil
			})
		}
	}
	if err == nil && t.known != "" && t.renew {
		l.update(ctx, t.known, cmp.Or(l.Known, 90*24*time.Hour), func([]byte) ([]byte, error) {
			return binary.BigEndian.AppendUint64(nil, uint64(l.now().UnixMilli())), nil
		})
	}
	if over && l.Logger != nil {
		a := t.attempt
		l.Logger.Warn("accounts: many wrong logins, and slows them down", "login", a.Login, "addr", a.Addr, "door", a.Door)
	}
}

// abreast is how many attempts of one login and network are looked at side by
// side. Others queue, so that a burst of guesses does not pass before the first is
// counted.
const abreast = 4

type lane struct {
	slots chan struct{}
	users int
}

// line waits for a place.
func (l *Limiter) line(ctx context.Context, key string) (leave func(), err error) {
	l.mu.Lock()
	if l.lanes == nil {
		l.lanes = map[string]*lane{}
	}
	q := l.lanes[key]
	if q == nil {
		q = &lane{slots: make(chan struct{}, abreast)}
		l.lanes[key] = q
	}
	q.users++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(l.lanes, key)
		}
	}
	select {
	case q.slots <- struct{}{}:
		return func() { <-q.slots; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, context.Cause(ctx)
	}
}
