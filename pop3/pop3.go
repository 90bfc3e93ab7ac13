// Package pop3 lets mail programs fetch and delete what is in an INBOX: POP3
// (RFC 1939) over a store.Store.
//
// A Server needs a Hostname, a Store and an Authenticator; everything else has a
// safe default:
//
//	s := &pop3.Server{Hostname: "mail.example.org", Store: boxes, Auth: users, TLS: config}
//	go s.ServeTLS(listener)
//	...
//	s.Shutdown(ctx)
//
// Beside RFC 1939 it has CAPA, response codes and PIPELINING (RFC 2449, RFC 3206),
// STLS (RFC 2595), AUTH (RFC 5034) and UTF8 (RFC 6856, without LANG).
//
// # The maildrop
//
// A session sees the INBOX as it was at login, numbered from 1. What arrives later
// is for the next session. DELE only marks: QUIT removes what is marked, and says
// +OK once that is durable; otherwise -ERR and which messages are still there. A
// session that ends in any other way removes nothing.
//
// As with Dovecot's defaults, a maildrop is not locked: several sessions may have it
// open, IMAP may change it meanwhile, and a message that another session removed
// is "-ERR No such message". RFC 1939, section 4 asks for a lock; MaxPerAccount 1 is
// one within this Server. Also as there, RETR makes a message \Seen for IMAP, unless
// KeepUnseen is set, and a unique-id is the UID and the UIDVALIDITY in hex, so that
// it is the same in each session, on each machine, and never given again.
//
// # Messages
//
// Messages are sent byte for byte as they were filed, and the octets that STAT,
// LIST and RETR tell are exactly these, without the dots that are stuffed. One that
// does not end with CRLF gets one, which is not counted. A dot after a bare LF is
// stuffed too, because many clients take that for the end of a line, and a message
// must not be able to end itself.
//
// UTF8 changes nothing about that: header fields with raw UTF-8 are sent in either
// mode, though RFC 6856 would have them refused, or rewritten, for clients that
// did not ask. A message that its owner's program can never fetch helps nobody.
//
// # Not there
//
// APOP is not offered: the server would have to keep passwords in the clear to check
// it, and it is MD5. SCRAM-SHA-256 does what it was for. LAST went with RFC 1725.
package pop3

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/tamper"
	"github.com/mailkeel/mailkeel/store"
)

// A Server answers POP3 clients. Hostname, Store and Auth are required, and
// Store.Blobs. Fields are not changed once it serves.
type Server struct {
	Hostname string // in the greeting
	Store    *store.Store
	// Auth checks passwords, and tokens and certificates if it can: see package
	// sasl for what AUTH offers when.
	Auth accounts.Authenticator
	// TLS is for STLS and ServeTLS; nil offers no STLS.
	TLS *tls.Config
	// InsecureAuth allows USER, PASS and AUTH without TLS.
	InsecureAuth bool
	// ChannelBinding offers SCRAM-SHA-256-PLUS on TLS, which proves that nobody sits
	// between client and server. It is off because mail programs that GNU SASL serves
	// take it and cannot do it: mutt of Debian 12 could not log in.
	ChannelBinding bool
	// Name and Version are what CAPA tells as IMPLEMENTATION; empty means
	// "mailkeel" and no version.
	Name, Version string

	// KeepUnseen makes RETR leave the flag \Seen alone.
	KeepUnseen bool
	// Expire is after how many days the site removes mail from INBOX, as CAPA
	// tells; zero means never. The Server itself removes nothing.
	Expire int
	// LoginDelay is how long an account waits from one login to the next, but for
	// fractions of a second (RFC 2449, 6.5); zero means not at all. It holds
	// within this Server.
	LoginDelay time.Duration

	// MaxConns is how many connections are held at a time; zero means 10,000.
	MaxConns int
	// MaxPerIP is how many of them one address may have, an IPv6 /64 counting
	// as one; zero means 100.
	MaxPerIP int
	// Trusted addresses, and those of this machine, may have any number. Logins
	// are limited for them too.
	Trusted []netip.Prefix
	// Proxies begin each connection with a PROXY header, which tells where the
	// client is.
	Proxies []netip.Prefix
	// MaxPerAccount is how many of them may have the maildrop of one account
	// open; zero means 10, and 1 is the lock of RFC 1939.
	MaxPerAccount int
	// LoginTimeout is how long a client may take in all to log in; zero means
	// three minutes.
	LoginTimeout time.Duration
	// IdleTimeout is how long a client may be silent once it has logged in; zero
	// means ten minutes, the least that RFC 1939, section 3 allows.
	IdleTimeout time.Duration
	// StallTimeout is how long the client may take nothing of what is sent;
	// zero means five minutes.
	StallTimeout time.Duration

	// Clock is for LoginDelay; nil means real time. Time-outs of connections are
	// in real time.
	// Tamper is for package mailtest; nil means that nobody does.
	Tamper *tamper.Tamper

	Clock  mailkeel.Clock
	Logger *slog.Logger // nil means discard

	state serverState
}

// Limits on what a client may send.
const (
	maxCommand      = 255      // RFC 2449, 4: a line with its CRLF
	maxAuth         = 12 << 10 // RFC 5034, 4: a line of an exchange
	maxSkip         = 64 << 10 // of a line that is too long; more ends the connection
	maxBad          = 20       // commands in a row that make no sense
	maxEarly        = 100      // commands before login
	maxAuthFailures = 3
)

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
