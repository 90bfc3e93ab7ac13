package main

import (
	"context"
	"log/slog"
	"net"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/relay"
	"github.com/mailkeel/mailkeel/delivery/remote"
)

// wayOut is what takes mail for elsewhere; nil holds it.
func (o *options) wayOut(log *slog.Logger) mailkeel.Transport {
	switch {
	case o.relay != "":
		return &relay.Transport{
			Addr: o.relay, Username: o.relayUser, Password: o.relayPassword,
			Implicit: o.relayTLS == "implicit", RequireTLS: o.relayTLS == "required",
			Hostname: o.hostname, Dial: o.dialer(), Logger: log,
		}
	case o.direct:
		t := &remote.Transport{Hostname: o.hostname, Port: o.directPort, Logger: log}
		if o.resolver != "" {
			t.Resolver = remote.Ask(o.resolverAddr())
		}
		return t
	}
	return nil
}

// resolverAddr is -resolver with its port.
func (o *options) resolverAddr() string {
	if _, _, err := net.SplitHostPort(o.resolver); err == nil {
		return o.resolver
	}
	return net.JoinHostPort(strings.Trim(o.resolver, "[]"), "53")
}

// dialer finds the smart host by -resolver; nil means the usual way.
func (o *options) dialer() func(context.Context, string, string) (net.Conn, error) {
	if o.resolver == "" {
		return nil
	}
	d := &net.Dialer{Resolver: remote.Ask(o.resolverAddr())}
	return d.DialContext
}
