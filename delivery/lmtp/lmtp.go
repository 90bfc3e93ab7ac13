// Package lmtp is a Transport that hands mail to an LMTP server (RFC 2033), such
// as a mail store, with an answer for each recipient.
package lmtp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/delivery"
	"github.com/mailkeel/mailkeel/internal/smtpclient"
)

// A Transport hands mail to an LMTP server. Addr is required. It is called from
// many goroutines, each of which has a session of its own; sessions are kept for
// the next message for a while. Fields are not changed after the first Deliver.
type Transport struct {
	// Addr is host:port, or the path of a Unix socket if it has a slash.
	Addr     string
	Hostname string // for LHLO; empty means "localhost"
	// Dial opens connections; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// ConnectTimeout is for a connection; zero means 30 seconds.
	ConnectTimeout time.Duration
	// CommandTimeout is for the answer to a command; zero means 5 minutes, and
	// 10 for the answers to the content.
	CommandTimeout time.Duration
	// IdleTimeout is how long a session is kept; zero means 10 seconds, negative
	// not at all.
	IdleTimeout time.Duration
	Clock       mailkeel.Clock // nil means real time

	once sync.Once
	pool smtpclient.Pool
}

var _ mailkeel.Transport = (*Transport)(nil)

// Deliver sends env over one session. A recipient that the server took is
// Delivered, or Handed if the server reports by itself. If it cannot be reached the error is temporary and
// delivery.ErrUnreachable.
func (t *Transport) Deliver(ctx context.Context, env *mailkeel.Envelope, m mailkeel.Content) []mailkeel.Result {
	t.once.Do(func() { t.pool.Idle, t.pool.Clock = t.IdleTimeout, t.Clock })
	if env.RequireTLS && t.local() { // nothing leaves the machine
		env = env.Only(env.Rcpts...)
		env.RequireTLS = false
	}
	tries := 0
	rs, undone, errs := t.pool.Deliver(ctx, "", env, m, func(ctx context.Context) (*smtpclient.Client, error) {
		if tries++; tries > 1 || ctx.Err() != nil {
			return nil, smtpclient.ErrNoHop
		}
		return t.open(ctx)
	})
	for i := range rs {
		if rs[i].Err == nil && rs[i].Action == mailkeel.Relayed {
			rs[i].Action = mailkeel.Delivered
		}
	}
	if len(undone) > 0 {
		err := context.Cause(ctx)
		if err == nil {
			enhanced, msg, permanent := smtpclient.Verdict(errs)
			if permanent != nil {
				enhanced = [3]int{4, permanent.Enhanced[1], permanent.Enhanced[2]}
			}
			err = delivery.Unreachable(enhanced, msg, errors.Join(errs...))
		}
		for _, i := range undone {
			rs[i] = mailkeel.Result{Err: err, Hop: cmp.Or(rs[i].Hop, t.Addr)}
		}
	}
	return rs
}

// local reports whether the server is on this machine.
func (t *Transport) local() bool {
	a, err := netip.ParseAddrPort(t.Addr)
	return strings.Contains(t.Addr, "/") || err == nil && a.Addr().Unmap().IsLoopback()
}

func (t *Transport) open(ctx context.Context) (*smtpclient.Client, error) {
	network := "tcp"
	if strings.Contains(t.Addr, "/") {
		network = "unix"
	}
	conn, err := smtpclient.Dial(ctx, t.Clock, t.ConnectTimeout, t.Dial, network, t.Addr)
	if err != nil {
		return nil, err
	}
	c := smtpclient.New(conn, t.Addr, smtpclient.Options{
		Hello: t.Hostname, LMTP: true, Clock: t.Clock,
		Timeouts: smtpclient.Timeouts{Greeting: t.CommandTimeout, Command: t.CommandTimeout, Data: t.CommandTimeout, Final: 2 * t.CommandTimeout},
	})
	if err := c.Start(ctx); err != nil {
		c.Quit()
		return nil, err
	}
	return c, nil
}

// Close closes the sessions that wait for mail.
func (t *Transport) Close() error {
	t.pool.Close()
	return nil
}
