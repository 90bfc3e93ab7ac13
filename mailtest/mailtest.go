// Package mailtest runs a real mail server inside a test: SMTP, submission and
// IMAP on loopback, over memory.
//
//	srv := mailtest.New(t)
//	srv.Account("ann@example.test", "secret")
//	// ... the code under test sends to ann through srv.SMTPAddr() ...
//	m := srv.Wait(ctx, 1)[0]
//
// It is the production server with memory backends. New returns when every
// listener accepts, on ports that were free, and the end of the test ends it.
// Nothing sleeps: Wait returns at the moment when the message is filed. Servers
// share nothing, so tests may run in parallel.
//
// Time is that of Config.Clock. In a bubble of testing/synctest, where sockets would
// hold the time up, give the doors a Listener in memory or turn them off: then the
// five days until a bounce pass in milliseconds.
package mailtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/certs"
	"github.com/mailkeel/mailkeel/queue/memqueue"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// Hostname is what the server calls itself.
const Hostname = "mx.example.test"

// A Server is a mail server for one test. Methods that cannot do what they are for
// end the test, which only the test's own goroutine may do: call Account, Wait, Left
// and those for addresses there. What was returned may be used anywhere.
type Server struct {
	// Server is the server itself, for what has no method here.
	*server.Server

	tb    testing.TB
	users *directory
	roots *x509.CertPool
	ctx   context.Context // ends with the test

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something below grows
	filed   []*Message
	left    []*Message
	follow  sync.WaitGroup
}

// New starts a server, and ends it with the test. Each edit may change the Config
// before that: limits, filters, a Clock, other backends.
//
// People log in with or without TLS. SMTP and submission do not offer STARTTLS,
// because net/smtp.SendMail and others would take it, and find that nobody vouches for
// the certificate; an edit with NoSTARTTLS = false is for code that insists on it. What
// is not for one of the accounts counts as sent away: see Left.
func New(tb testing.TB, edits ...func(*server.Config)) *Server {
	tb.Helper()
	s := &Server{tb: tb, users: newDirectory(), changed: make(chan struct{})}
	cert := &certs.SelfSigned{Names: []string{Hostname, "localhost", "127.0.0.1", "::1"}}
	leaf, err := cert.GetCertificate(nil)
	if err != nil {
		tb.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(leaf.Leaf)

	any := server.Listen{Addr: "127.0.0.1:0"}
	c := server.Config{
		Hostname: Hostname,
		Store:    &memstore.Backend{}, Blobs: &memblob.Store{}, Queue: &memqueue.Backend{},
		Directory: s.users, Auth: s.users,
		SMTP: any, Submission: any, Submissions: any, IMAP: any, IMAPS: any,
		TLS:          &tls.Config{GetCertificate: cert.GetCertificate, MinVersion: tls.VersionTLS12},
		NoSTARTTLS:   true,
		InsecureAuth: true,
		Rest:         transport{s},
		Logger:       slog.New(slog.NewTextHandler(logs{tb}, nil)),
	}
	for _, edit := range edits {
		edit(&c)
	}
	if s.Server, err = server.New(c); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("mailtest: the server ended with %v", err)
		}
		s.follow.Wait()
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		tb.Fatalf("mailtest: the server did not start: %v", err)
	}
	return s
}

// logs is where a test sees what the server logs.
type logs struct{ tb testing.TB }

func (l logs) Write(b []byte) (int, error) {
	l.tb.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

func (s *Server) addr(door string) string {
	a := s.Addr(door)
	if a == nil {
		s.tb.Helper()
		s.tb.Fatalf("mailtest: %s is off", door)
	}
	return a.String()
}

// SMTPAddr is where mail from other servers comes in, "127.0.0.1:port".
func (s *Server) SMTPAddr() string { return s.addr(server.SMTP) }

// SubmissionAddr is where users send, after AUTH.
func (s *Server) SubmissionAddr() string { return s.addr(server.Submission) }

// SubmissionsAddr is the same with TLS from the start: see ClientTLS.
func (s *Server) SubmissionsAddr() string { return s.addr(server.Submissions) }

// IMAPAddr is where users read, with STARTTLS.
func (s *Server) IMAPAddr() string { return s.addr(server.IMAP) }

// IMAPSAddr is the same with TLS from the start.
func (s *Server) IMAPSAddr() string { return s.addr(server.IMAPS) }

// ClientTLS is a TLS configuration that trusts this server and no other.
func (s *Server) ClientTLS() *tls.Config {
	return &tls.Config{RootCAs: s.roots, ServerName: Hostname}
}

// Account makes an account that receives and sends as address. Its domain becomes
// ours with it. The same address again changes the password.
func (s *Server) Account(address, password string) accounts.Account {
	s.tb.Helper()
	acc, fresh, err := s.users.put(address, password)
	if err != nil {
		s.tb.Fatalf("mailtest: %v", err)
	}
	if fresh {
		s.follow.Go(func() { s.watch(acc) })
	}
	return acc
}
