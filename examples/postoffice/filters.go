package main

import (
	"context"
	"log/slog"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/rate"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// filters judge mail from other servers. Rates are kept in memory: they are about
// the last minute, and not worth a write to disk for each message.
func filters(log *slog.Logger) *filter.Chain {
	return &filter.Chain{Groups: [][]filter.Filter{{fromAfar{&rate.Filter{KV: &memstore.KV{}}}}}, Logger: log}
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
