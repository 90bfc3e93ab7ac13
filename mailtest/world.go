package mailtest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/delivery/remote"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/server"
	"github.com/mailkeel/mailkeel/smtp"
)

// A World is several domains, each with a server of its own, in one process: mail
// between them goes over SMTP as it would over the Internet, to the host that MX
// records name, with TLS that one authority vouches for, from an address that SPF
// can speak of. One Clock and one DNS serve them all. What has no server and no
// record does not exist.
//
//	w := mailtest.NewWorld(t)
//	here, there := w.Server("here.example"), w.Server("there.example")
//
// NewWorld makes one.
type World struct {
	Clock *Clock
	DNS   *DNS

	tb TB
	ca *authority

	mu      sync.Mutex
	servers []*Server
	hosts   map[netip.Addr]*host // by the address that DNS tells
}

// A host is where a server of a World listens.
type host struct {
	real string // "127.0.0.1:port"; empty until it listens
	peer *peerListener
}

// NewWorld returns a World without domains. Its clock stands.
func NewWorld(tb TB) *World {
	w := &World{Clock: &Clock{}, DNS: NewDNS(), tb: tb, hosts: map[netip.Addr]*host{}}
	w.ca = newAuthority(w.Clock)
	return w
}

// Server starts the server of a domain. Its host is "mx." and the domain, with
// records in DNS: MX, A, PTR, and an SPF record that lets it alone send. Addresses of
// other domains are not its own, and mail for them leaves. Options are as for New;
// Clock is that of the World, and STARTTLS is offered.
func (w *World) Server(domain string, options ...Options) *Server {
	w.tb.Helper()
	if len(options) == 0 {
		options = []Options{{}}
	}
	o := options[0]
	o.Clock, o.STARTTLS = w.Clock, true
	if o.Hostname == "" {
		o.Hostname = "mx." + domain
	}
	if o.Domains == nil {
		o.Domains = []string{domain}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.tb.Fatalf("mailtest: %v", err)
	}
	h := &host{real: ln.Addr().String(), peer: &peerListener{Listener: ln, names: map[string]netip.Addr{}}}
	w.mu.Lock()
	n := len(w.hosts) + 1
	ip := netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})
	if n > 254 {
		w.mu.Unlock()
		ln.Close()
		w.tb.Fatal("mailtest: a World has 254 servers at most")
	}
	w.hosts[ip] = h
	w.mu.Unlock()

	w.DNS.add(w.tb,
		fmt.Sprintf("%s. MX 10 %s.", domain, o.Hostname), fmt.Sprintf("%s. A %s", o.Hostname, ip),
		fmt.Sprintf("%d.100.51.198.in-addr.arpa. PTR %s.", n, o.Hostname), fmt.Sprintf(`%s. TXT "v=spf1 mx -all"`, domain))
	var keys dkim.Keys
	if o.DKIM {
		key, record := newKey(domain)
		w.DNS.add(w.tb, record)
		keys = dkim.FixedKeys{key}
	}
	edit := o.Config
	o.Config = func(c *server.Config) {
		c.SMTP = server.Listen{Listener: h.peer}
		c.Reverse = smtp.ReverseBy(w.DNS)
		c.Rest = &remote.Transport{
			Hostname: o.Hostname, Resolver: w.DNS, Dial: w.dialer(ip), TLS: w.ca.clientTLS(),
			IdleTimeout: -1, DeadFor: -1, Clock: w.Clock, Logger: c.Logger,
		}
		c.Keys = keys
		if edit != nil {
			edit(c)
		}
	}
	s := start(w.tb, o, w)
	w.mu.Lock()
	w.servers = append(w.servers, s)
	w.mu.Unlock()
	return s
}

func (w *World) all() []*Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[:len(w.servers):len(w.servers)]
}

// Advance moves the clock of all servers by d: see Server.Advance.
func (w *World) Advance(d time.Duration) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Clock.advance(d, func() error { return settle(ctx, w.all()) }); err != nil {
		w.tb.Fatalf("mailtest: %v before everything was at rest", err)
	}
}

// dialer connects from one address of the World to others. Who is not there cannot be
// reached.
func (w *World) dialer(from netip.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		refused := func(why string) error {
			return &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %s", addr, why)}
		}
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, refused(err.Error())
		}
		w.mu.Lock()
		h := w.hosts[to.Addr()]
		w.mu.Unlock()
		if h == nil || to.Port() != 25 {
			return nil, refused("no such host in this World")
		}
		return h.peer.dial(ctx, h.real, from)
	}
}

// A peerListener tells the addresses of the World of those who connect.
type peerListener struct {
	net.Listener

	mu    sync.Mutex // held while somebody of the World connects
	names map[string]netip.Addr
}

func (l *peerListener) dial(ctx context.Context, real string, from netip.Addr) (net.Conn, error) {
	// Accept may return before the address is known here, and waits.
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", real)
	if err == nil {
		l.names[c.LocalAddr().String()] = from
	}
	return c, err
}

func (l *peerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := c.RemoteAddr().String()
	from, ok := l.names[key]
	if !ok {
		return c, nil
	}
	delete(l.names, key)
	return peerConn{c, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 25025))}, nil
}

type peerConn struct {
	net.Conn
	remote net.Addr
}

func (c peerConn) RemoteAddr() net.Addr { return c.remote }
