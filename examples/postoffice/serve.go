package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/server/webdoor"
	"github.com/mailkeel/mailkeel/webmail"
)

// serve runs the server until ctx is done.
func serve(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	home, err := embedded.Open(ctx, o.dir, embedded.Options{Logger: log, Compress: o.compress, NoIndex: !o.index})
	if err != nil {
		return err
	}
	s, err := o.build(ctx, home, log)
	if err != nil {
		return errors.Join(err, home.Close())
	}
	if o.imports != "" {
		done, err := importMail(ctx, home, s.Store, o.imports, o.owner())
		if err != nil {
			return errors.Join(err, s.Shutdown(ctx))
		}
		done.tell(stdout, o.imports)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-s.Ready():
	}
	o.greet(ctx, stdout, home, s)
	log.Info("ready", "hostname", o.hostname, "dir", home.Dir, "pid", os.Getpid())
	fmt.Fprintln(stdout, "ready")
	debug.FreeOSMemory() // hashing the passwords of -account took 19 MiB each
	err = <-done
	log.Info("stopped")
	return err
}

// build joins a server as o says. When it returns no error, the Server closes home.
func (o *options) build(ctx context.Context, home *embedded.Home, log *slog.Logger) (*server.Server, error) {
	domains, err := o.populate(ctx, home, log)
	if err != nil {
		return nil, err
	}
	if o.hostname == "" {
		o.hostname = hostname(domains[0])
	}
	if o.hostname, err = accounts.CanonicalDomain(o.hostname); err != nil {
		return nil, fmt.Errorf("-hostname: %w", err)
	}
	c := server.Config{
		Hostname:    o.hostname,
		SMTP:        server.Listen{Addr: o.smtp},
		LMTP:        server.Listen{Addr: o.lmtp},
		Submission:  server.Listen{Addr: o.submission},
		Submissions: server.Listen{Addr: o.submissions},
		IMAP:        server.Listen{Addr: o.imap},
		IMAPS:       server.Listen{Addr: o.imaps},
		POP3:        server.Listen{Addr: o.pop3},
		POP3S:       server.Listen{Addr: o.pop3s},
		HTTP:        server.Listen{Addr: o.http},
		HTTPS:       server.Listen{Addr: o.https},
		Web: webdoor.New(func(h *webmail.Handler) {
			h.TrustedProxies, h.Brand.Name = o.proxies, o.brand
		}),

		InsecureAuth:   o.insecureAuth,
		ChannelBinding: o.channelBinding,
		Trusted:        o.trusted,
		Reverse:        o.reverse(),
		Filters:        o.chain(log),
		Logger:         log,
	}
	if o.cert != "" {
		if c.TLS, err = server.CertFiles(o.cert, o.key, log); err != nil {
			err = fmt.Errorf("-cert, -key: %w", err)
		}
	} else {
		c.TLS, err = home.TLS(append([]string{o.hostname, "localhost", "127.0.0.1", "::1"}, domains...)...)
	}
	if err != nil {
		return nil, err
	}
	if c.Rest = o.wayOut(log); c.Rest == nil {
		log.Warn("outgoing mail is held in the queue: there is neither -relay nor -direct")
	}
	home.Fill(&c)
	if !o.sign {
		c.Keys = nil
	}

	// Commands use the backends, so they end before those close.
	stop := func(context.Context) error { return nil }
	c.Close = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return errors.Join(stop(ctx), home.Close())
	}
	s, err := server.New(c)
	if err != nil {
		return nil, err
	}
	stop, err = commandsOn(home, s.Store, s.Queue, o).Offer(socket(home.Dir), log)
	return s, err
}

// socket is where the server of a directory takes commands.
func socket(dir string) string { return filepath.Join(dir, "control") }
