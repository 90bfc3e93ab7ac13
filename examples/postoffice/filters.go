package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/rate"
	"github.com/mailkeel/mailkeel/store/memstore"
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
	rates := &rate.Filter{KV: &memstore.KV{}, Address: rate.Limits{
		Conns: minute(o.rateConns), Messages: minute(o.rateMessages), Rcpts: minute(o.rateRcpts),
	}}
	var f filter.Filter = fromAfar{rates}
	if o.filterLoopback {
		f = rates
	}
	return &filter.Chain{Groups: [][]filter.Filter{{f}}, Logger: log}
}

// fromAfar asks a filter about peers that are not this machine: those on loopback
// are programs here, or a proxy that hides who it is.
type fromAfar struct{ *rate.Filter }

var _ filter.SessionFilter = fromAfar{}

func (f fromAfar) NewSession(ctx context.Context, o *mailkeel.Origin) (filter.Filter, error) {
	if o.Addr.Addr().Unmap().IsLoopback() {
		return nothing(f.Name()), nil
	}
	return f.Filter.NewSession(ctx, o)
}

// nothing is a filter without an opinion.
type nothing string

func (n nothing) Name() string { return string(n) }
