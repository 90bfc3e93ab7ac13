// Command mailtrap is a mail server for test suites in any language: it takes all mail,
// delivers none, and answers questions about it over HTTP, with the routes and fields
// of Mailpit's API, version 1, that test suites use, and over IMAP and POP3.
//
//	go run ./examples/mailtrap
//
// Many inboxes are in it at once. A message goes to the inbox that its field X-Inbox
// names, else to that of the login with which it was sent, else to "default"; requests
// take ?inbox=NAME, and IMAP and POP3 the name as a login with any password.
//
// Beyond Mailpit: GET /api/v1/wait?query=... answers when a message is there, and
// PUT /api/v1/faults takes a script of faults, see package mailtest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel/mailtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mailtrap:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	smtp, smtps, imap, imaps, pop3, http, faults string
	starttls, quiet                              bool
	max                                          int
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	fs := flag.NewFlagSet("mailtrap", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.smtp, "smtp", "127.0.0.1:1025", "`address` for mail, with or without AUTH")
	fs.StringVar(&o.smtps, "smtps", "", "`address` for mail with TLS from the start, after AUTH")
	fs.StringVar(&o.imap, "imap", "127.0.0.1:1143", "`address` for reading, with STARTTLS")
	fs.StringVar(&o.imaps, "imaps", "", "`address` for reading with TLS from the start")
	fs.StringVar(&o.pop3, "pop3", "127.0.0.1:1110", "`address` for fetching")
	fs.StringVar(&o.http, "http", "127.0.0.1:8025", "`address` of the page and of the API")
	fs.StringVar(&o.faults, "faults", "", "a `file` with faults, one a line: at RCPT to=ann@example.test times=2 reply 451 4.3.0 later")
	fs.BoolVar(&o.starttls, "starttls", false, "offer STARTTLS on -smtp")
	fs.BoolVar(&o.quiet, "quiet", false, "log nothing")
	fs.IntVar(&o.max, "max", 10_000, "keep this many messages, the newest; 0 is all")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	log := slog.New(slog.DiscardHandler)
	if !o.quiet {
		log = slog.New(slog.NewTextHandler(stderr, nil))
	}
	var faults []mailtest.Fault
	if o.faults != "" {
		f, err := os.Open(o.faults)
		if err != nil {
			return err
		}
		defer f.Close()
		if faults, err = mailtest.ParseFaults(f); err != nil {
			return fmt.Errorf("-faults %s: %w", o.faults, err)
		}
	}
	ln, err := net.Listen("tcp", o.http)
	if err != nil {
		return err
	}
	p := &program{ctx: ctx, log: log}
	return p.run(func() error {
		t := newTrap(p, &o, faults, log)
		web := &http.Server{Handler: t.handler(), BaseContext: func(net.Listener) context.Context { return p.ctx }, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
		done := make(chan error, 1)
		go func() { done <- web.Serve(ln) }()
		defer web.Close()
		for _, d := range t.doors() {
			fmt.Fprintf(stdout, "  %-6s %s\n", d[0], d[1])
		}
		fmt.Fprintf(stdout, "  %-6s http://%s/\nready\n", "http", ln.Addr())
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return nil
		}
	})
}

// A program is a mailtest.TB without a test.
type program struct {
	ctx context.Context
	log *slog.Logger

	mu      sync.Mutex
	cleanup []func()
	failed  string
}

// run calls fn, and ends early where something fails for good.
func (p *program) run(fn func() error) (err error) {
	ctx, cancel := context.WithCancel(p.ctx)
	p.ctx = ctx
	done := make(chan struct{})
	go func() { // Fatalf ends this goroutine
		defer close(done)
		err = fn()
	}()
	<-done
	cancel()
	for i := len(p.cleanup) - 1; i >= 0; i-- {
		p.cleanup[i]()
	}
	if p.failed != "" {
		return errors.Join(err, errors.New(p.failed))
	}
	return err
}

func (p *program) Helper()                  {}
func (p *program) Name() string             { return "mailtrap" }
func (p *program) Context() context.Context { return p.ctx }
func (p *program) Log(args ...any)          { p.log.Info(strings.TrimSuffix(fmt.Sprintln(args...), "\n")) }
func (p *program) Logf(format string, args ...any) {
	p.log.Info(fmt.Sprintf(format, args...))
}
func (p *program) Errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = fmt.Sprintf(format, args...)
	p.log.Error(p.failed)
}
func (p *program) Fatal(args ...any)                 { p.Fatalf("%s", fmt.Sprint(args...)) }
func (p *program) Fatalf(format string, args ...any) { p.Errorf(format, args...); runtime.Goexit() }
func (p *program) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed != ""
}
func (p *program) Cleanup(fn func()) { p.cleanup = append(p.cleanup, fn) }
