package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/smtpclient"
)

// errHandshake means that TLS failed that may be done without.
var errHandshake = errors.New("remote: TLS failed")

// open returns a session with one address. Encryption that nobody demands is used
// if it works (RFC 7435).
func (t *Transport) open(ctx context.Context, h host, d Demand) (*smtpclient.Client, error) {
	c, err := t.enter(ctx, h, d, true)
	if errors.Is(err, errHandshake) {
		t.logger().Info("remote: goes on in the clear", "host", h.name, "addr", h.addr, "err", err)
		c, err = t.enter(ctx, h, d, false)
	}
	return c, err
}

// enter connects and encrypts. encrypt is false after TLS failed.
func (t *Transport) enter(ctx context.Context, h host, d Demand, encrypt bool) (_ *smtpclient.Client, err error) {
	conn, err := smtpclient.Dial(ctx, t.Clock, t.ConnectTimeout, t.dialer(h.addr.Addr()), "tcp", h.addr.String())
	if err != nil {
		if ctx.Err() == nil {
			t.dead.add(t, h.addr)
		}
		return nil, err
	}
	c := smtpclient.New(conn, h.name, smtpclient.Options{
		Hello: t.Hostname, Clock: t.Clock,
		Timeouts: smtpclient.Timeouts{Greeting: t.CommandTimeout, Command: t.CommandTimeout, Data: t.CommandTimeout, Final: 2 * t.CommandTimeout},
	})
	defer func(c *smtpclient.Client) {
		if err != nil {
			c.Quit()
		}
	}(c)
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	if !encrypt {
		return c, nil
	}
	err = c.StartTLS(ctx, t.config(h.name, d.Verify))
	switch {
	case err == nil:
		c.Verified = d.Verify
	case d.requireTLS && c.Broken() == nil: // not offered, or refused
		return nil, &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 10}, Message: h.name + " does not encrypt, which this message requires", Err: err}
	case d.Encrypt && c.Broken() == nil:
		return nil, &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 10}, Message: h.name + " does not encrypt, which its domain demands", Err: err}
	case d.Encrypt:
		return nil, &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 7, 5}, Message: "no safe connection to " + h.name, Err: err}
	case c.Broken() != nil:
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	if _, ok := c.Ext("REQUIRETLS"); d.requireTLS && !ok { // another host may
		return nil, &mailkeel.Error{Code: 550, Enhanced: [3]int{5, 7, 30}, Message: h.name + " does not support REQUIRETLS, which this message requires"}
	}
	return c, nil
}

func (t *Transport) config(name string, verify bool) *tls.Config {
	config := &tls.Config{}
	if t.TLS != nil {
		config = t.TLS.Clone()
	}
	config.ServerName = strings.TrimPrefix(strings.Trim(name, "[]"), "IPv6:")
	config.InsecureSkipVerify = !verify
	if t.Clock != nil && config.Time == nil {
		config.Time = t.Clock.Now
	}
	return config
}

// dialer returns what connects to an address.
func (t *Transport) dialer(to netip.Addr) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if t.Dial != nil {
		return t.Dial
	}
	var d net.Dialer
	for _, a := range t.LocalAddrs {
		if a.Unmap().Is4() == to.Is4() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Unmap(), 0))
		}
	}
	return d.DialContext
}

// maxDead is how many dead addresses are remembered.
const maxDead = 10_000

// dead remembers addresses that took no connection.
type dead struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

func (d *dead) add(t *Transport, a netip.AddrPort) {
	ttl := t.DeadFor
	if ttl == 0 {
		ttl = time.Minute
	}
	if ttl < 0 {
		return
	}
	now := mailkeel.ClockOr(t.Clock).Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil || len(d.until) >= maxDead {
		d.until = map[netip.AddrPort]time.Time{} // it is only a shortcut
	}
	d.until[a] = now.Add(ttl)
}

// check returns an error for an address that is not to be tried now.
func (d *dead) check(t *Transport, a netip.AddrPort) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, ok := d.until[a]
	if !ok {
		return nil
	}
	if !until.After(mailkeel.ClockOr(t.Clock).Now()) {
		delete(d.until, a)
		return nil
	}
	return &mailkeel.Error{Code: 451, Enhanced: [3]int{4, 4, 1}, Message: "cannot reach the next hop: " + a.Addr().String() + " did not answer a short while ago"}
}
