package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/queue"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/search"
)

// A Config says what a mail server is made of. Hostname, Store, Blobs, Queue and
// Directory are required, and Auth if people log in.
type Config struct {
	// Hostname is what the server calls itself in greetings, Received fields
	// and reports: a name that others can look up.
	Hostname string
	// Product is what it is called where servers say what they are: in Received fields,
	// to ID (IMAP) and CAPA (POP3). It is a word such as "AcmePost"; empty means
	// "mailkeel".
	Product string

	// Where things are kept. Package server/embedded fills these from one
	// directory. The Server closes none of them: see Close.
	Store store.Backend
	Blobs blob.Store
	Queue queue.Backend
	KV    store.KV // rates and other state that expires; nil means memory
	// Search, if set, is an index of what messages say, so that searches need not
	// read them. An account is indexed, in the background, once it searches. The
	// index can be deleted at any time.
	Search search.Index
	// Busy, if set, reports whether there is more to do than the store keeps up with.
	// What can wait waits for it, a while.
	Busy func() bool
	// Sole says that no other process uses Queue: mail that was being tried
	// when this one crashed is tried again at once.
	Sole bool

	// Who is who. Manager, if set, names the deleted accounts, whose mail is
	// then removed, and the others, whose old tombstones are forgotten.
	// Auth is asked behind an accounts.Limiter. A Directory that is an
	// accounts.Roster lets people share mailboxes, and one that is an
	// accounts.QuotaSetter lets administrators set quotas, both over IMAP.
	Directory accounts.Directory
	Auth      accounts.Authenticator
	Manager   accounts.Manager

	// The doors. One that is zero stays shut.
	SMTP        Listen // mail from other servers
	LMTP        Listen // mail from a server in front: loopback or a Unix path
	Submission  Listen // mail from users, with STARTTLS
	Submissions Listen // mail from users, TLS from the start; needs TLS
	IMAP        Listen // with STARTTLS
	IMAPS       Listen // TLS from the start; needs TLS
	POP3        Listen // INBOX for programs that fetch and delete, with STLS
	POP3S       Listen // TLS from the start; needs TLS
	HTTP        Listen // pages for people, in the clear: for loopback and for a proxy in front; needs Web
	HTTPS       Listen // TLS from the start; needs TLS and Web

	// Web makes what HTTP and HTTPS serve: server/webdoor has webmail. It stands
	// outside, so that who has no pages links none.
	Web func(WebParts) (http.Handler, error)

	// TLS holds the certificate, best as GetCertificate; nil means that there
	// is none, and then nobody can log in without InsecureAuth.
	TLS *tls.Config
	// NoSTARTTLS keeps SMTP, LMTP and Submission from offering TLS.
	NoSTARTTLS bool
	// InsecureAuth lets passwords be sent in the clear. New refuses it if a
	// door has an address that is not loopback.
	InsecureAuth bool
	// ChannelBinding offers SCRAM-SHA-256-PLUS on TLS: see imap.Server.
	ChannelBinding bool

	// Rest takes mail for elsewhere: a remote.Transport brings it to the
	// world, a relay.Transport to a smart host. Nil means that it is held in
	// the queue until there is one, or a person drops it. It and those of
	// Routes are closed when Run ends, if they are an io.Closer.
	Rest mailkeel.Transport
	// Routes are exceptions from Rest, by domain in lower case A-labels;
	// ".example.org" is for all below it.
	Routes map[string]mailkeel.Transport
	// Keys, if set, are those of our domains: what they write to elsewhere is signed
	// with DKIM, before Rest and Routes. Packages embedded and cluster have some, so
	// set it to nil after Fill where something else signs.
	Keys dkim.Keys
	// Local, if set, wraps the Transport that files mail: what it returns is
	// asked first. It may implement mailkeel.Verifier.
	Local func(mailkeel.Transport) mailkeel.Transport
	// Filters judge mail from other servers; DefaultFilters makes a chain of them. Nil means
	// none.
	Filters *filter.Chain
	// Trusted peers are not held to rates and DNS lists. They may not relay,
	// and login limits hold for them too.
	Trusted []netip.Prefix

	// Proxies are load balancers in front of all doors but LMTP that send the
	// PROXY protocol, version 1 or 2, before anything else. They must; from all
	// others it is not understood.
	Proxies []netip.Prefix
	// Reverse gives the name of who connects to send mail, for Received fields:
	// smtp.ReverseBy makes one. Nil looks nothing up.
	Reverse func(ctx context.Context, addr netip.Addr) string

	// MaxConns is how many connections SMTP, LMTP, submission, IMAP, POP3 and HTTP each
	// have at once; zero means 10,000. MaxPerIP is how many of one address, or IPv6
	// /64, other than loopback and Trusted; zero means 100, and 200 for IMAP.
	MaxConns, MaxPerIP int
	// MaxBytes is how large a message may be; zero means 50 MiB.
	MaxBytes int64
	// PerDay is how many recipients an account may write to in a day; zero
	// means 2,000.
	PerDay int
	// Mailboxes is what new accounts have beside INBOX; nil means Drafts, Sent,
	// Junk, Trash and Archive with these roles, and an empty list none.
	Mailboxes []store.InitialMailbox
	// Keep is for how long an expunged message can be restored; zero means not
	// at all.
	Keep time.Duration
	// Tombstones is for how long clients that were away are told what was
	// deleted meanwhile; zero means 30 days. They then start over.
	Tombstones time.Duration
	// SweepEvery is how often blobs that nothing names are removed; zero means
	// one hour. They must be older than SweepGrace; zero means 6 hours, which
	// must be longer than any message takes from its first byte to its row.
	SweepEvery, SweepGrace time.Duration
	// Grace is how long sessions, and then deliveries, may take to end when
	// the context of Run does; zero means 10 s.
	Grace time.Duration

	// Close, if set, is called once when Run returns and nothing uses the
	// backends any more.
	Close func() error
	// Clock is for what is written down and for when things are due; nil means
	// real time. Time-outs of connections are in real time.
	Clock  mailkeel.Clock
	Logger *slog.Logger // nil means discard
}

// check says what is wrong with a Config.
func (c *Config) check() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("server: "+what))
		}
	}
	need(c.Hostname != "", "Config.Hostname is required")
	need(c.Store != nil, "Config.Store is required")
	need(c.Blobs != nil, "Config.Blobs is required")
	need(c.Queue != nil, "Config.Queue is required")
	need(c.Directory != nil, "Config.Directory is required")
	if c.Filters != nil {
		if err := c.Filters.Check(); err != nil {
			errs = append(errs, fmt.Errorf("server: Config.Filters: %w", err))
		}
	}
	for _, d := range doors {
		l := d.listen(c)
		if l.off() {
			continue
		}
		need(!d.login || c.Auth != nil, d.name+" needs Config.Auth")
		need(!d.implicit || c.TLS != nil, d.name+" needs Config.TLS")
		need(d.name != HTTP && d.name != HTTPS || c.Web != nil, d.name+" needs Config.Web")
		if err := l.Check(); err != nil {
			errs = append(errs, fmt.Errorf("server: %s: %w", d.name, err))
			continue
		}
		for _, a := range l.addresses() {
			switch {
			case loopback(a):
			case d.name == LMTP:
				need(false, fmt.Sprintf("lmtp trusts whoever connects: %s is neither a loopback address nor a Unix path", a))
			case c.InsecureAuth:
				need(false, fmt.Sprintf("passwords in the clear (insecure-auth) are for loopback addresses only: %s %s is not one", d.name, a))
			}
		}
	}
	return errors.Join(errs...)
}

// usualMailboxes are what mail programs look for.
var usualMailboxes = []store.InitialMailbox{
	{Name: "Drafts", Role: "drafts"}, {Name: "Sent", Role: "sent"}, {Name: "Junk", Role: "junk"},
	{Name: "Trash", Role: "trash"}, {Name: "Archive", Role: "archive"},
}

func (c *Config) mailboxes() []store.InitialMailbox {
	if c.Mailboxes == nil {
		return usualMailboxes
	}
	return c.Mailboxes
}

func (c *Config) grace() time.Duration { return cmp.Or(c.Grace, 10*time.Second) }

// limit is what the store asks of the Directory, in the store's words.
func (c *Config) limit(ctx context.Context, id mailkeel.AccountID) (mailkeel.Quota, error) {
	q, err := c.Directory.Limit(ctx, id)
	if errors.Is(err, accounts.ErrNoUser) {
		err = fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return q, err
}
