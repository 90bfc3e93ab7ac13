// Command appliance is a whole mail server under a name of its own: what people, mail
// programs and other servers see of it says Acme. File brand.go has what makes the
// pages so; Product is the word for the protocols.
//
//	go run ./examples/appliance
//
// It prints where its pages are, and an account. Its other doors are those of postoffice.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/delivery/relay"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/server/webdoor"
	"github.com/mailkeel/mailkeel/webmail"
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
	fs := flag.NewFlagSet("appliance", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o := options{}
	fs.StringVar(&o.dir, "dir", "appliance-data", "the `directory` of everything that is kept")
	fs.StringVar(&o.hostname, "hostname", "mail.example.test", "the `name` of this server, in the domain of its accounts")
	fs.StringVar(&o.domain, "domain", "example.test", "the `domain` of the accounts")
	fs.StringVar(&o.http, "http", "127.0.0.1:2080", "`address` of the pages")
	fs.StringVar(&o.smtp, "smtp", "127.0.0.1:2525", "`address` for mail from other servers")
	fs.StringVar(&o.imap, "imap", "127.0.0.1:2143", "`address` for mail programs")
	fs.StringVar(&o.pop3, "pop3", "127.0.0.1:2110", "`address` for programs that fetch and delete")
	fs.StringVar(&o.relay, "relay", "", "the smart `host:port` for outgoing mail; without it that is held")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || fs.NArg() > 0 {
		return 2
	}
	if err := o.serve(ctx, stdout, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "appliance:", err)
		return 1
	}
	return 0
}

type options struct{ dir, hostname, domain, http, smtp, imap, pop3, relay string }

func (o *options) serve(ctx context.Context, stdout io.Writer, log *slog.Logger) error {
	home, err := embedded.Open(ctx, o.dir, embedded.Options{Logger: log})
	if err != nil {
		return err
	}
	c := server.Config{
		Hostname: o.hostname,
		Product:  "AcmePost",
		Web:      webdoor.New(func(h *webmail.Handler) { h.Brand = acme() }),
		HTTP:     server.Listen{Addr: o.http},
		SMTP:     server.Listen{Addr: o.smtp},
		IMAP:     server.Listen{Addr: o.imap},
		POP3:     server.Listen{Addr: o.pop3},
		Logger:   log,
	}
	home.Fill(&c)
	if o.relay != "" {
		c.Rest = &relay.Transport{Addr: o.relay, Hostname: o.hostname, Logger: log}
	}
	account, password, err := o.first(ctx, home)
	if err == nil {
		c.TLS, err = home.TLS(o.hostname)
	}
	if err != nil {
		return errors.Join(err, home.Close())
	}
	s, err := server.New(c)
	if err != nil {
		return errors.Join(err, home.Close())
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		return err
	}
	for _, door := range []string{server.HTTP, server.SMTP, server.IMAP, server.POP3} {
		fmt.Fprintln(stdout, door, s.Addr(door))
	}
	if password != "" {
		fmt.Fprintln(stdout, "account", account, password)
	}
	fmt.Fprintln(stdout, "ready")
	return <-done
}

// first makes an account the first time, with a password that nobody knows.
func (o *options) first(ctx context.Context, home *embedded.Home) (address, password string, err error) {
	if ds, err := home.Accounts.Domains(ctx); err != nil || len(ds) > 0 {
		return "", "", err
	}
	if err := home.Accounts.PutDomain(ctx, accounts.Domain{Name: o.domain}); err != nil {
		return "", "", err
	}
	address, password = "owner@"+o.domain, rand.Text()
	_, err = home.Accounts.CreateAccount(ctx, accounts.Account{Address: address}, password)
	return address, password, err
}
