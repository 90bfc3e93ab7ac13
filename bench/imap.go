package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/bench/proctree"
)

// Mailboxes of the first user that are there before a case begins.
const (
	bigBox   = "big"   // -mailbox messages of bigSize bytes
	largeBox = "large" // a thirty-third of them, of largeSize bytes
	newBox   = "new"   // for cases that fill one of their own

	bigSize, largeSize = 3000, 100 << 10
	listed             = 10_000 // how many messages a list shows
	imapRounds         = 5      // how often what is warm is done
	imapClients        = 20
)

// The lists that webmail and telephones ask for.
const (
	headerList = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT MESSAGE-ID REFERENCES IN-REPLY-TO CONTENT-TYPE)])"
	syncList   = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
)

// A reading is one run of one case: a server that has just been started.
type reading struct {
	o    *options
	k    *kase
	at   running
	data string // where its mailboxes lie
	user func(n int) (name, password string)
	cpu  float64 // seconds of the server in what was measured
}

// readMail measures one case of IMAP. Mailboxes are filled once for each server; each
// run starts it anew. If the case is fresh, Dovecot has no cache yet.
func readMail(ctx context.Context, o *options, k *kase, s server, dir string) (f map[string]float64, err error) {
	_, ours := s.(*postoffice)
	r := &reading{o: o, k: k, user: owners(ours)}
	j := job{work: "imap", imap: true, plain: k.plain, data: o.boxes[s.name("imap")]}
	if k.fresh && !ours {
		if err := forgetCaches(j.data); err != nil {
			return nil, err
		}
	}
	if k.indexing && ours {
		if err := forgetIndex(j.data); err != nil {
			return nil, err
		}
	}
	if r.data = j.data; o.marked == nil {
		o.marked = map[string]int{}
	}
	if r.at, err = s.start(ctx, dir, j); err != nil {
		return nil, err
	}
	defer stopAll(&err, s)
	o.quiet()
	v, err := k.read(ctx, r)
	if err != nil {
		return nil, err
	}
	return map[string]float64{value: v, cpuMs: r.cpu * 1000}, nil
}

// forgetCaches removes what Dovecot has noted of messages besides what it needs to
// know them by.
func forgetCaches(dir string) error {
	return filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "dovecot.index.cache" {
			err = os.Remove(p)
		}
		return err
	})
}

// forgetIndex removes our index of what messages say.
func forgetIndex(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "search.db*"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// whileIndexing has somebody search the large mailbox, which begins to be indexed by
// that: it takes longer than what is measured.
func whileIndexing(read func(context.Context, *reading) (float64, error)) func(context.Context, *reading) (float64, error) {
	return func(ctx context.Context, r *reading) (float64, error) {
		c, _, err := r.session(ctx, 0, bigBox, false)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err := c.Do("UID SEARCH BODY " + load.Rare); err != nil {
			return 0, err
		}
		return read(ctx, r)
	}
}

// session logs in and selects a mailbox, if it is not "".
func (r *reading) session(ctx context.Context, user int, mailbox string, patient bool) (*load.IMAP, int, error) {
	name, password := r.user(user)
	c, err := load.DialIMAP(ctx, r.at.imap, name, password, patient)
	if err != nil || mailbox == "" {
		return c, 0, err
	}
	reply, err := c.Do("SELECT " + mailbox)
	if err != nil {
		c.Close()
		return nil, 0, err
	}
	return c, reply.Exists, nil
}

// watch runs fn, and returns how long it took.
func (r *reading) watch(fn func() error) (time.Duration, error) {
	used := proctree.CPU(r.at.pids...)
	begin := time.Now()
	err := fn()
	took := time.Since(begin)
	r.cpu += proctree.CPU(r.at.pids...) - used
	return took, err
}

// command returns a case whose figure is the time that a command takes: once, if the
// case is fresh, else the median of several after one more. before undoes what the
// command did.
func command(mailbox, text, before string, check func(o *options, r load.Reply) bool) func(context.Context, *reading) (float64, error) {
	return timed(mailbox, text, before, check, func(took time.Duration, _ load.Reply) float64 { return ms(took) })
}

// throughput returns a case whose figure is the bytes of literals in a second.
func throughput(mailbox, text string, check func(o *options, r load.Reply) bool) func(context.Context, *reading) (float64, error) {
	return timed(mailbox, text, "", check, func(took time.Duration, r load.Reply) float64 { return float64(r.Literals) / 1e6 / took.Seconds() })
}

func timed(mailbox, text, before string, check func(*options, load.Reply) bool, figure func(time.Duration, load.Reply) float64) func(context.Context, *reading) (float64, error) {
	return func(ctx context.Context, r *reading) (float64, error) {
		rounds := imapRounds + 1
		if r.k.fresh {
			rounds = 1
		}
		var figures []float64
		for i := range rounds {
			c, _, err := r.session(ctx, 0, mailbox, false)
			if err != nil {
				return 0, err
			}
			defer c.Close()
			if before != "" {
				if _, err := c.Do(before); err != nil {
					return 0, err
				}
			}
			if i == 1 {
				r.cpu = 0 // of what came before it was warm
			}
			var reply load.Reply
			took, err := r.watch(func() (err error) { reply, err = c.Do(text); return err })
			if err != nil {
				return 0, err
			}
			if check != nil && !check(r.o, reply) {
				return 0, fmt.Errorf("%.40s: unexpected %+v", text, reply)
			}
			if i > 0 || rounds == 1 {
				figures = append(figures, figure(took, reply))
			}
			c.Close()
		}
		r.cpu /= float64(len(figures))
		return spreadOf(figures).med, nil
	}
}

// What a reply must say.
func allFetched(o *options, r load.Reply) bool   { return r.Fetched == o.mailbox }
func listFetched(o *options, r load.Reply) bool  { return r.Fetched == o.listed() }
func largeFetched(o *options, r load.Reply) bool { return r.Fetched == o.large() }
func rareFound(o *options, r load.Reply) bool    { return r.Hits == (o.mailbox+999)/1000 }
func someFound(_ *options, r load.Reply) bool    { return r.Hits > 0 }
func (o *options) listed() int                   { return min(listed, o.mailbox) }
func (o *options) large() int                    { return (o.mailbox*3 + 99) / 100 }
func (o *options) inList(format string) string   { return fmt.Sprintf(format, o.listed()) }
func (o *options) copied() int                   { return min(1000, o.mailbox) }

// listCase is command for the first messages of the mailbox.
func listCase(format, before string) func(context.Context, *reading) (float64, error) {
	return func(ctx context.Context, r *reading) (float64, error) {
		if before != "" {
			return command(bigBox, r.o.inList(format), r.o.inList(before), nil)(ctx, r)
		}
		return command(bigBox, r.o.inList(format), "", listFetched)(ctx, r)
	}
}

// opened is the time of SELECT.
func opened(ctx context.Context, r *reading) (float64, error) {
	return command("", "SELECT "+bigBox, "", func(o *options, r load.Reply) bool { return r.Exists == o.mailbox })(ctx, r)
}

// copies is how many messages a second COPY copies.
func copies(ctx context.Context, r *reading) (float64, error) {
	c, _, err := r.session(ctx, 0, bigBox, false)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var figures []float64
	n := r.o.copied()
	for range imapRounds {
		if _, err := c.Do("CREATE " + newBox); err != nil {
			return 0, err
		}
		took, err := r.watch(func() error { _, err := c.Do(fmt.Sprintf("COPY 1:%d %s", n, newBox)); return err })
		if err != nil {
			return 0, err
		}
		figures = append(figures, float64(n)/took.Seconds())
		if _, err := c.Do("DELETE " + newBox); err != nil {
			return 0, err
		}
	}
	r.cpu /= imapRounds
	return spreadOf(figures).med, nil
}

// appends returns a case whose figure is how many messages a second some clients put
// into mailboxes of one user, or each into that of its own.
func appends(clients int, alone bool) func(context.Context, *reading) (float64, error) {
	return func(ctx context.Context, r *reading) (float64, error) {
		owner := func(client int) int {
			if alone {
				return client
			}
			return 0
		}
		sessions := make([]*load.IMAP, clients)
		for i := range sessions {
			c, _, err := r.session(ctx, owner(i), "", false)
			if err != nil {
				return 0, err
			}
			defer c.Close()
			if sessions[i] = c; alone || i == 0 {
				if _, err := c.Do("CREATE " + newBox); err != nil {
					return 0, err
				}
			}
		}
		messages := make([][]byte, 256)
		for i := range messages {
			messages[i] = r.o.corpus.Stored(i, r.o.size)
		}
		done, took, err := r.together(clients, func(client, n int) (int, error) {
			// A number makes each message another one.
			m := append([]byte(fmt.Sprintf("X-Load-Id: %d.%d\r\n", client, n)), messages[n%len(messages)]...)
			return 1, sessions[client].Append(newBox, m)
		})
		if err != nil {
			return 0, err
		}
		r.cpu *= 1000 / float64(done)
		for i, c := range sessions {
			if alone || i == 0 {
				if _, err := c.Do("DELETE " + newBox); err != nil {
					return 0, err
				}
			}
		}
		return float64(done) / took.Seconds(), nil
	}
}

// together lets clients do something again and again, until the period is over or all
// is done, and says how much that was.
func (r *reading) together(clients int, do func(client, n int) (int, error)) (done int, took time.Duration, err error) {
	counts, errs := make(chan int, clients), make(chan error, clients)
	took, _ = r.watch(func() error {
		begin := time.Now()
		for client := range clients {
			go func() {
				sum := 0
				var err error
				for n := 0; err == nil; n++ {
					if r.o.messages > 0 && n*clients >= r.o.messages || r.o.messages == 0 && time.Since(begin) >= r.o.period {
						break
					}
					var some int
					some, err = do(client, n)
					sum += some
				}
				counts <- sum
				errs <- err
			}()
		}
		for range clients {
			done += <-counts
			err = errors.Join(err, <-errs)
		}
		return nil
	})
	if err == nil && done == 0 {
		err = errors.New("nothing was done")
	}
	return done, took, err
}
