// Package imap serves mailboxes: IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051)
// over a store.Store.
//
// A Server needs a Hostname, a Store and an Authenticator; everything else has a
// safe default:
//
//	s := &imap.Server{Hostname: "mail.example.org", Store: boxes, Auth: users, TLS: config}
//	go s.ServeTLS(listener)
//	...
//	s.Shutdown(ctx)
//
// The engine is this package's own; what it shares with others are the public
// value types of github.com/emersion/go-imap/v2. A connection is served by one
// goroutine, one command after the other. Commands are parsed while they arrive,
// in bounded memory; responses are gathered and written when the client has
// nothing more to say. What it offers stands in capability.go, with a dialog for
// each in testdata. Sessions that have the same mailbox open share one view of
// it, see view.go.
package imap

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/tamper"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// A Server answers IMAP clients. Hostname, Store and Auth are required, and
// Store.Blobs. Fields are not changed once it serves.
type Server struct {
	Hostname string // in the greeting
	Store    *store.Store
	// Auth checks passwords, and tokens and certificates if it can: see
	// package sasl for what is offered when.
	Auth accounts.Authenticator
	// TLS is for STARTTLS and ServeTLS; nil offers no STARTTLS. For EXTERNAL it
	// has ClientCAs and a ClientAuth of tls.VerifyClientCertIfGiven.
	TLS *tls.Config
	// InsecureAuth allows LOGIN and AUTHENTICATE without TLS.
	InsecureAuth bool
	// ChannelBinding offers SCRAM-SHA-256-PLUS on TLS, which proves that nobody sits
	// between client and server. It is off because mail programs that GNU SASL serves
	// take it and cannot do it: mutt of Debian 12 could not log in.
	ChannelBinding bool
	// Roster, if set, lets people share mailboxes (RFC 4314): it has the
	// addresses by which they know each other. Nil means that each account sees
	// its own mailboxes alone.
	Roster accounts.Roster
	// OtherUsers and SharedFolders are what the names of mailboxes of others
	// begin with, those of people and those of accounts that are no person
	// (accounts.Account.Shared): "Other Users/bob@example.org/Work". Empty means
	// "Other Users" and "Shared Folders".
	OtherUsers, SharedFolders string
	// Quotas, if set, lets administrators change those of accounts of their
	// domains (RFC 9208, SETQUOTA).
	Quotas accounts.QuotaSetter
	// Comment and Admin are what the server says of itself (RFC 5464, 6.2.1):
	// a text for people, and the URI of who runs it, mailto:help@example.org.
	Comment, Admin string
	// Name and Version are what ID answers (RFC 2971); empty means "mailkeel"
	// and no version.
	Name, Version string

	// Search, if set, answers searches for texts from an index. What it does not know
	// is read, so results are the same.
	Search search.Finder
	// SearchHelpers is how many goroutines, over all sessions, help those that search
	// through or list many messages; zero means one for each processor but one, and
	// less than zero none.
	SearchHelpers int

	// MaxAppend is the size in bytes of the largest message that APPEND takes
	// (RFC 7889); zero means 50 MiB.
	MaxAppend int64
	// Compress offers COMPRESS=DEFLATE (RFC 4978). It is off because who can choose
	// part of a response and see how long it becomes learns about the rest of it
	// (CRIME), and because it costs processor time and 50 KB a connection.
	Compress bool
	// MaxConns is how many connections are held at a time; zero means 10,000.
	MaxConns int
	// MaxPerIP is how many of them one address may have, an IPv6 /64 counting
	// as one; zero means 200.
	MaxPerIP int
	// Trusted addresses, and those of this machine, may have any number. Logins
	// are limited for them too.
	Trusted []netip.Prefix
	// Proxies begin each connection with a PROXY header, which tells where the
	// client is.
	Proxies []netip.Prefix
	// MaxPerAccount is how many of them may be logged in to one account; zero
	// means 100.
	MaxPerAccount int
	// LoginTimeout is how long a client may take for each step before it is
	// logged in; zero means one minute.
	LoginTimeout time.Duration
	// IdleTimeout is how long a client may be silent between commands, and in
	// IDLE; zero means 30 minutes, the least that RFC 9051, 5.4 allows.
	IdleTimeout time.Duration
	// StallTimeout is how long a transfer may stand still, in either
	// direction; zero means five minutes.
	StallTimeout time.Duration

	// Tamper is for package mailtest; nil means that nobody does.
	Tamper *tamper.Tamper

	Clock  mailkeel.Clock // measures time-outs; nil means real time
	Logger *slog.Logger   // nil means discard

	state serverState
}

// Limits on what a client may send.
const (
	maxEarlyCommand = 7 << 10  // a command and its literals, before login
	maxCommand      = 64 << 10 // the same after login; APPEND's message is not counted
	maxEarlyLiteral = 4 << 10  // literals of a command before login
	maxSkip         = 1 << 20  // of a line that is too long; more ends the connection
	maxDepth        = 50       // nested parentheses
	maxTag          = 128
	maxBad          = 20  // BAD answers in a row
	maxEarly        = 100 // commands before login
	maxAuthFailures = 3
	maxKeyword      = 64  // bytes of a keyword
	maxFlags        = 100 // flags in one command
	maxListedFlags  = 500 // keywords that FLAGS lists
)

func (s *Server) maxAppend() int64 {
	if s.MaxAppend > 0 {
		return s.MaxAppend
	}
	return 50 << 20
}

func or[T ~int | ~int64](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

func (s *Server) now() time.Time { return mailkeel.ClockOr(s.Clock).Now() }
