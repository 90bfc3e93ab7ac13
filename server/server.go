// Package server joins the parts to a whole mail server: mail arrives over SMTP
// and LMTP and is filed, people read it over IMAP, POP3 or in a browser and send over submission, and a
// queue brings what they send to the next hop.
//
// One Config says what it is made of; every backend in it is an interface, and
// package server/embedded has the ones that need nothing but a directory:
//
//	home, err := embedded.Open(ctx, "mail", embedded.Options{})
//	config := server.Config{Hostname: "mail.example.org", SMTP: server.Listen{Addr: ":25"}}
//	home.Fill(&config)
//	s, err := server.New(config)
//	err = s.Run(ctx) // until ctx is done
//
// New only joins; the parts are fields of the Server, and theirs may be changed
// before Run. Who wants other plumbing copies New's: it is one screen.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/delivery/mailbox"
	"github.com/mailkeel/mailkeel/delivery/route"
	"github.com/mailkeel/mailkeel/delivery/submit"
	"github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/pop3"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/store/search"
)

// ErrClosed means that a Server was run before, or shut down.
var ErrClosed = errors.New("server: closed")

// A Server is a mail server. New makes it; Run may be called once.
type Server struct {
	// The parts. Their fields may be changed before Run: limits that Config
	// does not have are there.
	Store *store.Store
	Queue *queue.Queue
	MX    *smtp.Server // mail from other servers
	LMTP  *smtp.Server
	MSA   *smtp.Server // mail from users
	IMAP  *imap.Server
	POP3  *pop3.Server
	Web   *Web // browsers; its Handler is nil without Config.Web
	// Indexer feeds Config.Search; nil without.
	Indexer *search.Indexer

	cfg   Config
	ready chan struct{} // closed when every door is open
	stop  chan struct{} // closed by Shutdown
	hard  chan struct{} // closed when sessions shall end at once
	done  chan struct{} // closed when nothing runs any more

	mu   sync.Mutex
	ran  bool // Run was called, or Shutdown before it
	open []serving
}

// New joins the parts. It opens nothing; an error says all that is wrong with c.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.KV = cmp.Or[store.KV](c.KV, &memstore.KV{Clock: c.Clock})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Auth != nil {
		c.Auth = (&accounts.Limiter{KV: c.KV, Clock: c.Clock, Logger: c.Logger}).Wrap(c.Auth)
	}

	boxes := &store.Store{Backend: c.Store, Blobs: c.Blobs, Limit: c.limit, Initial: c.mailboxes(), Keep: c.Keep, Clock: c.Clock, Logger: c.Logger}
	var local mailkeel.Transport = &mailbox.Transport{Store: boxes}
	if c.Local != nil {
		local = c.Local(local)
	}
	out := &queue.Queue{Backend: c.Queue, Blobs: c.Blobs, Hostname: c.Hostname, Sole: c.Sole, Grace: c.grace(), Clock: c.Clock, Logger: c.Logger}
	rest, routes := c.sign()
	out.Next = &route.Table{Local: local, Domains: routes, Rest: cmp.Or[mailkeel.Transport](rest, route.Hold(noRoute)), Directory: c.Directory, Expand: out}
	first := &queue.Inline{First: local, Queue: out}
	each := &queue.Inline{First: local, Queue: out, PerRecipient: true}
	users := func(rates store.KV) *submit.Transport {
		return &submit.Transport{Next: first, Directory: c.Directory, Hostname: c.Hostname, Rates: rates, PerDay: c.PerDay, Clock: c.Clock, Logger: c.Logger}
	}

	door := func(name string) *smtp.Server {
		return &smtp.Server{Hostname: c.Hostname, Product: c.Product, Blobs: c.Blobs, Directory: c.Directory, TLS: c.TLS, NoSTARTTLS: c.NoSTARTTLS, MaxBytes: c.MaxBytes, MaxConns: c.MaxConns, MaxPerIP: c.MaxPerIP, Trusted: c.Trusted, Clock: c.Clock, Logger: c.Logger.With("door", name)}
	}
	mx, lmtp, msa := door(SMTP), door(LMTP), door(Submission)
	mx.Next, mx.Filters, mx.Proxies, mx.Reverse = first, c.Filters, c.Proxies, c.Reverse
	lmtp.Next, lmtp.LMTP = each, true
	msa.Next = lifted{trusted: c.Trusted, free: users(nil), held: users(c.KV)}
	msa.Submission, msa.Auth, msa.InsecureAuth, msa.ChannelBinding, msa.Proxies, msa.Reverse = true, c.Auth, c.InsecureAuth, c.ChannelBinding, c.Proxies, c.Reverse
	reader := &imap.Server{Hostname: c.Hostname, Name: c.Product, Store: boxes, Auth: c.Auth, TLS: c.TLS, InsecureAuth: c.InsecureAuth, ChannelBinding: c.ChannelBinding, MaxAppend: c.MaxBytes, MaxConns: c.MaxConns, MaxPerIP: c.MaxPerIP, Trusted: c.Trusted, Proxies: c.Proxies, Logger: c.Logger}
	reader.Roster, _ = c.Directory.(accounts.Roster) // with it, people can share mailboxes
	reader.Quotas, _ = c.Directory.(accounts.QuotaSetter)
	var indexer *search.Indexer
	if c.Search != nil {
		indexer = &search.Indexer{Store: boxes, Index: c.Search, Busy: c.Busy, Clock: c.Clock, Logger: c.Logger}
		reader.Search = indexer
	}
	fetcher := &pop3.Server{Hostname: c.Hostname, Name: c.Product, Store: boxes, Auth: c.Auth, TLS: c.TLS, InsecureAuth: c.InsecureAuth, ChannelBinding: c.ChannelBinding, MaxConns: c.MaxConns, MaxPerIP: c.MaxPerIP, Trusted: c.Trusted, Proxies: c.Proxies, Clock: c.Clock, Logger: c.Logger}

	web := &Web{TLS: c.TLS, Proxies: c.Proxies, MaxConns: c.MaxConns, MaxPerIP: c.MaxPerIP, Trusted: c.Trusted, Logger: c.Logger}
	if c.Web != nil {
		written := users(c.KV)
		written.Sent = boxes
		parts := WebParts{Hostname: c.Hostname, Store: boxes, Directory: c.Directory, Auth: c.Auth, Submit: written, KV: c.KV, MaxBytes: c.MaxBytes, Clock: c.Clock, Logger: c.Logger}
		if indexer != nil {
			parts.Search = indexer
		}
		var err error
		if web.Handler, err = c.Web(parts); err != nil {
			return nil, err
		}
	}

	return &Server{
		Store: boxes, Queue: out, MX: mx, LMTP: lmtp, MSA: msa, IMAP: reader, POP3: fetcher, Web: web, Indexer: indexer, cfg: c,
		ready: make(chan struct{}), stop: make(chan struct{}), hard: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// Ready is closed when every door is open. If Run fails before that, it never is:
// wait for Run too.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr returns where a door is open, by its name ("smtp"): its first address, and
// nil if it is shut.
func (s *Server) Addr(door string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		if o.name == door {
			return o.lns[0].Addr()
		}
	}
	return nil
}

// Run opens the doors, delivers what is queued and tidies up, until ctx is done
// or Shutdown is called; then it stops as Shutdown says and returns nil. If a door
// cannot be opened, or breaks, it stops too and returns why. It calls Config.Close
// in any case.
func (s *Server) Run(ctx context.Context) (err error) {
	if !s.first() {
		return ErrClosed
	}
	defer close(s.done)
	defer func() { err = errors.Join(err, s.close()) }()
	open, err := openAll(ctx, &s.cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.open = open
	s.mu.Unlock()
	// The doors feed the queue, and the queue needs its backend: they end in
	// this order, and each outlives the ctx that was given to Run.
	base := context.WithoutCancel(ctx)
	queueCtx, stopQueue := context.WithCancel(base)
	defer stopQueue()
	keepCtx, stopKeep := context.WithCancel(base)
	defer stopKeep()
	var queued, kept, doors sync.WaitGroup
	queued.Go(func() { s.Queue.Run(queueCtx) })
	kept.Go(func() { s.upkeep(keepCtx) })

	broken := make(chan error, 1)
	for _, o := range open {
		serve := o.part(s).Serve
		if o.implicit {
			serve = o.part(s).ServeTLS
		}
		for _, ln := range o.lns {
			doors.Go(func() {
				err := serve(ln)
				select { // only the first counts, and none once we stop
				case broken <- fmt.Errorf("server: %s on %v broke: %w", o.name, ln.Addr(), err):
				default:
				}
			})
		}
	}
	close(s.ready)
	select {
	case <-ctx.Done():
	case <-s.stop:
	case err = <-broken:
		s.cfg.Logger.Error("server: stopping", "err", err)
	}
	stopKeep()
	s.shut(base)
	doors.Wait()
	kept.Wait()
	stopQueue()
	queued.Wait()
	return err
}

// shut ends the doors: no new connections, and sessions within the grace.
func (s *Server) shut(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	grace := mailkeel.ClockOr(s.cfg.Clock).NewTimer(s.cfg.grace())
	defer grace.Stop()
	var parts sync.WaitGroup
	for _, p := range []part{s.MX, s.LMTP, s.MSA, s.IMAP, s.POP3, s.Web} {
		parts.Go(func() {
			if p.Shutdown(ctx) != nil {
				p.Close()
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		parts.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-grace.C():
	case <-s.hard:
	}
	s.cfg.Logger.Warn("server: sessions are cut off")
	cancel()
	<-ended
}

// Shutdown makes Run stop listening, let sessions come to the end of what they
// are doing, then let deliveries end, and close the backends. It returns when Run
// has. When ctx is done first, sessions are cut off and it returns ctx's error;
// what they were not told to be accepted, their clients send again.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.first() {
		defer close(s.done)
		return s.close()
	}
	closeOnce(&s.mu, s.stop)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		closeOnce(&s.mu, s.hard)
		return ctx.Err()
	}
}

// first reports whether nobody has called it before.
func (s *Server) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.ran
	s.ran = true
	return !was
}

// close ends connections of the ways out, and then what is kept.
func (s *Server) close() error {
	var errs []error
	ways := []mailkeel.Transport{s.cfg.Rest}
	for _, t := range s.cfg.Routes {
		ways = append(ways, t)
	}
	for _, t := range ways {
		if c, ok := t.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	if s.cfg.Close != nil {
		errs = append(errs, s.cfg.Close())
	}
	return errors.Join(errs...)
}

func closeOnce(mu *sync.Mutex, ch chan struct{}) {
	mu.Lock()
	defer mu.Unlock()
	select {
	case <-ch:
	default:
		close(ch)
	}
}
