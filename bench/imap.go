package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/bench/proctree"
)

// rounds is how often a session opens the mailbox and fetches all flags.
const rounds = 5

// mailbox opens a large mailbox and reads all its flags, and then sees what sessions
// cost that wait for news there. To log in is not counted: we hash passwords, and
// the Dovecot here does not.
func mailbox(ctx context.Context, o *options, _ *kase, s server, dir string) (f map[string]float64, err error) {
	j := job{work: "imap", imap: true, data: o.stock}
	user, password := reader(0), readerPass
	if _, ours := s.(*postoffice); !ours {
		j.data, password = filepath.Join(dir, "mail"), "pass"
		if err := o.maildir(j.data); err != nil {
			return nil, err
		}
	}
	at, err := s.start(ctx, dir, j)
	if err != nil {
		return nil, err
	}
	defer stopAll(&err, s)
	c, err := load.DialIMAP(ctx, at.imap, user, password)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	// The first time, Dovecot makes its index.
	if _, err := c.Do("SELECT INBOX"); err != nil {
		return nil, err
	}
	if _, err := c.Do("FETCH 1:* (FLAGS)"); err != nil {
		return nil, err
	}
	var opened, read []float64
	o.quiet()
	used := 0.0
	for range rounds {
		if _, err := c.Do("UNSELECT"); err != nil {
			return nil, err
		}
		begin := time.Now()
		if _, err := c.Do("SELECT INBOX"); err != nil {
			return nil, err
		}
		opened = append(opened, ms(time.Since(begin)))
		cpu := proctree.CPU(at.pids...)
		begin = time.Now()
		n, err := c.Do("FETCH 1:* (FLAGS)")
		if err != nil {
			return nil, err
		}
		read = append(read, ms(time.Since(begin)))
		used += proctree.CPU(at.pids...) - cpu
		if n != o.stored/readers {
			return nil, fmt.Errorf("%d messages of %d", n, o.stored/readers)
		}
	}
	c.Close()

	// What logins leave behind for the next ones to use is there beforehand.
	for range o.sessions {
		c, err := load.DialIMAP(ctx, at.imap, user, password)
		if err != nil {
			return nil, err
		}
		c.Close()
	}
	var idle []*load.IMAP
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	waiting := func(more int) (int64, error) {
		for range more {
			c, err := load.DialIMAP(ctx, at.imap, user, password)
			if err != nil {
				return 0, err
			}
			idle = append(idle, c)
			if _, err := c.Do("SELECT INBOX"); err != nil {
				return 0, err
			}
			if err := c.Idle(); err != nil {
				return 0, err
			}
		}
		if err := rest(ctx, o); err != nil {
			return 0, err
		}
		return proctree.PSS(at.pids...), nil
	}
	one, err := waiting(1)
	if err != nil {
		return nil, err
	}
	all, err := waiting(o.sessions - 1)
	if err != nil {
		return nil, err
	}
	return map[string]float64{
		selects: spreadOf(opened).med, fetches: spreadOf(read).med, fetchCPU: used / rounds * 1000,
		session: float64(all-one) / float64(o.sessions-1) / 1024,
	}, nil
}
