package smtp

import (
	"context"
	"net/netip"
	"slices"
)

// A Resolver looks names up; *net.Resolver is one. It is called from many
// goroutines.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// ReverseBy makes a Server.Reverse. A peer that owns the reverse zone can claim any
// name there, so a name counts only if it leads back to the address; of several
// names the first three are tried.
func ReverseBy(r Resolver) func(ctx context.Context, addr netip.Addr) string {
	return func(ctx context.Context, addr netip.Addr) string {
		names, err := r.LookupAddr(ctx, addr.String())
		if err != nil {
			return ""
		}
		for _, name := range names[:min(len(names), 3)] {
			as, err := r.LookupNetIP(ctx, "ip", name)
			if err == nil && slices.ContainsFunc(as, func(a netip.Addr) bool { return a.Unmap() == addr.Unmap() }) {
				return name
			}
		}
		return ""
	}
}
