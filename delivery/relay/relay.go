// Package relay is a Transport that hands all mail to a smart host, such as the
// submission server of a provider.
package relay

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

// A Transport hands mail to a smart host. Addr is required. It is called from many
// goroutines, each of which has a session of its own; sessions are kept for the
// next message for a while. Fields are not changed after the first Deliver.
type Transport struct {
	// Addr is host:port of the smart host; without a port it is 587, or 465 if
	// Implicit is set.
	Addr string
	// Fallback are others, tried in this order where Addr cannot be reached or
	// does not let us in.
	Fallback []string

	// Username and Password, if set, are for AUTH. The session must then be
	// encrypted and the host's certificate good, unless the host is on a
	// loopback address.
	Username, Password string
	// InsecureAuth lets the password go out in the clear.
	InsecureAuth bool
	// Implicit means TLS from the first byte (RFC 8314), else it is STARTTLS.
	Implicit bool
	// RequireTLS means never to send in the clear, nor to a host without a good
	// certificate. Without it and without a Username, STARTTLS is used if the
	// host offers it, with any certificate.
	RequireTLS bool
	// TLS is the configuration; nil means the system's roots. An empty
	// ServerName is the host of the address.
	TLS *tls.Config

	Hostname string // for EHLO; empty means "localhost"
	// Dial opens connections; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
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
}

var _ mailkeel.Transport = (*Transport)(nil)

// Deliver sends env over one session. What the smart host says about a recipient
// is its result. If no host can be reached, or none lets us in, the error is
// temporary and delivery.ErrUnreachable: a wrong password must not return mail.
func (t *Transport) Deliver(ctx context.Context, env *mailkeel.Envelope, m mailkeel.Content) []mailkeel.Result {
	t.once.Do(func() { t.pool.Idle, t.pool.Clock = t.IdleTimeout, t.Clock })
	key := ""
	if env.RequireTLS {
		key = "verified"
	}
	hosts := append([]string{t.Addr}, t.Fallback...)
	rs, undone, errs := t.pool.Deliver(ctx, key, env, m, func(ctx context.Context) (*smtpclient.Client, error) {
		if len(hosts) == 0 || ctx.Err() != nil {
			return nil, smtpclient.ErrNoHop
		}
		host := hosts[0]
		hosts = hosts[1:]
		c, err := t.open(ctx, host, env.RequireTLS)
		if err != nil && t.Logger != nil {
			t.Logger.Warn("relay: no session", "host", host, "envelope", env.ID, "err", err)
		}
		return c, err
	})
	if len(undone) > 0 {
		err := verdict(ctx, errs)
		for _, i := range undone {
			rs[i] = mailkeel.Result{Err: err, Hop: cmp.Or(rs[i].Hop, t.Addr)}
		}
	}
	return rs
}

// verdict is for recipients that no host has judged. A host that turns us away
// does not mean the message, so that is temporary.
func verdict(ctx context.Context, errs []error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	enhanced, msg, permanent := smtpclient.Verdict(errs)
	if permanent != nil {
		enhanced = [3]int{4, permanent.Enhanced[1], permanent.Enhanced[2]}
		msg = "the smart host turned us away: " + msg
	}
	return delivery.Unreachable(enhanced, msg, errors.Join(errs...))
}

// open returns a session with one host that mail may go over.
func (t *Transport) open(ctx context.Context, addr string, requireTLS bool) (*smtpclient.Client, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
		port := "587"
		if t.Implicit {
			port = "465"
		}
		addr = net.JoinHostPort(host, port)
	}
	c, err := t.enter(ctx, addr, host, requireTLS, true)
	if errors.Is(err, errHandshake) { // in the clear, then
		c, err = t.enter(ctx, addr, host, requireTLS, false)
	}
	return c, err
}

// errHandshake means that TLS failed that may be done without.
var errHandshake = errors.New("relay: TLS failed")

// enter connects, encrypts and logs in. encrypt is false after TLS failed.
func (t *Transport) enter(ctx context.Context, addr, host string, requireTLS, encrypt bool) (_ *smtpclient.Client, err error) {
	conn, err := smtpclient.Dial(ctx, t.Clock, t.ConnectTimeout, t.Dial, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := smtpclient.New(conn, host, smtpclient.Options{
		Hello: t.Hostname, Clock: t.Clock,
		Timeouts: smtpclient.Timeouts{Greeting: t.CommandTimeout, Command: t.CommandTimeout, Data: t.CommandTimeout, Final: 2 * t.CommandTimeout},
	})
	defer func(c *smtpclient.Client) {
		if err != nil {
			c.Quit()
		}
	}(c)
	local := loopback(conn)
	verify := t.RequireTLS || requireTLS || t.Implicit || t.Username != "" && !local && !t.InsecureAuth
	config := t.config(host, verify)
	if t.Implicit {
		if err := c.Handshake(ctx, config); err != nil {
			return nil, err
		}
	}
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	if !t.Implicit && encrypt {
		err := c.StartTLS(ctx, config)
		switch {
		case err == nil:
		case verify && c.Broken() == nil: // not offered, or refused
			return nil, &mailkeel.Error{Code: 454, Enhanced: [3]int{4, 7, 10}, Message: host + " does not encrypt", Err: err}
		case verify:
			return nil, err
		case c.Broken() != nil:
			return nil, fmt.Errorf("%w: %w", errHandshake, err)
		}
	}
	_, encrypted := c.TLS()
	c.Verified = encrypted && !config.InsecureSkipVerify
	if t.Username == "" {
		return c, nil
	}
	if err := login(ctx, c, t.Username, t.Password); err != nil {
		return nil, fmt.Errorf("relay: login as %q: %w", t.Username, err)
	}
	return c, nil
}

func (t *Transport) config(host string, verify bool) *tls.Config {
	config := &tls.Config{}
	if t.TLS != nil {
		config = t.TLS.Clone()
	}
	config.ServerName = cmp.Or(config.ServerName, host)
	config.InsecureSkipVerify = config.InsecureSkipVerify || !verify
	if t.Clock != nil && config.Time == nil {
		config.Time = t.Clock.Now
	}
	return config
}

// loopback reports whether a connection stays in this machine.
func loopback(conn net.Conn) bool {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// Close closes the sessions that wait for mail.
func (t *Transport) Close() error {
	t.pool.Close()
	return nil
}
