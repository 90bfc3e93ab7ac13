package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel/internal/guard"
)

// coalesce is how many bytes of replies may wait to be sent together.
const coalesce = 4096

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Serve accepts connections from ln, TCP or a Unix socket, until Shutdown or
// Close, and then returns nil. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.init(); err != nil {
		ln.Close()
		return err
	}
	return s.guard.Serve(ln, nil, s.handle)
}

// ServeTLS is Serve with TLS from the first byte (RFC 8314, 3.3). TLS is required.
func (s *Server) ServeTLS(ln net.Listener) error {
	err := s.init()
	if err == nil && s.tls == nil {
		err = errors.New("smtp: ServeTLS without a tls.Config")
	}
	if err != nil {
		ln.Close()
		return err
	}
	return s.guard.Serve(ln, s.tls, s.handle)
}

// Shutdown stops listening, tells idle clients 421, lets transactions in
// progress end and returns when all connections are gone. When ctx is done first
// it ends the rest as Close does and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.init() != nil {
		return nil
	}
	defer s.feed.Close()
	return s.guard.Shutdown(ctx)
}

// Close ends all connections at once and waits until filters and Next, whose
// contexts are done now, have returned.
func (s *Server) Close() error {
	if s.init() != nil {
		return nil
	}
	defer s.feed.Close()
	return s.guard.Close()
}

// Conns is how many clients are connected.
func (s *Server) Conns() int {
	if s.init() != nil {
		return 0
	}
	return s.guard.Conns()
}

func (s *Server) init() error {
	s.once.Do(func() { s.initErr = s.build() })
	return s.initErr
}

func (s *Server) build() error {
	if s.Hostname == "" || s.Blobs == nil || s.Next == nil {
		return errors.New("smtp: Hostname, Blobs and Next are required")
	}
	if strings.ContainsFunc(s.Hostname+s.Product+s.AuthservID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("smtp: Hostname %q, Product %q and AuthservID %q must be plain words", s.Hostname, s.Product, s.AuthservID)
	}
	if s.Submission && s.Auth == nil {
		return errors.New("smtp: Submission without Auth")
	}
	if s.Filters != nil {
		if err := s.Filters.Check(); err != nil {
			return err
		}
	}
	s.tls = s.tlsConfig(s.TLS)
	s.seed = maphash.MakeSeed()
	perIP := s.MaxPerIP
	if perIP == 0 {
		perIP = 100
	}
	s.guard = &guard.Guard{
		MaxConns: s.MaxConns, MaxPerIP: perIP, Exempt: slices.Concat(s.Trusted, loopback), Proxies: s.Proxies,
		Refuse:      func() string { return "421 4.7.0 " + s.Hostname + " too many connections, try again later\r\n" },
		IdleTimeout: s.commandTimeout(), Coalesce: coalesce, Logger: s.Logger,
	}
	s.feed = &feed{conns: make(chan net.Conn), done: make(chan struct{})}
	s.engine = gosmtp.NewServer(gosmtp.BackendFunc(newSession))
	s.engine.Domain = s.Hostname
	s.engine.LMTP = s.LMTP
	s.engine.MaxMessageBytes = s.maxBytes()
	s.engine.MaxLineLength = 0 // wire has its own
	s.engine.AllowInsecureAuth = true
	s.engine.EnableSMTPUTF8 = true
	s.engine.EnableREQUIRETLS = true
	s.engine.EnableDSN = true
	s.engine.ErrorLog = engineLog{s.log()}
	go s.engine.Serve(s.feed)
	return nil
}

// tlsConfig is c without session tickets and with our clock.
func (s *Server) tlsConfig(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = guard.Remembering(c)
	c.SessionTicketsDisabled = true
	if c.Time == nil && s.Clock != nil {
		c.Time = s.Clock.Now
	}
	if f := c.GetConfigForClient; f != nil {
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := f(h)
			if c != nil {
				c = c.Clone()
				c.SessionTicketsDisabled = true
			}
			return c, err
		}
	}
	return c
}

// feed is the listener from which the engine gets its connections.
type feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

func (f *feed) Addr() net.Addr { return &net.UnixAddr{Name: "guard", Net: "unix"} }

// put hands a connection to the engine.
func (f *feed) put(c net.Conn) bool {
	select {
	case f.conns <- c:
		return true
	case <-f.done:
		return false
	}
}
