package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// indexAll has the search index of a directory know all that is there.
func indexAll(ctx context.Context, dir string) (err error) {
	home, err := embedded.Open(ctx, dir, embedded.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	var ids []store.AccountID
	for a, err := range home.Accounts.Accounts(ctx, "") {
		if err != nil {
			return err
		}
		ids = append(ids, a.ID)
	}
	x := &search.Indexer{Store: &store.Store{Backend: home.Store, Blobs: home.Blobs}, Index: home.Search, Rest: -1}
	return x.CatchUp(ctx, ids...)
}

// fillAtOnce is how many messages of bigSize are put into a mailbox at once, by a
// server that can do that.
const fillAtOnce = 100

// fillBoxes fills the mailboxes of a server through its own door, once.
func (o *options) fillBoxes(ctx context.Context, s server) (err error) {
	name := s.name("imap")
	if o.boxes[name] != "" {
		return nil
	}
	if o.boxes == nil {
		o.boxes = map[string]string{}
	}
	dir := filepath.Join(o.dir, fmt.Sprintf("boxes%d", len(o.boxes)))
	filled := ""
	if o.keep != "" {
		dir = filepath.Join(o.keep, fmt.Sprintf("%s-%d", strings.ToLower(strings.FieldsFunc(name, func(r rune) bool { return r == ',' })[0]), o.mailbox))
		filled = filepath.Join(dir, "filled")
		if _, err := os.Stat(filled); err == nil {
			if o.boxes[name] = dir; name == justOurs && o.wantsIndex() {
				return indexAll(ctx, dir)
			}
			return nil
		}
	}
	begin := time.Now()
	at, err := s.start(ctx, filepath.Join(o.dir, "filling"), job{work: "imap", imap: true, data: dir})
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			stopAll(&err, s)
		}
	}()
	_, ours := s.(*postoffice)
	r := &reading{o: o, at: at, user: owners(ours)}
	c, _, err := r.session(ctx, 0, "", false)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, box := range []struct {
		name           string
		messages, size int
	}{{bigBox, o.mailbox, bigSize}, {largeBox, o.large(), largeSize}} {
		if _, err := c.Do("CREATE " + box.name); err != nil {
			return err
		}
		if err := r.fill(ctx, box.name, box.messages, box.size, c.Has("MULTIAPPEND")); err != nil {
			return err
		}
	}
	o.boxes[name] = dir
	if ours { // The server indexes what is searched, in its own time: here it is done.
		c.Close()
		stopped = true
		if stopAll(&err, s); err != nil {
			return err
		}
		if o.wantsIndex() {
			if err := indexAll(ctx, dir); err != nil {
				return err
			}
		}
	}
	if filled != "" {
		if err := os.WriteFile(filled, nil, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.log, "%s: %s messages stored in %v\n", name, thousands(o.mailbox+o.large()), time.Since(begin).Round(time.Millisecond))
	return nil
}

// wantsIndex reports whether something is measured that is searched in an index. To make
// one takes longer than all else.
func (o *options) wantsIndex() bool {
	for _, k := range imapCases() {
		if strings.HasPrefix(k.name, "search") && !k.plain && o.wants(k.name) {
			return true
		}
	}
	return false
}

// fill puts messages into a mailbox. One session does it if it can put many at once,
// so that they lie in order.
func (r *reading) fill(ctx context.Context, mailbox string, messages, size int, multi bool) error {
	clients, step := imapClients, 1
	if multi {
		clients, step = 2, max(1, fillAtOnce*bigSize/size)
	}
	var next atomic.Int64
	errs := make(chan error, clients)
	for range clients {
		go func() {
			errs <- func() error {
				var c *load.IMAP
				for {
					from := int(next.Add(int64(step))) - step
					if from >= messages {
						return nil
					}
					if c == nil {
						var err error
						if c, _, err = r.session(ctx, 0, "", false); err != nil {
							return err
						}
						defer c.Close()
					}
					var batch [][]byte
					for i := from; i < min(from+step, messages); i++ {
						batch = append(batch, r.o.corpus.Stored(i, size))
					}
					if err := c.Append(mailbox, batch...); err != nil {
						return err
					}
				}
			}()
		}()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-errs)
	}
	return err
}

// owners are the users of a server by number.
func owners(ours bool) func(n int) (name, password string) {
	return func(n int) (string, string) {
		if !ours {
			return fmt.Sprintf("u%d", n), "pass"
		}
		return fmt.Sprintf("u%d@example.test", n), fmt.Sprintf("correct horse battery %d", n)
	}
}
