package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/attachment"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/filter/dmarc"
	"github.com/mailkeel/mailkeel/filter/dnsbl"
	"github.com/mailkeel/mailkeel/filter/headers"
	"github.com/mailkeel/mailkeel/filter/rate"
	"github.com/mailkeel/mailkeel/filter/spf"
	"github.com/mailkeel/mailkeel/internal/dnscache"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// A FilterMode is how much one of the DefaultFilters counts.
type FilterMode uint8

const (
	FilterDefault FilterMode = iota // what stands at its field
	FilterEnforce                   // it may refuse
	FilterMark                      // it may score and file in Junk
	FilterLog                       // it is heard in the log and in header fields
	FilterOff                       // it is not asked
)

var filterModes = [...]string{"default", "enforce", "mark", "log", "off"}

func (m FilterMode) String() string {
	if int(m) < len(filterModes) {
		return filterModes[m]
	}
	return fmt.Sprintf("mode %d", m)
}

// MarshalText and UnmarshalText have "default", "enforce", "mark", "log" and "off", for
// files of configuration and flags.
func (m FilterMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m *FilterMode) UnmarshalText(text []byte) error {
	for i, name := range filterModes {
		if string(text) == name {
			*m = FilterMode(i)
			return nil
		}
	}
	return fmt.Errorf("server: %.20q is none of enforce, mark, log and off", text)
}

// or returns the mode for a filter whose default is zero.
func (m FilterMode) or(zero filter.Mode) filter.Mode {
	switch m {
	case FilterEnforce:
		return filter.Enforce
	case FilterMark:
		return filter.Mark
	case FilterLog:
		return filter.Log
	}
	return zero
}

// FilterOptions are what DefaultFilters makes a chain of. All fields may be zero.
type FilterOptions struct {
	// Resolver looks names up; *net.Resolver is one. Its answers are kept for a minute. Nil
	// means that nobody is asked anything: there is no SPF, DKIM or DMARC then.
	Resolver spf.Resolver
	// SPF finds who may send for a domain; zero means to mark, for what was forwarded fails
	// too. DKIM finds who signed; it only tells the others. DMARC does what the author's
	// domain wants done with mail that neither vouches for; zero means to enforce that.
	SPF, DKIM, DMARC FilterMode
	// OneAuthor refuses what has not exactly one author, whom DMARC could judge; without it
	// that is a fail of DMARC, and junk.
	OneAuthor bool
	// Rate holds peers to Rates, for which zero means those of rate.Filter. Zero means to
	// enforce; there is nothing between that and FilterOff.
	Rate  FilterMode
	Rates rate.Limits
	// KV counts for the rates; nil means memory.
	KV store.KV
	// Headers judges the form of a header; zero means to refuse one that is too large and to
	// mark the rest. Attachment finds programs; zero means to refuse them.
	Headers, Attachment FilterMode
	// Lists are DNS lists that are asked about peers; nil means none. They are for those
	// who may ask them, and need a Resolver. DNSBL is how much they count; zero means to
	// enforce, and then a peer is refused whose scores come to 5.
	Lists []dnsbl.List
	DNSBL FilterMode
	// JunkAt is the score at which a message is junk, and RefuseAt the one at which it
	// is refused; zero means 5 and 15, and less than zero never.
	JunkAt, RefuseAt float64
	// TryAgain refuses for now, with 451, what cannot be judged because DNS does not answer;
	// without it such mail passes, with a result of temperror.
	TryAgain bool
	// Loopback judges peers on this machine like any other. Without it they are not: they
	// are programs here, or a proxy that hides who it is.
	Loopback bool
	Clock    mailkeel.Clock // nil means real time
	Logger   *slog.Logger   // nil means discard
}

// DefaultFilters returns a chain for Config.Filters: what judges mail from other servers
// without any service but DNS. The caller may change it, and add groups to it.
//
// A message has a score: SPF that fails gives it 3, DMARC that does 1 to 6, each
// kind of fault in its header 2, and DNS lists what they say. The reasons stand in X-Spam-Status, and what was found in Authentication-Results.
func DefaultFilters(o FilterOptions) *filter.Chain {
	limit := func(at, zero float64) float64 { return max(0, cmp.Or(at, zero)) }
	c := &filter.Chain{JunkAt: limit(o.JunkAt, 5), RefuseAt: limit(o.RefuseAt, 15), Clock: o.Clock, Logger: o.Logger}
	if o.TryAgain {
		c.OnError = filter.TryAgain
	}
	group := func(filters ...filter.Filter) {
		var g []filter.Filter
		for _, f := range filters {
			if f == nil {
				continue
			}
			if !o.Loopback {
				f = fromAfar{f}
			}
			g = append(g, f)
		}
		if len(g) > 0 {
			c.Groups = append(c.Groups, g)
		}
	}
	if o.Rate != FilterOff {
		kv := o.KV
		if kv == nil {
			kv = &memstore.KV{Clock: o.Clock}
		}
		// By itself, so that who is over a limit makes nobody else ask.
		group(&rate.Filter{KV: kv, Address: o.Rates, Clock: o.Clock})
	}
	if o.Resolver != nil && o.DNSBL != FilterOff && len(o.Lists) > 0 {
		group(&dnsbl.Filter{Lists: o.Lists, Resolver: addresses{o.Resolver}, Mode: o.DNSBL.or(filter.Enforce), Clock: o.Clock})
	}
	var first [4]filter.Filter // nil if it is off
	if o.Headers != FilterOff {
		mode := o.Headers.or(filter.Mark)
		first[2] = &headers.Filter{Author: mode, Repeated: mode, Size: o.Headers.or(filter.Enforce), Syntax: mode}
	}
	if o.Attachment != FilterOff {
		first[3] = &attachment.Filter{Mode: o.Attachment.or(filter.Enforce)}
	}
	if o.Resolver == nil {
		group(first[:]...)
		return c
	}
	names := &dnscache.Cache{Resolver: o.Resolver, Clock: o.Clock}
	if o.SPF != FilterOff {
		first[0] = &spf.Filter{Resolver: names, Mode: o.SPF.or(filter.Mark)}
	}
	if o.DKIM != FilterOff {
		first[1] = &dkim.Filter{Resolver: names, Mode: o.DKIM.or(filter.Enforce), Clock: o.Clock}
	}
	group(first[:]...)
	if o.DMARC != FilterOff {
		group(&dmarc.Filter{Resolver: names, Mode: o.DMARC.or(filter.Enforce), OneAuthor: o.OneAuthor})
	}
	return c
}

// addresses looks up A records with a Resolver of another form.
type addresses struct{ spf.Resolver }

func (a addresses) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if r, ok := a.Resolver.(dnsbl.Resolver); ok {
		return r.LookupNetIP(ctx, network, host)
	}
	all, err := a.LookupIPAddr(ctx, host)
	var addrs []netip.Addr
	for _, x := range all {
		if addr, ok := netip.AddrFromSlice(x.IP); ok && addr.Unmap().Is4() {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, err
}

// fromAfar asks a filter about peers that are not this machine.
type fromAfar struct{ f filter.Filter }

var _ filter.SessionFilter = fromAfar{}

func (f fromAfar) Name() string { return f.f.Name() }

// NewSession returns the filter itself, or one of its own for the connection.
func (f fromAfar) NewSession(ctx context.Context, o *mailkeel.Origin) (filter.Filter, error) {
	if o != nil && near(o.Addr.Addr()) {
		return silent(f.Name()), nil
	}
	if s, ok := f.f.(filter.SessionFilter); ok {
		return s.NewSession(ctx, o)
	}
	return f.f, nil
}

func near(a netip.Addr) bool { return !a.IsValid() || a.Unmap().IsLoopback() }

// silent is a filter without an opinion.
type silent string

func (s silent) Name() string { return string(s) }
