package main

import (
	"context"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/bench/proctree"
)

// memorySettle is how long a server may take to come to rest before its memory is
// read: allocators and collectors give back what they can meanwhile.
const memorySettle = 500 * time.Millisecond

// memory is what each session costs beyond the first: all are in the middle of a
// message when it is read.
func memory(ctx context.Context, o *options, k *kase, s server, dir string) (f map[string]float64, err error) {
	at, err := s.start(ctx, dir, job{work: "memory"})
	if err != nil {
		return nil, err
	}
	defer stopAll(&err, s)
	l := load.SMTP{Addr: at.smtp, Messages: 10, Size: o.size, To: toElsewhere, Corpus: o.corpus}
	l.Run(ctx)
	n := o.sessions
	if k.sessions < 0 {
		n = o.manySessions
	}
	var h load.Half
	defer h.Close()
	read := func(more int) (int64, error) {
		l.Sessions = more
		if err := h.Halfway(ctx, l); err != nil {
			return 0, err
		}
		if err := rest(ctx, o); err != nil {
			return 0, err
		}
		return proctree.PSS(at.pids...), nil
	}
	one, err := read(1)
	if err != nil {
		return nil, err
	}
	all, err := read(n - 1)
	if err != nil {
		return nil, err
	}
	return map[string]float64{session: float64(all-one) / float64(n-1) / 1024, pss: mib(all)}, nil
}

// rest waits for memorySettle, if runs settle at all.
func rest(ctx context.Context, o *options) error {
	if o.settle <= 0 {
		return nil
	}
	select {
	case <-time.After(memorySettle):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
