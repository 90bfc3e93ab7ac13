package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/bench/proctree"
)

// mixed returns a case whose figure is how many commands a second clients of one mailbox
// are answered, that list some messages, read one and mark it. The same clients look at
// the same messages in each run, so that in all but the first those are marked already. If
// marking is set they are not: each run sets another flag, on others.
func mixed(marking bool) func(context.Context, *reading) (float64, error) {
	return func(ctx context.Context, r *reading) (float64, error) {
		sessions := make([]*load.IMAP, imapClients)
		random := make([]*rand.Rand, imapClients)
		total, flag, seed := 0, markings[0], int64(0)
		if marking {
			flag = markings[1+r.o.marked[r.data]%(len(markings)-1)]
			r.o.marked[r.data]++
			seed = time.Now().UnixNano()
		}
		for i := range sessions {
			c, n, err := r.session(ctx, 0, bigBox, false)
			if err != nil {
				return 0, err
			}
			defer c.Close()
			sessions[i], random[i], total = c, rand.New(rand.NewSource(seed+int64(i))), n
		}
		done, took, err := r.together(imapClients, func(client, _ int) (int, error) {
			i := 1 + random[client].Intn(total)
			for n, command := range []string{
				fmt.Sprintf("FETCH %d:%d (UID FLAGS ENVELOPE RFC822.SIZE)", i, min(i+24, total)),
				fmt.Sprintf("FETCH %d (BODY.PEEK[])", i),
				fmt.Sprintf("STORE %d +FLAGS.SILENT (%s)", i, flag),
				"NOOP",
			} {
				if _, err := sessions[client].Do(command); err != nil {
					return n, err
				}
			}
			return 4, nil
		})
		if err != nil {
			return 0, err
		}
		r.cpu *= 1000 / float64(done)
		return float64(done) / took.Seconds(), nil
	}
}

// markings are the flags that runs of mixed set: the first if they are to set the same
// again, else the others, one after the other.
var markings = [...]string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`, "$Forwarded", "$NotJunk", "$Important", "$MDNSent"}

// wait opens sessions in IDLE, from number first on, and adds them to idle.
func (r *reading) wait(ctx context.Context, idle []*load.IMAP, n int) ([]*load.IMAP, error) {
	for range n {
		c, _, err := r.session(ctx, len(idle)%users, "INBOX", true)
		if err != nil {
			return idle, err
		}
		idle = append(idle, c)
		if err := c.Idle(); err != nil {
			return idle, err
		}
	}
	return idle, nil
}

// idleMemory is what a session in IDLE costs: all beyond the first of each user.
func idleMemory(ctx context.Context, r *reading) (_ float64, err error) {
	// What logins leave behind for the next ones to use is there beforehand.
	for user := range users {
		c, _, err := r.session(ctx, user, "INBOX", true)
		if err != nil {
			return 0, err
		}
		c.Close()
	}
	var idle []*load.IMAP
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	few := min(users, r.o.manySessions/2)
	if idle, err = r.wait(ctx, idle, few); err != nil {
		return 0, err
	}
	if err := rest(ctx, r.o); err != nil {
		return 0, err
	}
	before := proctree.PSS(r.at.pids...)
	if idle, err = r.wait(ctx, idle, r.o.manySessions-few); err != nil {
		return 0, err
	}
	if err := rest(ctx, r.o); err != nil {
		return 0, err
	}
	return float64(proctree.PSS(r.at.pids...)-before) / float64(r.o.manySessions-few) / 1024, nil
}

// notice is after how many ms 99 of 100 sessions in IDLE know of a message, when each
// user gets one at the same moment.
func notice(ctx context.Context, r *reading) (_ float64, err error) {
	var idle []*load.IMAP
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	if idle, err = r.wait(ctx, idle, r.o.manySessions); err != nil {
		return 0, err
	}
	writers := make([]*load.IMAP, min(users, len(idle)))
	for u := range writers {
		if writers[u], _, err = r.session(ctx, u, "", false); err != nil {
			return 0, err
		}
		defer writers[u].Close()
	}
	if err := rest(ctx, r.o); err != nil {
		return 0, err
	}
	message := r.o.corpus.Stored(0, bigSize)
	told, errs := make([]float64, len(idle)), make([]error, len(idle)+len(writers))
	_, err = r.watch(func() error {
		begin := time.Now()
		var all sync.WaitGroup
		for i, c := range idle {
			all.Go(func() {
				errs[i] = c.News()
				told[i] = ms(time.Since(begin))
			})
		}
		for u, c := range writers {
			all.Go(func() { errs[len(idle)+u] = c.Append("INBOX", message) })
		}
		all.Wait()
		return errors.Join(errs...)
	})
	return percentile(told, 99), err
}

// percentile returns the least figure that p of 100 do not exceed.
func percentile(v []float64, p int) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)*p/100, len(v)-1)]
}
