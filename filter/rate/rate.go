// Package rate is a filter that limits how much one client address or one account
// sends.
//
// An address is limited in connections, messages and recipients, and who has logged
// in is limited by the account instead, so that a stolen password cannot send much
// before somebody looks. What is over a limit is refused for now: 421 for a
// connection, 450 for the rest (RFC 5321, 4.2.3), and a client that waits gets its
// mail through. Clients that the door trusts have no limits.
//
// Limits are token buckets: a Limit of 100 an hour lets 100 pass at once, and then
// one each 36 seconds. What is refused takes nothing, so it does not help a client
// to hammer, and does not hurt it either. Counters live in a store.KV, which several
// processes may share; one that fails lets mail pass.
package rate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/store"
)

// A Limit is N in a time of Per. An N of zero or less lets nothing pass.
type Limit struct {
	N   int
	Per time.Duration
}

func (l Limit) String() string { return fmt.Sprintf("%d in %v", l.N, l.Per) }

// Limits hold all at once. Each field that is nil means what is written there; an
// empty one means no limit.
type Limits struct {
	Conns    []Limit
	Messages []Limit
	Rcpts    []Limit
}

// Filter is a filter.Filter. KV is required. A message counts at MAIL and a
// recipient at RCPT, whatever becomes of them.
type Filter struct {
	KV store.KV
	// Address limits each address that has not logged in; for IPv6 each /64.
	// Connections over a Unix socket have none. Zero means 100 connections, 300
	// messages and 1,000 recipients in a minute.
	Address Limits
	// Account limits each account. Zero means 500 messages in an hour and 2,000
	// in a day, and twice as many recipients; connections have no account.
	Account Limits
	Clock   mailkeel.Clock // nil means real time
}

var (
	_ filter.ConnFilter    = (*Filter)(nil)
	_ filter.SenderFilter  = (*Filter)(nil)
	_ filter.RcptFilter    = (*Filter)(nil)
	_ filter.SessionFilter = (*Filter)(nil)
	_ filter.PromptFilter  = (*Filter)(nil)
	_ filter.PromptFilter  = (*session)(nil)
)

// Name is "x-rate".
func (f *Filter) Name() string { return "x-rate" }

// Prompt is what KV says of itself, if it has such a method: one in memory is prompt.
func (f *Filter) Prompt() bool {
	p, ok := f.KV.(interface{ Prompt() bool })
	return ok && p.Prompt()
}

func or(l, zero []Limit) []Limit {
	if l == nil {
		return zero
	}
	return l
}

// NewSession returns a Filter for one connection, which is counted once, though
// asked about again after STARTTLS.
func (f *Filter) NewSession(context.Context, *mailkeel.Origin) (filter.Filter, error) {
	return &session{f: f}, nil
}

type session struct {
	f       *Filter
	counted atomic.Bool // a call that was left behind may still run
}

func (s *session) Name() string { return s.f.Name() }
func (s *session) Prompt() bool { return s.f.Prompt() }

// FilterConn counts the first time.
func (s *session) FilterConn(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if s.counted.Swap(true) {
		return filter.Verdict{}, nil
	}
	v, err := s.f.FilterConn(ctx, t)
	if err != nil {
		s.counted.Store(false)
	}
	return v, err
}

func (s *session) FilterSender(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return s.f.FilterSender(ctx, t)
}

func (s *session) FilterRcpt(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return s.f.FilterRcpt(ctx, t)
}

func (f *Filter) FilterConn(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	addr, ok := address(t)
	if !ok {
		return filter.Verdict{}, nil
	}
	return f.take(ctx, "conns", "address "+addr, or(f.Address.Conns, []Limit{{100, time.Minute}}),
		mailkeel.Error{Code: 421, Enhanced: [3]int{4, 7, 0}, Message: "too many connections from your address, try again later"})
}

func (f *Filter) FilterSender(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return f.count(ctx, t, "messages",
		or(f.Address.Messages, []Limit{{300, time.Minute}}),
		or(f.Account.Messages, []Limit{{500, time.Hour}, {2000, 24 * time.Hour}}))
}

func (f *Filter) FilterRcpt(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	return f.count(ctx, t, "recipients",
		or(f.Address.Rcpts, []Limit{{1000, time.Minute}}),
		or(f.Account.Rcpts, []Limit{{1000, time.Hour}, {4000, 24 * time.Hour}}))
}

// count takes one from the account, or else the address.
func (f *Filter) count(ctx context.Context, t *filter.Transaction, what string, byAddress, byAccount []Limit) (filter.Verdict, error) {
	no := mailkeel.Error{Code: 450, Enhanced: [3]int{4, 7, 1}}
	if t.Origin != nil && t.Origin.Identity != "" && !t.Trusted {
		return f.take(ctx, what, "account "+string(t.Origin.Identity), byAccount, no)
	}
	if addr, ok := address(t); ok {
		return f.take(ctx, what, "address "+addr, byAddress, no)
	}
	return filter.Verdict{}, nil
}

// address is what is counted for a client, if it is.
func address(t *filter.Transaction) (string, bool) {
	if t.Origin == nil || t.Trusted || !t.Origin.Addr.IsValid() {
		return "", false
	}
	a := t.Origin.Addr.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String(), true
	}
	p, err := a.Prefix(64)
	return p.String(), err == nil && a != netip.Addr{}
}

var errOver = errors.New("rate: over the limit")

// take takes a token from each bucket, or from none.
//
// A bucket is the time at which it will be full again (the generic cell rate
// algorithm): each token puts it off by Per/N, and it must not get further away
// than Per. So a value is eight bytes for each limit, and expires when full.
func (f *Filter) take(ctx context.Context, what, who string, limits []Limit, no mailkeel.Error) (filter.Verdict, error) {
	if len(limits) == 0 {
		return filter.Verdict{}, nil
	}
	now := mailkeel.ClockOr(f.Clock).Now().UnixNano()
	var ttl time.Duration
	for _, l := range limits {
		ttl = max(ttl, l.Per)
	}
	var over Limit
	err := f.KV.Update(ctx, "rate "+what+" "+who, ttl, func(old []byte) ([]byte, error) {
		value := make([]byte, 0, 8*len(limits))
		for i, l := range limits {
			full := now
			if len(old) == 8*len(limits) { // else the limits were changed
				full = max(now, int64(binary.BigEndian.Uint64(old[8*i:])))
			}
			if full-now > int64(l.Per) { // or the clock was
				full = now
			}
			if l.N > 0 {
				full += int64(l.Per) / int64(l.N)
			}
			if l.N <= 0 || full-now > int64(l.Per) {
				over = l
				return nil, errOver
			}
			value = binary.BigEndian.AppendUint64(value, uint64(full))
		}
		return value, nil
	})
	switch {
	case errors.Is(err, errOver):
		if no.Message == "" {
			no.Message = "too many " + what + ", try again later"
		}
		return filter.Verdict{Refuse: &no, Why: fmt.Sprintf("%s has sent more than %v %s", who, over, what)}, nil
	case err != nil:
		return filter.Verdict{}, fmt.Errorf("rate: %w", err)
	}
	return filter.Verdict{}, nil
}
