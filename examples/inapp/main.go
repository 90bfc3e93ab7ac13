// Command inapp is a small web application with mail inside: a help desk. A form
// opens a ticket and sends a mail to the customer; the customer's reply comes back
// into a function and stands on the page. There is no mail server beside it.
//
// Each ticket has an address of its own, support+7.k3x9q2@example.test, that is
// both where replies go and where bounces go (VERP), so that nothing in a reply
// has to be guessed, and nobody can write to a ticket without having been written
// to.
//
// Tickets are in memory here. An application of yours writes to its database
// before it returns from the function: then a message is acknowledged only when it
// is safe.
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
	"sync"
	"syscall"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery/relay"
	"github.com/mailkeel/mailkeel/delivery/remote"
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

// run serves until ctx is done and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("inapp", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o := options{}
	fs.StringVar(&o.dir, "dir", "inapp-data", "the `directory` of outgoing mail")
	fs.StringVar(&o.domain, "domain", "example.test", "the `domain` of the support addresses")
	fs.StringVar(&o.http, "http", "127.0.0.1:8080", "`address` of the pages")
	fs.StringVar(&o.smtp, "smtp", "127.0.0.1:2525", "`address` for replies: port 25, or behind a server that forwards there")
	fs.StringVar(&o.relay, "relay", "", "the smart `host:port` for outgoing mail; without it mail goes to the world")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || fs.NArg() > 0 {
		return 2
	}
	if err := o.serve(ctx, stdout, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "inapp:", err)
		return 1
	}
	return 0
}

type options struct{ dir, domain, http, smtp, relay string }

func (o *options) serve(ctx context.Context, stdout io.Writer, log *slog.Logger) (err error) {
	home, err := embedded.Open(ctx, o.dir, embedded.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()

	// The way out: a queue that survives crashes, before a smart host or the
	// world. What it bounces comes back to the desk like any other bounce.
	desk := &desk{domain: o.domain, log: log}
	way := o.wayOut()
	defer way.Close()
	out := &queue.Queue{Backend: home.Queue, Blobs: home.Blobs, Hostname: o.domain, Grace: 5 * time.Second, Logger: log}
	out.Next = mailkeel.Transport(switchboard{desk, way})
	desk.out = out

	// The way in: a door that knows only the addresses of tickets.
	tls, err := home.TLS(o.domain, "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	mx := &smtp.Server{
		Hostname: o.domain, Blobs: home.Blobs, TLS: tls, Directory: desk, Next: mailkeel.HandlerFunc(desk.receive),
		MaxBytes: 10 << 20, Logger: log,
	}
	pages := &http.Server{Handler: desk.pages(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute}

	mailLn, err := net.Listen("tcp", o.smtp)
	if err != nil {
		return err
	}
	webLn, err := net.Listen("tcp", o.http)
	if err != nil {
		mailLn.Close()
		return err
	}
	var doors, queued sync.WaitGroup
	queueCtx, stopQueue := context.WithCancel(context.WithoutCancel(ctx))
	queued.Go(func() { out.Run(queueCtx) })
	queued.Go(func() { tidy(queueCtx, home.Blobs, out) })
	doors.Go(func() { mx.Serve(mailLn) })
	doors.Go(func() { pages.Serve(webLn) })
	fmt.Fprintf(stdout, "http %v\nsmtp %v\nready\n", webLn.Addr(), mailLn.Addr())

	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	pages.Shutdown(grace)
	if mx.Shutdown(grace) != nil {
		mx.Close()
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

func (o *options) wayOut() closer {
	if o.relay != "" {
		return &relay.Transport{Addr: o.relay, Hostname: o.domain}
	}
	return &remote.Transport{Hostname: o.domain}
}

// tidy removes the contents of mail that has left or was received.
func tidy(ctx context.Context, blobs blob.Store, out *queue.Queue) {
	for ctx.Err() == nil {
		blob.Sweep(ctx, blobs, time.Now(), time.Hour, out)
		select {
		case <-time.After(10 * time.Minute):
		case <-ctx.Done():
		}
	}
}
