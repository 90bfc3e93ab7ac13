package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/mailkeel/mailkeel/bench/proctree"
)

// start is how long a server takes from the start of its process until it is ready:
// ours says so when all its doors are open, the others greet.
func start(ctx context.Context, o *options, k *kase, s server, dir string) (f map[string]float64, err error) {
	j := job{work: "start"}
	switch k.name {
	case caseEmpty: // it was there before
		if _, ours := s.(*postoffice); ours {
			j.data = filepath.Join(dir, "data")
			if _, err := s.start(ctx, dir, j); err != nil {
				return nil, err
			}
			if err := s.stop(); err != nil {
				return nil, err
			}
		}
	case caseStored:
		j.data = o.stock
	}
	o.quiet()
	at, err := s.start(ctx, dir, j)
	if err != nil {
		return nil, err
	}
	defer stopAll(&err, s)
	used := proctree.CPU(at.pids...) * 1000
	if o.settle > 0 {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return map[string]float64{ready: ms(at.ready), readyCPU: used, rss: mib(proctree.RSS(at.pids...)), pss: mib(proctree.PSS(at.pids...))}, nil
}
