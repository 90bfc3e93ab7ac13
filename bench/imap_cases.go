package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
)

// imapCases are what servers do over IMAP. In "about" stand {all}, {list} and so on for
// numbers that flags set.
func imapCases() []kase {
	times := func(name, about string, least float64, read func(context.Context, *reading) (float64, error)) kase {
		return kase{name: name, about: about + ", ms", format: "%.1f", less: true, least: least, read: read}
	}
	rates := func(name, about string, least float64, read func(context.Context, *reading) (float64, error)) kase {
		return kase{name: name, about: about, format: "%.0f", least: least, read: read}
	}
	first := func(k kase, least float64) kase {
		k.name, k.about, k.fresh, k.least = k.name+"-first", "the same for the first time, ms", true, least
		return k
	}
	search := func(name, criteria string, check func(*options, load.Reply) bool) kase {
		return times(name, "UID SEARCH "+criteria, 5, command(bigBox, "UID SEARCH "+criteria, "", check))
	}
	headers := times("headers", "header list of {list}", 2, listCase("FETCH 1:%d "+headerList, ""))
	list := times("list", "{list} ENVELOPE, BODYSTRUCTURE, dates and sizes", 0, listCase("FETCH 1:%d "+syncList, ""))
	envelope := times("envelope", "ENVELOPE of {list}", 0, listCase("FETCH 1:%d (ENVELOPE)", ""))
	structure := times("structure", "BODYSTRUCTURE of {list}", 0, listCase("FETCH 1:%d (BODYSTRUCTURE)", ""))
	header := search("search-header", "HEADER "+load.NumberField+" 777", nil)
	subject := search("search-subject", "SUBJECT topic7", someFound)
	plain := func(k kase, least float64) kase {
		k.name, k.about, k.plain, k.least = k.name+"-plain", "the same without an index, ms", true, least
		return k
	}
	body := times("search-body", "SEARCH BODY, a rare word", 50, command(bigBox, "SEARCH BODY "+load.Rare, "", rareFound))
	indexing := rates("append-indexing", "the same while an index for searches is made", 3, whileIndexing(appends(imapClients, true)))
	indexing.indexing = true
	cases := []kase{
		times("select", "SELECT of {all}", 0, opened),
		times("flags", "FETCH 1:* (UID FLAGS) of {all}", 1.5, command(bigBox, "FETCH 1:* (UID FLAGS)", "", allFetched)),
		headers, first(headers, 10), list, first(list, 0), envelope, first(envelope, 0), structure, first(structure, 0),
		rates("body", "FETCH 1:* (BODY.PEEK[]) of 3 KB, MB/s", 0.8, throughput(bigBox, "FETCH 1:* (BODY.PEEK[])", allFetched)),
		rates("body-large", "the same of 100 KB, MB/s", 1, throughput(largeBox, "FETCH 1:* (BODY.PEEK[])", largeFetched)),
		header, first(header, 50), subject, first(subject, 50),
		body, plain(body, 6),
		rates("append-one", "APPEND by one client, messages/s", 2, appends(1, false)),
		rates("append-many", "by {clients} into one mailbox, messages/s", 6, appends(imapClients, false)),
		rates("append-apart", "by {clients} into {clients}, messages/s", 3, appends(imapClients, true)),
		indexing,
		times("store", "STORE 1:{list} +FLAGS", 1.0/3, listCase("STORE 1:%d +FLAGS (\\Flagged)", "STORE 1:%d -FLAGS.SILENT (\\Flagged)")),
		rates("copy", "COPY, messages/s", 0, copies),
		rates("mixed", "{clients} clients, mixed, in one mailbox, commands/s", 3, mixed(false)),
		rates("mixed-marking", "the same, if each STORE changes something", 0, mixed(true)),
		{name: "idle", about: "memory of a session in IDLE, KiB", format: "%.0f", less: true, least: 15, read: idleMemory},
		{name: "notice", about: "new mail known to 99% of {many} in IDLE after, ms", format: "%.0f", less: true, most: 100, read: notice},
	}
	for i := range cases {
		cases[i].servers = []server{&postoffice{}, &dovecot{}}
	}
	return cases
}

// lines is the table of a work with a line for each case.
func (r *results) lines(w *work) string {
	const ours = justOurs
	ref := w.references[0]
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s | %s | times as good | to be reached | reached | CPU, %s : %s |\n|---|---|---|---|---|---|---|\n", ours, ref, ours, ref)
	rows := 0
	for i := range w.cases {
		k := &w.cases[i]
		mine, theirs := r.spread(w.name, k.name, ours, value), r.spread(w.name, k.name, ref, value)
		if mine.n+theirs.n == 0 {
			continue
		}
		rows++
		as := r.better(w, k)
		bar, reached := "", ""
		judge := func(text string, n int, yes bool) {
			if bar, reached = text, "-"; n > 0 {
				reached = "**no**"
				if yes {
					reached = "yes"
				}
			}
		}
		if k.least > 0 {
			judge(fmt.Sprintf("%.3gx", k.least), as.n, as.med >= k.least)
		} else if k.most > 0 {
			judge(fmt.Sprintf("under %g", k.most), mine.n, mine.med < k.most)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | **%s** | %s | %s | %s |\n", r.title(w, k), mine.in(k.format), theirs.in(k.format), as.in("%.2f"), bar, reached,
			r.ratio(w.name, k.name, ours, ref, cpuMs).in("%.2f"))
	}
	if rows == 0 {
		return ""
	}
	return b.String()
}

// better is how many times as good as the reference ours is in a case.
func (r *results) better(w *work, k *kase) spread {
	if k.less {
		return r.ratio(w.name, k.name, w.references[0], justOurs, value)
	}
	return r.ratio(w.name, k.name, justOurs, w.references[0], value)
}

// profileReading lets our server do a case of "imap" again and again, and says where
// its time goes.
func (o *options) profileReading(ctx context.Context, k *kase) (err error) {
	dir := filepath.Join(o.dir, "profile")
	s := &postoffice{program: o.program}
	at, err := s.start(ctx, dir, job{work: "imap", imap: true, data: o.boxes[justOurs]})
	if err != nil {
		return err
	}
	defer stopAll(&err, s)
	over := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			if _, err := k.read(ctx, &reading{o: o, k: k, at: at, data: o.boxes[justOurs], user: owners(true)}); err != nil {
				done <- err
				return
			}
			select {
			case <-over:
				done <- nil
				return
			default:
			}
		}
	}()
	err = s.profile(ctx, max(o.period, time.Second), filepath.Join(o.profiles, k.name))
	close(over)
	return errors.Join(err, <-done)
}
