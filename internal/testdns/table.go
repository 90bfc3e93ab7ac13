package testdns

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
)

// A Table is a resolver in memory, for what asks through an interface and not through
// sockets. Names are in lower case and without the dot at the end; what is not in a
// table does not exist. Fields are set before it is used; it is safe for use by many.
type Table struct {
	TXT  map[string][]string
	MX   map[string][]string // host names, best first
	IP   map[string][]string // A and AAAA
	PTR  map[string][]string // by address
	Fail map[string]error    // by name or address, whatever is asked

	mu    sync.Mutex
	asked []string
}

// Asked returns the questions so far, each as "TXT example.org".
func (t *Table) Asked() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.asked)
}

// Forget forgets the questions so far.
func (t *Table) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = nil
}

func (t *Table) find(ctx context.Context, kind, name string, in map[string][]string) ([]string, error) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	t.mu.Lock()
	t.asked = append(t.asked, kind+" "+name)
	t.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := t.Fail[name]; err != nil {
		return nil, err
	}
	if all := in[name]; len(all) > 0 {
		return slices.Clone(all), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (t *Table) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return t.find(ctx, "TXT", name, t.TXT)
}

func (t *Table) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	hosts, err := t.find(ctx, "MX", name, t.MX)
	var mxs []*net.MX
	for i, h := range hosts {
		mxs = append(mxs, &net.MX{Host: h, Pref: uint16(i)})
	}
	return mxs, err
}

func (t *Table) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	all, err := t.find(ctx, "IP", host, t.IP)
	var ips []net.IPAddr
	for _, a := range all {
		ips = append(ips, net.IPAddr{IP: net.ParseIP(a)})
	}
	return ips, err
}

func (t *Table) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return t.find(ctx, "PTR", addr, t.PTR)
}

// Down is how a name server fails.
var Down error = &net.DNSError{Err: "server misbehaving", IsTemporary: true}
