package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/bench/proctree"
)

// users is how many mailboxes "file" delivers to.
const users = 20

// A work is one thing that servers are measured at.
type work struct {
	name, about string
	sessions    []int
	to          string
	// done returns when the server has nothing left to do, or nil if the last
	// reply is the end.
	done func(ctx context.Context, s server, sink *load.Sink, sent int64) error
}

func plan() []work {
	return []work{
		{name: "accept", about: "Accept by SMTP into the queue, durable before 250", sessions: []int{50, 10, 1}, to: "out@example.test"},
		{name: "file", about: fmt.Sprintf("Accept by SMTP and file into %d mailboxes, until all are filed", users), sessions: []int{20}, to: "u{u}@example.test",
			done: func(ctx context.Context, s server, _ *load.Sink, _ int64) error { return s.idle(ctx) }},
		{name: "relay", about: "Accept, queue and relay to a sink, until it has all", sessions: []int{20}, to: "out@example.test",
			done: func(ctx context.Context, _ server, sink *load.Sink, sent int64) error { return sink.Wait(ctx, sent) }},
	}
}

// A server can be started fresh in an empty folder.
type server interface {
	name() string
	// start begins to serve; hop is where mail for out@ goes, or empty to keep
	// it in the queue.
	start(ctx context.Context, dir, work, hop string) (addr string, pid int, err error)
	// idle returns when all that was accepted has been dealt with.
	idle(ctx context.Context) error
	stop() error
}

// runLimit is the longest a single run may take.
const runLimit = 3 * time.Minute

// compare lets both servers do w in turn.
func compare(ctx context.Context, o options, w work, program string) (samples []sample, err error) {
	corpus := load.NewCorpus()
	for _, c := range w.sessions {
		for n := range o.runs {
			for _, s := range []server{&postoffice{program: program, log: o.log}, &postfix{}} {
				dir := filepath.Join(o.dir, fmt.Sprintf("%s-%d-%d-%s", w.name, c, n, s.name()))
				got, err := measure(ctx, o, w, s, dir, c, corpus)
				if err != nil {
					return samples, fmt.Errorf("%s of %s with %d sessions: %w", w.name, s.name(), c, err)
				}
				samples = append(samples, got)
				fmt.Fprintf(o.log, "%-6s c=%-3d %-10s %7.0f msg/s  %.2f CPU s/1000  p99 %.1f ms\n", w.name, c, s.name(), got.Rate, got.CPU, got.P99)
			}
		}
	}
	return samples, nil
}

func measure(ctx context.Context, o options, w work, s server, dir string, sessions int, corpus *load.Corpus) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	sink, err := load.NewSink()
	if err != nil {
		return sample{}, err
	}
	defer sink.Close()
	hop := ""
	if w.name == "relay" {
		hop = sink.Addr()
	}
	addr, pid, err := s.start(ctx, dir, w.name, hop)
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir)
	defer s.stop()
	l := load.SMTP{Addr: addr, Sessions: sessions, Messages: o.messages, Size: o.size, To: w.to, Users: users, Corpus: corpus}
	warm := l
	warm.Messages = 2 * sessions
	if r := warm.Run(ctx); r.Failed > 0 {
		return sample{}, fmt.Errorf("the first messages failed: %s", r.FirstError)
	}
	if w.done != nil {
		if err := w.done(ctx, s, sink, int64(warm.Messages)); err != nil {
			return sample{}, err
		}
	}
	cpu, start := proctree.CPU(pid), time.Now()
	r := l.Run(ctx)
	pss := proctree.PSS(pid)
	if r.Failed > 0 || r.Sent != l.Messages {
		return sample{}, fmt.Errorf("%d of %d messages sent: %s", r.Sent, l.Messages, r.FirstError)
	}
	if w.done != nil {
		if err := w.done(ctx, s, sink, int64(warm.Messages+l.Messages)); err != nil {
			return sample{}, fmt.Errorf("waiting for the end (the sink has %d): %w", sink.Count(), err)
		}
	}
	took := time.Since(start)
	if w.done == nil {
		took = r.Took
	}
	n := float64(l.Messages)
	return sample{
		Work: w.name, Server: s.name(), Sessions: sessions, Rate: n / took.Seconds(),
		CPU: (proctree.CPU(pid) - cpu) / n * 1000, P50: ms(r.P50), P99: ms(r.P99), PSS: float64(pss) / (1 << 20),
	}, nil
}
