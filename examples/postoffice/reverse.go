package main

import (
	"context"
	"net"
	"net/netip"

	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/smtp"
)

// reverse finds the names of peers for Received fields, by -resolver.
func (o *options) reverse() func(context.Context, netip.Addr) string {
	r := net.DefaultResolver
	if o.resolver != "" {
		r = remote.Ask(o.resolverAddr())
	}
	look := smtp.ReverseBy(r)
	return func(ctx context.Context, addr netip.Addr) string {
		if addr.Unmap().IsLoopback() {
			return "localhost" // without a word to anyone
		}
		return look(ctx, addr)
	}
}
