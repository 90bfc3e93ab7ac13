// Command relay takes mail from networks that are trusted and from people who log
// in, makes it durable, and brings it to a smart host or to the world. It has no
// mailboxes.
//
// It shows the parts without package server: two doors, one queue, one way out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/delivery/relay"
	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	dir, hostname, smtp, submission string
	relay, resolver                 string
	trusted                         networks
	users                           static.Directory
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("relay", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.dir, "dir", "relay-data", "the `directory` of the queue")
	fs.StringVar(&o.hostname, "hostname", "localhost", "what the server calls itself")
	fs.StringVar(&o.smtp, "smtp", "127.0.0.1:2525", "`address` for mail from trusted networks")
	fs.StringVar(&o.submission, "submission", "127.0.0.1:2587", "`address` for mail from those who log in, with STARTTLS")
	fs.StringVar(&o.relay, "relay", "", "the smart `host:port` for all mail; without it mail goes to the world")
	fs.StringVar(&o.resolver, "resolver", "", "the DNS server to ask, `host:port`")
	fs.Func("trusted", "a `network` that may send to anyone, as CIDR; repeatable (without any: loopback)", func(s string) error {
		p, err := netip.ParsePrefix(s)
		o.trusted = append(o.trusted, p.Masked())
		return err
	})
	fs.Func("account", "someone who may log in, as `user@domain:password`; repeatable", func(s string) error {
		addr, pw, ok := strings.Cut(s, ":")
		if !ok || pw == "" {
			return errors.New("it is not user@domain:password")
		}
		o.users.Accounts = append(o.users.Accounts, static.Account{Account: accounts.Account{Address: addr}, Password: pw})
		return o.users.Check()
	})
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "relay: unexpected: %s\n", fs.Arg(0))
		return nil, errors.New("unexpected arguments")
	}
	if o.trusted == nil {
		o.trusted = networks{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return o, nil
}

// run serves until ctx is done and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if err := o.serve(ctx, stdout, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "relay:", err)
		return 1
	}
	return 0
}

func (o *options) serve(ctx context.Context, stdout io.Writer, log *slog.Logger) (err error) {
	home, err := embedded.Open(ctx, o.dir, embedded.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	tls, err := home.TLS(o.hostname, "localhost", "127.0.0.1", "::1")
	if err != nil {
		return err
	}

	way := o.wayOut(log)
	defer way.Close()
	out := &queue.Queue{Backend: home.Queue, Blobs: home.Blobs, Next: way, Hostname: o.hostname, Grace: 10 * time.Second, Logger: log}
	door := func() *smtp.Server {
		return &smtp.Server{Hostname: o.hostname, Blobs: home.Blobs, TLS: tls, Logger: log}
	}
	near := door() // whoever may connect may send to anyone
	near.Next, near.Directory, near.Filters = out, anyone{}, &filter.Chain{Groups: [][]filter.Filter{{o.trusted}}}
	users := door()
	users.Next = &submit.Transport{Next: out, Directory: anywhere{&o.users}, Rates: home.KV}
	users.Submission, users.Directory = true, anywhere{&o.users}
	users.Auth = (&accounts.Limiter{KV: home.KV, Logger: log}).Wrap(&o.users)

	nearLn, err := net.Listen("tcp", o.smtp)
	if err != nil {
		return err
	}
	usersLn, err := net.Listen("tcp", o.submission)
	if err != nil {
		nearLn.Close()
		return err
	}
	var doors, queued sync.WaitGroup
	queueCtx, stopQueue := context.WithCancel(context.WithoutCancel(ctx))
	queued.Go(func() { out.Run(queueCtx) })
	queued.Go(func() { tidy(queueCtx, home.Blobs, out, log) })
	doors.Go(func() { near.Serve(nearLn) })
	doors.Go(func() { users.Serve(usersLn) })
	fmt.Fprintf(stdout, "smtp %v\nsubmission %v\nready\n", nearLn.Addr(), usersLn.Addr())

	// Doors end before the queue, and that before the directory.
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, s := range []*smtp.Server{near, users} {
		doors.Go(func() {
			if s.Shutdown(grace) != nil {
				s.Close()
			}
		})
	}
	doors.Wait()
	stopQueue()
	queued.Wait()
	return nil
}

// closer is a Transport that keeps connections.
type closer interface {
	mailkeel.Transport
	io.Closer
}

func (o *options) wayOut(log *slog.Logger) closer {
	if o.relay != "" {
		return &relay.Transport{Addr: o.relay, Hostname: o.hostname, Logger: log}
	}
	t := &remote.Transport{Hostname: o.hostname, Logger: log}
	if o.resolver != "" {
		t.Resolver = remote.Ask(o.resolver)
	}
	return t
}

// tidy removes the contents of mail that has left.
func tidy(ctx context.Context, blobs blob.Store, out *queue.Queue, log *slog.Logger) {
	for ctx.Err() == nil {
		if _, err := blob.Sweep(ctx, blobs, time.Now(), time.Hour, out); err != nil && ctx.Err() == nil {
			log.Error("relay: cannot sweep", "err", err)
		}
		select {
		case <-time.After(10 * time.Minute):
		case <-ctx.Done():
		}
	}
}

// networks is a filter that lets only these connect.
type networks []netip.Prefix

func (networks) Name() string { return "networks" }

func (n networks) FilterConn(_ context.Context, t *filter.Transaction) (filter.Verdict, error) {
	for _, p := range n {
		if p.Contains(t.Origin.Addr.Addr().Unmap()) {
			return filter.Verdict{}, nil
		}
	}
	return filter.Verdict{Refuse: &mailkeel.Error{Code: 554, Enhanced: [3]int{5, 7, 1}, Message: "this server is not for you"}}, nil
}

// anyone is a directory in which every address is one to send to.
type anyone struct{}

func (anyone) Resolve(_ context.Context, addr string) (accounts.Resolution, error) {
	return accounts.Resolution{Targets: []accounts.Target{{Addr: addr}}}, nil
}
func (anyone) MaySend(context.Context, mailkeel.AccountID, string) (bool, error) { return true, nil }
func (anyone) Limit(context.Context, mailkeel.AccountID) (mailkeel.Quota, error) {
	return mailkeel.Quota{}, nil
}

// anywhere knows who may send as whom, and that nobody has a mailbox here.
type anywhere struct{ *static.Directory }

func (anywhere) Resolve(_ context.Context, addr string) (accounts.Resolution, error) {
	return anyone{}.Resolve(context.Background(), addr)
}
