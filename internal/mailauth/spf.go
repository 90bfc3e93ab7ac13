package mailauth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"

	"github.com/mailkeel/mailkeel/internal/addr"
)

// maxQuestions is how often one SPF check asks DNS. The terms of a record are limited
// by RFC 7208, 4.6.4, but each of 10 may name 10 mail servers with addresses.
const maxQuestions = 50

// An SPF is what came of one check.
type SPF struct {
	Result Result
	Domain string // whose record it was, in A-labels and lower case
	Err    error  // why, unless it passed
}

var errNoDomain = errors.New("there is no domain to ask")

// SPFMailFrom checks the reverse-path (RFC 7208, 2.4): without one, postmaster at the
// name in HELO.
func SPFMailFrom(ctx context.Context, r Resolver, ip netip.Addr, helo, from string) SPF {
	if from == "" {
		return SPFHelo(ctx, r, ip, helo)
	}
	local, domain := addr.Split(from)
	if domain == "" {
		return SPF{None, "", errNoDomain}
	}
	return check(ctx, r, ip, helo, local, domain)
}

// SPFHelo checks the name in HELO (RFC 7208, 2.3).
func SPFHelo(ctx context.Context, r Resolver, ip netip.Addr, helo string) SPF {
	return check(ctx, r, ip, helo, "postmaster", helo)
}

// check is check_host (RFC 7208, 4).
func check(ctx context.Context, r Resolver, ip netip.Addr, helo, local, domain string) SPF {
	// A malformed domain, or one of a single label, has no result (4.3).
	name, err := addr.Domain(domain)
	if err != nil || strings.HasPrefix(name, "[") || !strings.Contains(name, ".") {
		return SPF{None, "", errNoDomain}
	}
	if !ip.IsValid() {
		return SPF{None, name, errors.New("the client has no address")}
	}
	if local == "" {
		local = "postmaster"
	}
	ip = ip.Unmap().WithZone("")
	c := &counted{r: r, ctx: ctx}
	// The first @ of a sender is the one before its domain.
	c.macros = macros{sender: strings.ReplaceAll(local, "@", "_") + "@" + name, helo: helo, ip: ip, names: c.name}
	res, err := spf.CheckHostWithSender(ip.AsSlice(), helo, c.macros.sender, spf.WithContext(ctx), spf.WithResolver(c))
	out := SPF{Result(res), name, err}
	switch {
	case c.over:
		out.Result, out.Err = PermError, errors.New("too many questions to DNS")
	case out.Result == TempError && ctx.Err() != nil:
		out.Result, out.Err = TempError, context.Cause(ctx)
	case out.Result == Pass:
		out.Err = nil
	}
	return out
}

// counted asks a Resolver for full names only, and not without end.
type counted struct {
	r      Resolver
	ctx    context.Context // for name
	macros macros
	n      int
	over   bool
	known  *string // %{p}
}

var errOver = errors.New("mailauth: too many questions")

// may counts a question about a name.
func (c *counted) may(name string) error {
	if !possible(name) {
		return missing(name)
	}
	if c.n++; c.n > maxQuestions {
		c.over = true
		return judged(name, errOver)
	}
	return nil
}

// LookupTXT is asked for records only.
func (c *counted) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name = unhide.Replace(name)
	if err := c.may(name); err != nil {
		return nil, err
	}
	txts, err := c.r.LookupTXT(ctx, fqdn(name))
	var records []string
	for _, txt := range txts {
		if isSPF(txt) {
			records = append(records, txt)
		}
	}
	if len(records) == 1 {
		m := c.macros
		m.domain = name
		records[0] = plainRecord(records[0], m)
	}
	return records, judged(name, err)
}

func (c *counted) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	name = unhide.Replace(name)
	if err := c.may(name); err != nil {
		return nil, err
	}
	mxs, err := c.r.LookupMX(ctx, fqdn(name))
	return mxs, judged(name, err)
}

func (c *counted) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	host = unhide.Replace(host)
	if err := c.may(host); err != nil {
		return nil, err
	}
	ips, err := c.r.LookupIPAddr(ctx, fqdn(host))
	return ips, judged(host, err)
}

func (c *counted) LookupAddr(ctx context.Context, ip string) ([]string, error) {
	if c.n++; c.n > maxQuestions {
		c.over = true
		return nil, judged(ip, errOver)
	}
	names, err := c.r.LookupAddr(ctx, ip)
	return names, judged(ip, err)
}

// name is %{p}: a name of the client that leads back to it, best one of the domain
// (RFC 7208, 7.3). It is looked for once.
func (c *counted) name(domain string) string {
	if c.known != nil {
		return *c.known
	}
	best, rank := "unknown", 0
	names, err := c.LookupAddr(c.ctx, c.macros.ip.String())
	if err != nil {
		names = nil
	}
	for _, name := range names[:min(len(names), 10)] {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		ips, _ := c.LookupIPAddr(c.ctx, name)
		if !slices.ContainsFunc(ips, func(a net.IPAddr) bool { ip, _ := netip.AddrFromSlice(a.IP); return ip.Unmap() == c.macros.ip }) {
			continue
		}
		r := 1
		switch {
		case strings.EqualFold(name, domain):
			r = 3
		case strings.HasSuffix(name, "."+strings.ToLower(domain)):
			r = 2
		}
		if r > rank {
			best, rank = name, r
		}
	}
	c.known = &best
	return best
}
