package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/smtpclient"
)

// A Resolver looks names up in the DNS. It is called from many goroutines with
// names that end in a dot. *net.Resolver is one.
//
// An error that is a *net.DNSError with IsNotFound means that there is no such
// record; any other means that the answer could not be had, and try again.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// A SecureResolver may be implemented by a Resolver that knows whether answers
// were validated by DNSSEC (RFC 4035).
type SecureResolver interface {
	// SecureMX is LookupMX; secure says that the answer is authentic.
	SecureMX(ctx context.Context, name string) (mxs []*net.MX, secure bool, err error)
}

var _ Resolver = (*net.Resolver)(nil)

// Ask returns a Resolver that asks one name server only, host:port.
func Ask(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server)
	}}
}

// A host is one address to try.
type host struct {
	name string
	addr netip.AddrPort
}

// hosts gives the addresses of a domain one by one, looking each host up when its
// turn comes.
type hosts struct {
	t     *Transport
	names []string // of mail servers, best first
	left  int      // how many addresses may still be tried
	ready []host
	last  string // the host that was tried last
	// implicit means that there was no MX record, so that the domain itself is
	// the only mail server.
	implicit bool
}

func isNotFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

// maxMX is how many mail servers of a domain count, and maxAddrs how many addresses
// of each.
const (
	maxMX    = 50
	maxAddrs = 20
)

// find looks up which mail servers a domain has (RFC 5321, 5.1).
func (t *Transport) find(ctx context.Context, domain string, d Demand) (*hosts, error) {
	hs := &hosts{t: t, left: t.MaxHosts}
	if hs.left == 0 {
		hs.left = 20
	}
	if domain[0] == '[' {
		a, err := smtpclient.Literal(domain)
		if err != nil {
			return nil, &mailkeel.Error{Code: 553, Enhanced: [3]int{5, 1, 3}, Message: "bad address literal", Err: err}
		}
		hs.ready = []host{{domain, netip.AddrPortFrom(a, t.port())}}
		return hs, nil
	}
	mxs, secure, err := t.lookupMX(ctx, domain+".")
	switch {
	case isNotFound(err), err == nil && len(mxs) == 0:
		hs.names, hs.implicit = []string{domain}, true
		return hs, nil
	case err != nil:
		return nil, &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 4, 3}, Message: "cannot look up the mail servers of " + domain, Err: err}
	}
	if len(mxs) == 1 && strings.Trim(mxs[0].Host, ".") == "" { // RFC 7505
		return nil, &mailkeel.Error{Code: 556, Enhanced: [3]int{5, 1, 10}, Message: domain + " does not take mail"}
	}
	if d.requireTLS && !secure && d.MX == nil {
		return nil, &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 30},
			Message: "the message requires TLS all the way, but the names of the mail servers of " + domain + " cannot be verified"}
	}
	hs.names, err = t.order(domain, mxs)
	if err == nil && d.MX != nil {
		hs.names = slices.DeleteFunc(hs.names, func(n string) bool { return !d.MX(n) })
		if len(hs.names) == 0 {
			err = &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 0}, Message: "no mail server of " + domain + " is one that its policy names"}
		}
	}
	return hs, err
}

func (t *Transport) resolver() Resolver {
	if t.Resolver == nil {
		return net.DefaultResolver
	}
	return t.Resolver
}

func (t *Transport) lookupMX(ctx context.Context, name string) (mxs []*net.MX, secure bool, err error) {
	if s, ok := t.resolver().(SecureResolver); ok {
		mxs, secure, err = s.SecureMX(ctx, name)
	} else {
		mxs, err = t.resolver().LookupMX(ctx, name)
	}
	if len(mxs) > 0 {
		err = nil // some records may be bad while others are good
	}
	return mxs, secure, err
}

func (t *Transport) port() uint16 {
	if t.Port == 0 {
		return 25
	}
	return uint16(t.Port)
}

// order sorts mail servers by preference, equals at random. If we are one of them,
// those as bad as us or worse would only send the message back (RFC 5321, 5.1).
func (t *Transport) order(domain string, mxs []*net.MX) ([]string, error) {
	mxs = slices.Clone(mxs)
	rand.Shuffle(len(mxs), func(i, j int) { mxs[i], mxs[j] = mxs[j], mxs[i] })
	slices.SortStableFunc(mxs, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	var names []string
	var bad error
	for i, mx := range mxs {
		name, err := smtpclient.Domain(mx.Host)
		if err != nil {
			bad = err
			continue
		}
		if t.Hostname != "" && strings.EqualFold(name, strings.TrimSuffix(t.Hostname, ".")) {
			names = names[:len(names)-countEqual(mxs, i, names)]
			if len(names) == 0 {
				return nil, &mailkeel.Error{Code: 554, Enhanced: [3]int{5, 4, 6}, Message: "mail for " + domain + " loops back to us"}
			}
			break
		}
		if !slices.Contains(names, name) && len(names) < maxMX {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 4, 4}, Message: domain + " has no usable mail server", Err: bad}
	}
	return names, nil
}

// countEqual returns how many of the last names have the preference of mxs[at].
func countEqual(mxs []*net.MX, at int, names []string) (n int) {
	for _, name := range slices.Backward(names) {
		for _, mx := range mxs[:at] {
			if d, _ := smtpclient.Domain(mx.Host); d == name && mx.Pref == mxs[at].Pref {
				n++
				break
			}
		}
	}
	return n
}

// next returns the next address, or ErrNoHop.
func (hs *hosts) next(ctx context.Context) (host, error) {
	for {
		if hs.left == 0 || len(hs.ready) == 0 && len(hs.names) == 0 {
			return host{}, smtpclient.ErrNoHop
		}
		if len(hs.ready) == 0 {
			name := hs.names[0]
			hs.names = hs.names[1:]
			if err := hs.lookup(ctx, name); err != nil {
				hs.last = name
				return host{}, err
			}
			continue
		}
		h := hs.ready[0]
		hs.ready = hs.ready[1:]
		hs.last = h.name
		if err := hs.t.dead.check(hs.t, h.addr); err != nil {
			return host{}, err
		}
		hs.left--
		return h, nil
	}
}

// lookup makes the addresses of a host ready: IPv6 and IPv4 in turns, those of one
// kind at random.
func (hs *hosts) lookup(ctx context.Context, name string) error {
	addrs, err := hs.t.resolver().LookupNetIP(ctx, "ip", name+".")
	if len(addrs) == 0 {
		if err == nil {
			err = &net.DNSError{Err: "no addresses", Name: name, IsNotFound: true}
		}
		if isNotFound(err) && hs.implicit {
			return &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 1, 2}, Message: "the domain " + name + " does not exist or takes no mail", Err: err}
		}
		if isNotFound(err) {
			return &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 4, 4}, Message: "there is no host " + name, Err: err}
		}
		return &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 4, 3}, Message: "cannot look up the address of " + name, Err: err}
	}
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	addrs = addrs[:min(len(addrs), maxAddrs)]
	var six, four []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is6() {
			six = append(six, a)
		} else {
			four = append(four, a)
		}
	}
	for len(six)+len(four) > 0 {
		for _, list := range []*[]netip.Addr{&six, &four} {
			if len(*list) > 0 {
				hs.ready = append(hs.ready, host{name, netip.AddrPortFrom((*list)[0], hs.t.port())})
				*list = (*list)[1:]
			}
		}
	}
	return nil
}

func split(path string) (local, domain string) {
	at := strings.LastIndexByte(path, '@')
	return path[:max(at, 0)], path[at+1:]
}
