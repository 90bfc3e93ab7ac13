package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// users is how many mailboxes "file" delivers to.
const users = 20

// The servers, by the names that they have in tables.
const (
	filtersOff  = "postoffice, filters off"
	filtersOn   = "postoffice, filters on"
	justPostfix = "Postfix"
	withMdbox   = "Postfix + Dovecot, mdbox"
	withMaildir = "Postfix + Dovecot, maildir"
	justOurs    = "postoffice" // for what filters have no part in
	justDovecot = "Dovecot, mdbox"
)

// A work is one thing that servers are measured at.
type work struct {
	name, about string
	cases       []kase
	// references are the servers that ratios are taken of: the best of them.
	references []string
	columns    []column
	// measure runs the server once in dir, which is empty.
	measure func(ctx context.Context, o *options, k *kase, s server, dir string) (map[string]float64, error)
}

// A kase is one size of a work, or one thing to do of "imap".
type kase struct {
	name     string
	sessions int
	servers  []server

	// Only of "imap", whose table has a line for each case.
	about, format string
	less          bool // is better
	// least is how many times as good as the reference it is to be, and most the
	// largest figure that will do; zero means that there is no such bar.
	least, most float64
	plain       bool // without an index for searches
	indexing    bool // while that index is made
	fresh       bool // the server has seen the mailbox filled and nothing more
	read        func(context.Context, *reading) (float64, error)
}

// A column of the table of a work.
type column struct {
	figure, title, format string
	// less means that less is better, and ratio that the table has one.
	less, ratio bool
}

func workNames() (names []string) {
	for _, w := range works() {
		names = append(names, w.name)
	}
	return names
}

// works are all, in the order in which they are done.
func works() []work {
	ours := []server{&postoffice{}, &postoffice{filters: true}}
	plus := func(more ...server) []server { return append(append([]server(nil), ours...), more...) }
	traffic := []column{
		{figure: rate, title: "msg/s", format: "%.0f", ratio: true}, {figure: cpu, title: "CPU s/1000", format: "%.3f", less: true, ratio: true},
		{figure: p50, title: "p50 ms", format: "%.2f", less: true}, {figure: p99, title: "p99 ms", format: "%.1f", less: true, ratio: true},
		{figure: pss, title: "PSS MiB", format: "%.0f", less: true},
	}
	return []work{
		{name: "accept", about: "Accept by SMTP into the queue, durable before 250", references: []string{justPostfix}, columns: traffic, measure: accept,
			cases: []kase{
				{name: "50 sessions", sessions: 50, servers: plus(&postfix{})}, {name: "10 sessions", sessions: 10, servers: plus(&postfix{})}, {name: "1 session", sessions: 1, servers: plus(&postfix{})},
			}},
		{name: "file", about: fmt.Sprintf("Accept by SMTP and file into the mailboxes of %d accounts, until all are filed", users),
			references: []string{withMdbox, withMaildir}, columns: traffic, measure: file,
			cases: []kase{{name: "20 sessions", sessions: 20, servers: plus(&pair{format: "mdbox"}, &pair{format: "maildir"}, &postfix{})}}},
		{name: "relay", about: "Accept, queue and relay to a sink, until it has all", references: []string{justPostfix}, columns: traffic, measure: relay,
			cases: []kase{{name: "20 sessions", sessions: 20, servers: plus(&postfix{})}}},
		{name: "memory", about: "Memory of an SMTP session in the middle of a message", references: []string{justPostfix}, measure: memory,
			columns: []column{{figure: session, title: "KiB a session", format: "%.0f", less: true, ratio: true}, {figure: pss, title: "PSS MiB with all", format: "%.0f", less: true}},
			cases:   []kase{{name: "some sessions", sessions: 0, servers: plus(&postfix{})}, {name: "many sessions", sessions: -1, servers: ours}}},
		{name: "start", about: "From start to ready, and the memory after that", references: []string{withMaildir}, measure: start,
			columns: []column{{figure: ready, title: "ready after ms", format: "%.1f", less: true, ratio: true}, {figure: readyCPU, title: "CPU ms", format: "%.0f", less: true, ratio: true}, {figure: rss, title: "RSS MiB", format: "%.1f", less: true}, {figure: pss, title: "PSS MiB", format: "%.1f", less: true}},
			cases:   []kase{{name: caseFirst, sessions: 0, servers: plus(&pair{format: "maildir"})}, {name: caseEmpty, sessions: 0, servers: plus(&pair{format: "maildir"})}, {name: caseStored, sessions: 0, servers: ours}}},
		{name: "imap", about: "IMAP, one thing after the other", references: []string{justDovecot}, measure: readMail, cases: imapCases(),
			columns: []column{{figure: value, title: "figure", format: "%.2f"}, {figure: cpuMs, title: "CPU ms", format: "%.1f", less: true}}},
	}
}

// The cases of "start".
const (
	caseFirst  = "first start, empty directory"
	caseEmpty  = "nothing stored"
	caseStored = "all stored"
)

// runLimit is the longest a single run may take.
const runLimit = 3 * time.Minute

// compare lets the servers do w in turn. A run that fails does not end the others; its
// error is among those returned.
func (o *options) compare(ctx context.Context, w *work, r *results) error {
	var errs []error
	for i := range w.cases {
		k := &w.cases[i]
		if !o.wants(k.name) {
			continue
		}
		for run := range o.runs {
			for _, s := range k.servers {
				p, ours := s.(*postoffice)
				if ours {
					p.program = o.program
				} else if !o.peers {
					continue
				}
				if err := ctx.Err(); err != nil {
					return errors.Join(append(errs, err)...)
				}
				f, err := o.once(ctx, w, k, s, fmt.Sprintf("%s%d%d%t", w.name[:1], i, run, ours))
				if err != nil {
					errs = append(errs, fmt.Errorf("%s of %s, %s: %w", w.name, s.name(w.name), k.name, err))
					fmt.Fprintln(o.log, errs[len(errs)-1])
					continue
				}
				r.Samples = append(r.Samples, sample{w.name, k.name, s.name(w.name), run, f})
				fmt.Fprintf(o.log, "%-7s %-12s %-27s", w.name, k.name, s.name(w.name))
				for _, c := range w.columns {
					fmt.Fprintf(o.log, " "+c.format+" %s ", f[c.figure], c.title)
				}
				fmt.Fprintln(o.log)
			}
		}
		if err := o.profile(ctx, w, k); err != nil {
			errs = append(errs, fmt.Errorf("profile of %s: %w", w.name, err))
		}
	}
	return errors.Join(errs...)
}

// once does one run in a folder of its own. Its path is short, because that of a
// Unix socket must be.
func (o *options) once(ctx context.Context, w *work, k *kase, s server, name string) (map[string]float64, error) {
	dir := filepath.Join(o.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var err error // building a directory takes longer than a run may
	switch w.name {
	case "start":
		err = o.build(ctx)
	case "imap":
		err = o.fillBoxes(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	return w.measure(ctx, o, k, s, dir)
}

// A job is what a server is started for.
type job struct {
	work string // of works
	hop  string // where mail for elsewhere goes, or empty to keep it in the queue
	imap bool
	// plain is without an index for searches.
	plain bool
	data  string // what is there already, for ours and for Dovecot; empty means nothing
}

// A running server.
type running struct {
	smtp, imap string
	pids       []int // the roots of its processes
	ready      time.Duration
}

// A server can be started fresh in an empty folder.
type server interface {
	name(work string) string
	start(ctx context.Context, dir string, j job) (running, error)
	// idle returns when all that was accepted has been dealt with.
	idle(ctx context.Context) error
	stop() error
}

// stopAll adds the error of stopping to err.
func stopAll(err *error, s server) { *err = errors.Join(*err, s.stop()) }

// thousands writes n with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return strings.TrimPrefix(s, ",")
}
