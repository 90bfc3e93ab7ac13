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

// Where mail goes: to someone elsewhere, or to one of the users here.
const (
	toElsewhere = "out@example.test"
	toUsers     = "u{u}@example.test"
)

// accept ends with the last reply.
func accept(ctx context.Context, o *options, k *kase, s server, dir string) (map[string]float64, error) {
	return traffic(ctx, o, k, s, dir, job{work: "accept"}, toElsewhere, nil)
}

// file ends when every message lies in a mailbox.
func file(ctx context.Context, o *options, k *kase, s server, dir string) (map[string]float64, error) {
	return traffic(ctx, o, k, s, dir, job{work: "file"}, toUsers, func(int64) error { return s.idle(ctx) })
}

// relay ends when the sink has every message.
func relay(ctx context.Context, o *options, k *kase, s server, dir string) (map[string]float64, error) {
	sink, err := load.NewSink()
	if err != nil {
		return nil, err
	}
	defer sink.Close()
	return traffic(ctx, o, k, s, dir, job{work: "relay", hop: sink.Addr()}, toElsewhere, func(n int64) error {
		if err := sink.Wait(ctx, n); err != nil {
			return fmt.Errorf("%w: the sink has %d of %d", err, sink.Count(), n)
		}
		return nil
	})
}

// traffic sends mail to a server until the period is over or all is sent, and then
// waits until done says that the server has dealt with it.
func traffic(ctx context.Context, o *options, k *kase, s server, dir string, j job, to string, done func(sent int64) error) (f map[string]float64, err error) {
	at, err := s.start(ctx, dir, j)
	if err != nil {
		return nil, err
	}
	defer stopAll(&err, s)
	l := load.SMTP{Addr: at.smtp, Sessions: k.sessions, Messages: o.messages, Size: o.size, To: to, Users: users, Corpus: o.corpus}
	warm := l
	warm.Messages = 2 * k.sessions
	if r := warm.Run(ctx); r.Failed > 0 {
		return nil, fmt.Errorf("the first messages failed: %s", r.FirstError)
	}
	if done != nil {
		if err := done(int64(warm.Messages)); err != nil {
			return nil, err
		}
	}
	if l.Messages == 0 {
		l.For = o.period
	}
	m := o.begin(at.pids)
	r := l.Run(ctx)
	memory := proctree.PSS(at.pids...)
	if r.Failed > 0 || r.Sent == 0 || l.Messages > 0 && r.Sent != l.Messages {
		return nil, fmt.Errorf("%d messages sent, %d failed: %s", r.Sent, r.Failed, r.FirstError)
	}
	took := r.Took
	if done != nil {
		if err := done(int64(warm.Messages + r.Sent)); err != nil {
			return nil, err
		}
		took = time.Since(m.start)
	}
	used, noise := m.end()
	n := float64(r.Sent)
	return map[string]float64{
		sent: n, rate: n / took.Seconds(), cpu: used / n * 1000, p50: ms(r.P50), p99: ms(r.P99), pss: mib(memory), others: noise,
	}, nil
}

// profile lets our server do k once more, and says where its time goes.
func (o *options) profile(ctx context.Context, w *work, k *kase) (err error) {
	if o.profiles == "" {
		return nil
	}
	if w.name == "imap" {
		return o.profileReading(ctx, k)
	}
	if k.sessions <= 0 {
		return nil
	}
	j, to := job{work: w.name}, toElsewhere
	switch w.name {
	case "file":
		to = toUsers
	case "relay":
		sink, err := load.NewSink()
		if err != nil {
			return err
		}
		defer sink.Close()
		j.hop = sink.Addr()
	}
	dir := filepath.Join(o.dir, "profile")
	defer os.RemoveAll(dir)
	s := &postoffice{program: o.program}
	at, err := s.start(ctx, dir, j)
	if err != nil {
		return err
	}
	defer stopAll(&err, s)
	o.quiet()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan load.Result, 1)
	go func() {
		done <- load.SMTP{Addr: at.smtp, Sessions: k.sessions, For: runLimit, Size: o.size, To: to, Users: users, Corpus: o.corpus}.Run(ctx)
	}()
	name := filepath.Join(o.profiles, fmt.Sprintf("%s%d", w.name, k.sessions)) // accept50
	err = s.profile(ctx, max(o.period, time.Second), name)
	cancel()
	r := <-done
	fmt.Fprintf(o.log, "%s.txt: %.0f msg/s while it was watched\n", name, r.Rate())
	return err
}

// ms is d in milliseconds.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// mib is a number of bytes in MiB.
func mib(n int64) float64 { return float64(n) / (1 << 20) }
