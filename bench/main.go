// Command bench measures postoffice, Postfix and Dovecot side by side: the same load
// on the same file system, in turn, several times, and prints the ratios.
//
//	go run ./bench                               everything, as tables
//	go run ./bench -works accept -runs 5         one work
//	go run ./bench -works imap -cases 'body|flags' -mailbox 20000   some of it, and smaller
//	go run ./bench -markdown bench/RESULTS.md    renews the file of results
//	go run ./bench -works accept -profile /tmp/p also says where the time goes
//
// Postfix and Dovecot come from Debian's packages and are started privately, from
// generated configuration, on loopback ports, which needs root. RESULTS.md holds a
// run, and says what is measured and how.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/bench/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	works         []string
	runs          int
	messages      int           // of a run; zero means as many as fit in period
	period        time.Duration // of the load
	size          int
	stored        int // messages of the large directory
	mailbox       int // messages of the large mailbox of "imap"
	only          *regexp.Regexp
	sessions      int // of "memory"
	manySessions  int
	settle        time.Duration
	peers         bool
	dir, profiles string
	keep          string // where filled mailboxes stay; "" means with dir
	log           io.Writer

	corpus  *load.Corpus
	program string
	stock   string            // the large directory, once it is built
	marked  map[string]int    // how often mixed has marked something in them
	boxes   map[string]string // those of "imap", by server, once they are filled
}

func (o *options) flags(stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Func("works", "what to measure, of "+strings.Join(workNames(), ","), func(s string) error {
		o.works = strings.Split(s, ",")
		for _, w := range o.works {
			if !slices.Contains(workNames(), w) {
				return fmt.Errorf("there is no work %q", w)
			}
		}
		return nil
	})
	f.Func("cases", "measure only the cases whose names match this `pattern`: flags|body", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	f.IntVar(&o.mailbox, "mailbox", 100_000, "messages of the mailbox that is read over IMAP")
	f.IntVar(&o.runs, "runs", 3, "how often each server does each work, in turn")
	f.IntVar(&o.messages, "n", 0, "messages of a run; 0 means as many as -time gives time for")
	f.DurationVar(&o.period, "time", 4*time.Second, "how long the load of a run lasts, without -n")
	f.IntVar(&o.size, "size", 10<<10, "bytes of a message")
	f.IntVar(&o.stored, "stored", 1_000_000, "messages of the directory that is started, a tenth of them in one mailbox")
	f.DurationVar(&o.settle, "settle", 3*time.Second, "how long to wait for a quiet machine before each run, at most")
	f.BoolVar(&o.peers, "peers", true, "measure Postfix and Dovecot too")
	f.StringVar(&o.dir, "dir", "", "`folder` on the file system to measure; default a temporary one")
	f.StringVar(&o.keep, "boxes", "", "`folder` where the mailboxes of \"imap\" stay, filled, to be used by the next run; default none")
	f.StringVar(&o.profiles, "profile", "", "`folder` for profiles of our processor time, one more run each")
	return f
}

// wants reports whether a case is to be measured.
func (o *options) wants(kase string) bool { return o.only == nil || o.only.MatchString(kase) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := options{log: stderr, sessions: 50, manySessions: 1000}
	f := o.flags(stderr)
	quick := f.Bool("quick", false, "a few messages each, to see that everything works")
	asJSON := f.Bool("json", false, "print every run as a line of JSON instead of tables")
	markdown := f.String("markdown", "", "write all results to this `file`, as RESULTS.md is")
	from := f.String("from", "", "measure nothing, and read the `file` that an earlier -json printed")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *quick {
		o.sessions, o.manySessions = 5, 10
		given := map[string]bool{}
		f.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, v := range map[string]string{"runs": "1", "n": "50", "stored": "2000", "mailbox": "300", "settle": "0s"} {
			if !given[name] {
				if err := f.Set(name, v); err != nil {
					return err
				}
			}
		}
	}
	var r results
	var failed error // what was measured is shown all the same
	if *from != "" {
		file, err := os.Open(*from)
		if err != nil {
			return err
		}
		defer file.Close()
		if r, err = readResults(file); err != nil {
			return fmt.Errorf("%s: %w", *from, err)
		}
	} else {
		failed = o.measureAll(ctx, &r)
	}
	if *asJSON {
		if err := r.write(stdout); err != nil {
			return errors.Join(failed, err)
		}
	} else {
		fmt.Fprint(stdout, r.tables())
	}
	if *markdown == "" || failed != nil {
		return failed
	}
	text, err := r.markdown()
	if err != nil {
		return err
	}
	return os.WriteFile(*markdown, text, 0o644)
}

// measureAll does all works in a folder of its own, which it removes.
func (o *options) measureAll(ctx context.Context, r *results) error {
	dir, err := os.MkdirTemp(o.dir, "mkbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the peers run as several users
		return err
	}
	if o.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if o.keep != "" {
		if o.keep, err = filepath.Abs(o.keep); err == nil {
			err = os.MkdirAll(o.keep, 0o755)
		}
		if err != nil {
			return err
		}
	}
	o.program, o.corpus = filepath.Join(o.dir, "postoffice"), load.NewCorpus()
	if err := build(ctx, o.program); err != nil {
		return err
	}
	began := time.Now()
	r.Setup = setup{Machine: machine(o.dir), Runs: o.runs, Messages: o.messages, Period: o.period.Seconds(), Size: o.size, Stored: o.stored, Mailbox: o.mailbox,
		Sessions: o.sessions, ManySessions: o.manySessions, Date: began.UTC().Format("2 January 2006")}
	var errs []error
	for _, w := range works() {
		if o.works == nil || slices.Contains(o.works, w.name) {
			errs = append(errs, o.compare(ctx, &w, r))
		}
	}
	r.Setup.Minutes = time.Since(began).Minutes()
	return errors.Join(errs...)
}

// readResults reads what write wrote.
func readResults(in io.Reader) (r results, err error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 1<<20)
	for n := 0; s.Scan(); n++ {
		if n == 0 {
			err = json.Unmarshal(s.Bytes(), &r.Setup)
		} else {
			r.Samples = append(r.Samples, sample{})
			err = json.Unmarshal(s.Bytes(), &r.Samples[n-1])
		}
		if err != nil {
			return r, err
		}
	}
	return r, cmp.Or(s.Err(), err)
}

// write prints the set-up and every sample as a line of JSON.
func (r *results) write(w io.Writer) error {
	enc := json.NewEncoder(w)
	if err := enc.Encode(r.Setup); err != nil {
		return err
	}
	for _, s := range r.Samples {
		if err := enc.Encode(s); err != nil {
			return err
		}
	}
	return nil
}
