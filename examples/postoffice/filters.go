package main

import (
	"log/slog"
	"net"
	"time"

	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/rate"
	"github.com/mailkeel/mailkeel/server"
)

// chain is the filters that judge mail from other servers; nil if there shall be
// none. Rates are kept in memory: they are about the last minute, and not worth a
// write to disk for each message.
func (o *options) chain(log *slog.Logger) *filter.Chain {
	if !o.filters {
		return nil
	}
	minute := func(n int) []rate.Limit {
		if n == 0 {
			return []rate.Limit{} // none
		}
		return []rate.Limit{{N: n, Per: time.Minute}}
	}
	resolver := net.DefaultResolver
	if o.resolver != "" {
		resolver = remote.Ask(o.resolverAddr())
	}
	return server.DefaultFilters(server.FilterOptions{
		Resolver: resolver, Lists: o.dnsbl, SPF: o.filterSPF, DKIM: o.filterDKIM, DMARC: o.filterDMARC, Headers: o.filterHeaders, Attachment: o.filterAttachment,
		Rates:  rate.Limits{Conns: minute(o.rateConns), Messages: minute(o.rateMessages), Rcpts: minute(o.rateRcpts)},
		JunkAt: never(o.junkAt), RefuseAt: never(o.refuseAt), TryAgain: o.filterTryAgain, Loopback: o.filterLoopback, Logger: log,
	})
}

// never is a threshold, of which 0 means that there is none.
func never(at float64) float64 {
	if at == 0 {
		return -1
	}
	return at
}
