package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/delivery/remote"
)

// reverseTime bounds what a peer with slow name servers can cost.
const reverseTime = 3 * time.Second

// reverse returns the name of a peer for Received fields, if that name leads back
// to its address (RFC 8601, 2.7.3), and "" if not.
func (o *options) reverse(ctx context.Context, addr netip.Addr) string {
	if addr = addr.Unmap(); addr.IsLoopback() {
		return "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, reverseTime)
	defer cancel()
	r := net.DefaultResolver
	if o.resolver != "" {
		r = remote.Ask(o.resolverAddr())
	}
	names, err := r.LookupAddr(ctx, addr.String())
	if err != nil {
		return ""
	}
	for _, name := range names[:min(len(names), 5)] {
		back, err := r.LookupNetIP(ctx, "ip", name)
		if err == nil && slices.ContainsFunc(back, func(a netip.Addr) bool { return a.Unmap() == addr }) {
			return strings.ToLower(strings.TrimSuffix(name, "."))
		}
	}
	return ""
}
