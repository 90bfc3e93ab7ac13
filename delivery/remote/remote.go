// Package remote is a Transport that finds the mail servers of each recipient's
// domain and hands them the message.
package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/internal/smtpclient"
)

// A Transport delivers to the world. The zero value works; Hostname ought to be
// set. It is called from many goroutines, each of which has a session of its own;
// sessions are kept for the next message to the same domain for a while. Fields
// are not changed after the first Deliver.
//
// Recipients of one domain share a transaction. A queue that groups by domain
// gives it one domain at a time; otherwise it takes them one after the other.
type Transport struct {
	// Hostname is what EHLO says, and a name by which an MX record means us;
	// empty means "localhost". It ought to be the name that the address
	// resolves to.
	Hostname string
	// Resolver looks names up; nil means net.DefaultResolver. A *net.Resolver
	// is one.
	Resolver Resolver
	// Policy, if set, says what encryption a domain demands.
	Policy Policy
	// TLS is the configuration; nil means the system's roots. The ServerName is
	// always the host's.
	TLS *tls.Config

	Port int // zero means 25
	// Dial opens connections to the addresses found; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// LocalAddrs are the addresses to connect from, at most one of each family;
	// one that is not given is the system's choice. Not with Dial.
	LocalAddrs []netip.Addr
	// MaxHosts is how many addresses of a domain are tried for a message; zero
	// means 20.
	MaxHosts int
	// DeadFor is for how long an address that took no connection is passed over,
	// whatever the domain; zero means 1 minute, negative not at all. So a host
	// that is down costs one worker its time, and not each of its messages.
	DeadFor time.Duration
	// ConnectTimeout is for a connection; zero means 30 seconds.
	ConnectTimeout time.Duration
	// CommandTimeout is for the answer to a command; zero means 5 minutes, and
	// 10 for the answer to the content (RFC 5321, 4.5.3.2).
	CommandTimeout time.Duration
	// IdleTimeout is how long a session is kept; zero means 10 seconds, negative
	// not at all.
	IdleTimeout time.Duration
	Clock       mailkeel.Clock // nil means real time
	Logger      *slog.Logger   // nil means discard

	once sync.Once
	pool smtpclient.Pool
	dead dead
}

var _ mailkeel.Transport = (*Transport)(nil)

// Deliver sends env to the mail servers of its domains. If none can be reached the
// error is temporary and delivery.ErrUnreachable.
func (t *Transport) Deliver(ctx context.Context, env *mailkeel.Envelope, m mailkeel.Content) []mailkeel.Result {
	t.once.Do(func() { t.pool.Idle, t.pool.Clock = t.IdleTimeout, t.Clock })
	rs := make([]mailkeel.Result, len(env.Rcpts))
	var domains []string
	at := map[string][]int{}
	for i, r := range env.Rcpts {
		d, err := domainOf(r.Addr)
		if err != nil {
			rs[i].Err = err
			continue
		}
		if at[d] == nil {
			domains = append(domains, d)
		}
		at[d] = append(at[d], i)
	}
	for _, d := range domains {
		e := env
		if len(at[d]) < len(env.Rcpts) {
			var rcpts []mailkeel.Recipient
			for _, i := range at[d] {
				rcpts = append(rcpts, env.Rcpts[i])
			}
			e = env.Only(rcpts...)
		}
		for j, r := range t.domain(ctx, d, e, m) {
			rs[at[d][j]] = r
		}
	}
	return rs
}

// domainOf returns the domain of an address in the form in which it is looked up.
func domainOf(addr string) (string, error) {
	path, _, err := smtpclient.Path(addr)
	var d string
	if err == nil {
		_, d = split(path)
		d, err = smtpclient.Domain(d)
	}
	if err != nil {
		return "", &mailkeel.Error{Code: 553, Enhanced: [3]int{5, 1, 3}, Message: "bad recipient address", Err: err}
	}
	return d, nil
}

// domain delivers to the recipients of one domain.
func (t *Transport) domain(ctx context.Context, domain string, env *mailkeel.Envelope, m mailkeel.Content) []mailkeel.Result {
	demand, err := t.demand(ctx, domain, env)
	if err != nil {
		return mailkeel.All(len(env.Rcpts), mailkeel.Result{Err: err})
	}
	// Sessions of another quality wait elsewhere.
	key := fmt.Sprint(domain, demand.Encrypt, demand.Verify, demand.requireTLS)
	var hosts *hosts
	var lookup error
	rs, undone, errs := t.pool.Deliver(ctx, key, env, m, func(ctx context.Context) (*smtpclient.Client, error) {
		if hosts == nil && lookup == nil { // not before the pool is empty
			hosts, lookup = t.find(ctx, domain, demand)
		}
		if lookup != nil || ctx.Err() != nil {
			return nil, smtpclient.ErrNoHop
		}
		h, err := hosts.next(ctx)
		if err != nil {
			return nil, err
		}
		c, err := t.open(ctx, h, demand)
		if err != nil {
			t.logger().Info("remote: no session", "envelope", env.ID, "domain", domain, "host", h.name, "addr", h.addr, "err", err)
		}
		return c, err
	})
	if len(undone) == 0 {
		return rs
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case lookup != nil:
		err = lookup
	default:
		enhanced, msg, permanent := smtpclient.Verdict(errs)
		if err = permanent; permanent == nil {
			err = delivery.Unreachable(enhanced, msg, errors.Join(errs...))
		}
	}
	hop := domain
	if hosts != nil {
		hop = cmp.Or(hosts.last, domain)
	}
	for _, i := range undone {
		rs[i] = mailkeel.Result{Err: err, Hop: cmp.Or(rs[i].Hop, hop)}
	}
	return rs
}

func (t *Transport) logger() *slog.Logger {
	if t.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Logger
}

// Close closes the sessions that wait for mail.
func (t *Transport) Close() error {
	t.pool.Close()
	return nil
}
