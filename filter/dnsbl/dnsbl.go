// Package dnsbl is a filter that asks DNS lists about the address of a client (RFC
// 5782): block lists, whose entries make mail worse, and allow lists, whose entries
// make it better.
//
// Each List has a score, or one for each code that it answers with. The sum over all
// lists is the score of the connection, and so of each of its messages; a connection
// that comes to RefuseAt is refused, in the mode Enforce. So one list alone need not
// decide.
//
// An address is asked about once for a connection, all lists at a time, and the answer
// is kept for a while. Clients that the door trusts, and addresses that are not of the
// public network, are asked about nowhere. A list that does not answer has no opinion.
// Nor has one that lists everybody, as lists do that were shut down: an answer counts
// only if the list does not list 127.0.0.1, which none may (RFC 5782, 5).
package dnsbl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
)

// A Resolver looks up A records, of names that end in a dot. *net.Resolver is one. An
// error that is a *net.DNSError with IsNotFound means that there is none; any other,
// that the answer could not be had.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

var _ Resolver = (*net.Resolver)(nil)

// A List is a zone that is asked.
type List struct {
	Zone string // "list.example.org"
	// Score is what an entry adds: more than zero for a block list, less for an allow
	// list. Zero means 3.
	Score float64
	// Codes, if set, are the answers that count, and what each adds instead of Score,
	// zero meaning Score. Each octet is a number, a range or *: "127.0.0.2-11",
	// "127.0.*.3". Without Codes all answers in 127.0.0.0/8 count, but for 127.0.0.1
	// and 127.255.255.0/24, with which lists say that they were asked wrongly. Of
	// several answers the one furthest from zero counts.
	Codes map[string]float64
	// NoIPv4 and NoIPv6 are for lists that do not have such addresses.
	NoIPv4, NoIPv6 bool
}

// Filter is a filter.Filter. Without Lists it has no opinion. Fields are not changed
// after the first use.
type Filter struct {
	Lists    []List
	Resolver Resolver // nil means net.DefaultResolver
	// RefuseAt is the sum of scores with which a connection is refused; zero means 5,
	// negative never. The mode Mark leaves all to the thresholds of the Chain, and Log
	// only tells.
	RefuseAt float64
	Mode     filter.Mode
	// Timeout is how long a list has to answer; zero means 5 seconds.
	Timeout time.Duration
	// Keep is for how long answers are used again; zero means 5 minutes. MaxKept is how
	// many are kept; zero means 10,000.
	Keep    time.Duration
	MaxKept int
	// MaxLookups is how many look-ups run at a time, for all connections; zero means
	// 200. Others wait for their turn.
	MaxLookups int
	Clock      mailkeel.Clock // nil means real time

	once  sync.Once
	turns chan struct{}
	kept  answers
	tests answers // whether a list lists everybody
}

var (
	_ filter.ConnFilter    = (*Filter)(nil)
	_ filter.SessionFilter = (*Filter)(nil)
)

// Name is "x-dnsbl".
func (f *Filter) Name() string { return "x-dnsbl" }

// Check returns what is wrong with Lists: a zone that is no name, a code that is no
// pattern of an address.
func (f *Filter) Check() error {
	var errs []error
	for _, l := range f.Lists {
		if z := strings.TrimSuffix(l.Zone, "."); z == "" || len(z) > 180 || strings.ContainsAny(z, " /@:") {
			errs = append(errs, fmt.Errorf("dnsbl: %q is no zone", l.Zone))
		}
		for c := range l.Codes {
			if _, err := parsePattern(c); err != nil {
				errs = append(errs, fmt.Errorf("dnsbl: %s: %w", l.Zone, err))
			}
		}
	}
	return errors.Join(errs...)
}

// NewSession returns a Filter for one connection, which is looked up once, though asked
// about again after STARTTLS.
func (f *Filter) NewSession(context.Context, *mailkeel.Origin) (filter.Filter, error) {
	return &session{f: f}, nil
}

type session struct {
	f    *Filter
	said atomic.Pointer[filter.Verdict]
}

func (s *session) Name() string { return s.f.Name() }

// FilterConn says the same each time.
func (s *session) FilterConn(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if v := s.said.Load(); v != nil {
		return *v, nil
	}
	v, err := s.f.FilterConn(ctx, t)
	if err == nil {
		s.said.Store(&v)
	}
	return v, err
}

// FilterConn asks all lists. If none of them answers, the error says so.
func (f *Filter) FilterConn(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	addr, ok := public(t)
	if !ok {
		return filter.Verdict{}, nil
	}
	f.once.Do(func() {
		f.turns = make(chan struct{}, cmp.Or(f.MaxLookups, 200))
		f.kept.max, f.tests.max = cmp.Or(f.MaxKept, 10_000), cmp.Or(f.MaxKept, 10_000)
	})
	found := make([]opinion, len(f.Lists))
	var wg sync.WaitGroup
	for i := range f.Lists {
		if l := &f.Lists[i]; addr.Is4() && !l.NoIPv4 || addr.Is6() && !l.NoIPv6 {
			found[i].asked = true
			wg.Go(func() { found[i].score, found[i].code, found[i].err = f.ask(ctx, l, addr) })
		}
	}
	wg.Wait()
	var v filter.Verdict
	var why, worse []string
	var errs []error
	answered := false
	for i, o := range found {
		answered = answered || o.asked && o.err == nil
		if o.err != nil {
			errs = append(errs, fmt.Errorf("dnsbl: %s: %w", f.Lists[i].Zone, o.err))
		}
		if o.code.IsValid() {
			v.Score += o.score
			why = append(why, fmt.Sprintf("%s (%s, %+g)", f.Lists[i].Zone, o.code, o.score))
			if o.score > 0 {
				worse = append(worse, f.Lists[i].Zone)
			}
		}
	}
	if len(errs) > 0 && !answered {
		return filter.Verdict{}, errors.Join(errs...)
	}
	if len(why) == 0 {
		return v, nil
	}
	v.Why = "DNS lists: " + addr.String() + " is on " + strings.Join(why, ", ")
	if at := cmp.Or(f.RefuseAt, 5); at > 0 && v.Score >= at && f.Mode == filter.Enforce {
		v.Refuse = &mailkeel.Error{Code: 554, Enhanced: [3]int{5, 7, 1}, Message: fmt.Sprintf("%s is on the block lists %s", addr, strings.Join(worse, ", "))}
	}
	return f.limit(v), nil
}

// limit leaves scores to the thresholds of the Chain in the mode Mark.
func (f *Filter) limit(v filter.Verdict) filter.Verdict {
	if f.Mode == filter.Log {
		return f.Mode.Limit(v)
	}
	return v
}

// An opinion is what one list said.
type opinion struct {
	asked bool
	score float64
	code  netip.Addr // zero if the address is not listed
	err   error
}

// notPublic are networks that nobody owns: shared by providers (RFC 6598), for
// benchmarks (RFC 2544), and for the future.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("fec0::/10"),
}

// public returns the address of a client, if lists can know of it.
func public(t *filter.Transaction) (netip.Addr, bool) {
	if t.Origin == nil || t.Trusted {
		return netip.Addr{}, false
	}
	a := t.Origin.Addr.Addr().Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return a, false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return a, false
		}
	}
	return a, true
}

// ask returns what a list says of an address.
func (f *Filter) ask(ctx context.Context, l *List, addr netip.Addr) (float64, netip.Addr, error) {
	codes, err := f.lookUp(ctx, &f.kept, l.Zone, addr, cmp.Or(f.Keep, 5*time.Minute))
	if err != nil {
		return 0, netip.Addr{}, err
	}
	score, code := l.judge(codes)
	if !code.IsValid() {
		return 0, code, nil
	}
	// It counts if the list does not list everybody.
	test := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if addr.Is6() {
		test = netip.AddrFrom16(test.As16()) // ::ffff:127.0.0.1
	}
	all, err := f.lookUp(ctx, &f.tests, l.Zone, test, time.Hour)
	if err != nil {
		return 0, netip.Addr{}, err
	}
	if len(all) > 0 {
		return 0, netip.Addr{}, nil
	}
	return score, code, nil
}

// lookUp returns the answers of a zone, from what is kept if it can.
func (f *Filter) lookUp(ctx context.Context, in *answers, zone string, addr netip.Addr, keep time.Duration) ([]netip.Addr, error) {
	name := Query(addr, zone)
	clock := mailkeel.ClockOr(f.Clock)
	if codes, ok := in.get(name, clock.Now()); ok {
		return codes, nil
	}
	select {
	case f.turns <- struct{}{}:
		defer func() { <-f.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := clock.NewTimer(cmp.Or(f.Timeout, 5*time.Second))
	defer timer.Stop()
	type answer struct {
		codes []netip.Addr
		err   error
	}
	ch := make(chan answer, 1)
	go func() {
		var r Resolver = net.DefaultResolver
		if f.Resolver != nil {
			r = f.Resolver
		}
		codes, err := r.LookupNetIP(ctx, "ip4", name)
		ch <- answer{codes, err}
	}()
	var a answer
	select {
	case a = <-ch:
	case <-ctx.Done():
		a.err = context.Cause(ctx)
	case <-timer.C():
		a.err = errNoAnswer
	}
	var none *net.DNSError
	if errors.As(a.err, &none) && none.IsNotFound {
		a.codes, a.err = nil, nil
	}
	if a.err == nil {
		if len(a.codes) > maxCodes {
			a.codes = a.codes[:maxCodes]
		}
		in.put(name, a.codes, clock.Now(), keep)
	}
	return a.codes, a.err
}

var errNoAnswer = errors.New("no answer in time")

// maxCodes bounds the answers to one question that are looked at.
const maxCodes = 50

// Query is the name under which a zone has an address: the octets of IPv4, or the 32
// nibbles of IPv6, backwards (RFC 5782, 2.1 and 2.4). It ends in a dot.
func Query(addr netip.Addr, zone string) string {
	var b strings.Builder
	if addr.Is4() {
		a := addr.As4()
		for i := len(a) - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "%d.", a[i])
		}
	} else {
		a := addr.As16()
		for i := len(a) - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "%x.%x.", a[i]&15, a[i]>>4)
		}
	}
	return b.String() + strings.TrimSuffix(zone, ".") + "."
}
