// Package mailtest runs a real mail server inside a test: SMTP, submission, LMTP,
// IMAP and POP3 on loopback, over memory.
//
//	func TestWelcome(t *testing.T) {
//		srv := mailtest.New(t)
//		app.Register(srv.SMTPAddr(), "ann@example.test") // the code under test
//		m := srv.Wait(t.Context(), mailtest.To("ann@example.test").Subject("Welcome"))
//		if !strings.Contains(m.Text(), "Ann") {
//			t.Errorf("no name in %s", m)
//		}
//	}
//
// It is the production server with memory backends. New returns when every
// listener accepts, on ports that were free, and the end of the test ends it. An
// address exists once mail for it comes, and any password lets its owner in; with
// Options.Strict the accounts are those that the test makes.
//
// Nothing sleeps and nothing polls: Wait returns at the moment when the message is
// filed, and AssertNone when everything in flight has come to rest. Servers share
// nothing, so tests may run in parallel.
//
// Time is that of Options.Clock. In a bubble of testing/synctest, where sockets would
// hold the time up, give the doors a Listener in memory or turn them off: then the
// five days until a bounce pass in milliseconds.
package mailtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/tamper"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// Hostname is what the server calls itself, unless Options.Hostname says otherwise.
const Hostname = "mx.example.test"

// A Server is a mail server for one test. Methods that cannot do what they are for
// end the test, which only the test's own goroutine may do: call those that take no
// TB there. What was returned may be used anywhere.
type Server struct {
	// Server is the server itself, for what has no method here.
	*server.Server

	tb       TB
	opts     Options
	users    *directory
	ca       *authority
	faults   *faults
	sessions sessions
	open     open
	world    *World          // nil if it is alone
	ctx      context.Context // ends with the test

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something below changes
	arrived []*Message
	count   uint64                           // of those that ever came
	seen    map[store.AccountID]store.ModSeq // how far each account was followed
	follow  sync.WaitGroup
}

// New starts a server, and ends it with the test. Options may be left out; there is
// one at most.
func New(tb TB, options ...Options) *Server {
	tb.Helper()
	switch len(options) {
	case 0:
		return start(tb, Options{}, nil)
	case 1:
		return start(tb, options[0], nil)
	}
	tb.Fatal("mailtest: New takes one Options")
	return nil
}

func start(tb TB, o Options, w *World) *Server {
	tb.Helper()
	o.Hostname = cmp.Or(o.Hostname, Hostname)
	s := &Server{tb: tb, opts: o, world: w, changed: make(chan struct{}), seen: map[store.AccountID]store.ModSeq{}}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	if s.ca = newAuthority(o.Clock); w != nil {
		s.ca = w.ca
	}
	s.users = newDirectory(o.Strict, o.Domains, func(a accounts.Account) { s.follow.Go(func() { s.watch(a) }) })

	s.faults = &faults{clock: mailkeel.ClockOr(o.Clock), done: ctx.Done()}
	c := server.Config{
		Hostname: o.Hostname,
		Store:    &memstore.Backend{}, Blobs: &memblob.Store{Clock: s.opts.Clock}, Queue: &memqueue.Backend{},
		Directory: s.users, Auth: s.users,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS12, Time: s.ca.now,
			GetCertificate: s.faults.certificate(s.ca, o.Hostname, s.doorsAt),
		},
		NoSTARTTLS:   !s.opts.STARTTLS,
		InsecureAuth: true,
		Rest:         transport{s},
		Clock:        s.opts.Clock,
		Logger:       slog.New(slog.NewTextHandler(logs{tb}, nil)),
	}
	for _, d := range doors(&c) {
		*d.listen = server.Listen{Addr: "127.0.0.1:0"}
	}
	if s.opts.Config != nil {
		s.opts.Config(&c)
	}
	if err := s.listen(&c); err != nil {
		cancel()
		tb.Fatal(err)
	}
	var err error
	if s.Server, err = server.New(c); err != nil {
		cancel()
		tb.Fatal(err)
	}
	bend := func(doors ...string) *tamper.Tamper {
		return &tamper.Tamper{Hook: s.faults.hook(doors...), Record: s.sessions.record(s.doorsAt)}
	}
	s.MX.Tamper, s.LMTP.Tamper, s.MSA.Tamper = bend(server.SMTP), bend(server.LMTP), bend(server.Submission, server.Submissions)
	s.IMAP.Tamper, s.POP3.Tamper = bend(server.IMAP, server.IMAPS), bend(server.POP3, server.POP3S)
	for _, f := range o.Faults {
		s.Fail(f)
	}
	if o.Parts != nil {
		o.Parts(s.Server)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tb.Cleanup(func() {
		s.saveFailure()
		cancel()
		if err := s.end(done); err != nil {
			tb.Errorf("mailtest: the server ended with %v", err)
		}
		s.users.close()
		s.follow.Wait()
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		tb.Fatalf("mailtest: the server did not start: %v", err)
	}
	for _, a := range s.opts.Accounts {
		s.Account(a.Address, a.Password)
	}
	for _, a := range s.opts.Aliases {
		s.Alias(a.Address, a.Targets...)
	}
	return s
}

// logs is where a test sees what the server logs.
type logs struct{ tb TB }

func (l logs) Write(b []byte) (int, error) {
	l.tb.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// Account makes an account that receives and sends as address, or gives it another
// password. An empty password lets any in, and none with Options.Strict. The domain
// becomes ours with it.
func (s *Server) Account(address, password string) accounts.Account {
	s.tb.Helper()
	acc, err := s.users.put(address, password)
	if err != nil {
		s.tb.Fatalf("mailtest: %v", err)
	}
	return acc
}

// Alias lets mail for address go to the targets instead, here or elsewhere.
func (s *Server) Alias(address string, targets ...string) {
	s.tb.Helper()
	if err := s.users.alias(address, targets); err != nil {
		s.tb.Fatalf("mailtest: %v", err)
	}
}

// ClientTLS is a TLS configuration that trusts this server and no other.
func (s *Server) ClientTLS() *tls.Config {
	return &tls.Config{RootCAs: s.ca.pool(), ServerName: s.opts.Hostname, Time: s.ca.now}
}

// CA is the certificate that vouches for the server, as PEM: for programs that are
// told by a file whom to trust.
func (s *Server) CA() []byte { return s.ca.pem() }
