// Package smtpclient speaks SMTP and LMTP to the next hop, for the Transports
// remote, relay and lmtp.
//
// It trusts nothing that the peer says: replies have limits and are cleaned, what
// comes unasked ends the session, and every wait has an end. What it sends is
// always one message with canonical line ends, whatever the content holds.
package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
)

var (
	// ErrProtocol means that the peer does not speak SMTP as it should.
	ErrProtocol = errors.New("smtpclient: protocol error")
	// ErrSession means that the session ended before anything of the message
	// was taken for a recipient, so that another hop may be tried at once.
	ErrSession = errors.New("smtpclient: session ended")
	// ErrNoTLS means that the peer does not offer STARTTLS.
	ErrNoTLS = errors.New("smtpclient: no STARTTLS")
)

// Timeouts are how long to wait for the peer. The defaults are those of RFC 5321,
// 4.5.3.2.
type Timeouts struct {
	Greeting time.Duration // for the first reply; zero means 5 minutes
	Command  time.Duration // for the reply to a command; zero means 5 minutes
	Data     time.Duration // for DATA's reply, and for each 32 KB of it to be taken; zero means 3 minutes
	Final    time.Duration // for the reply to the content; zero means 10 minutes
}

// Options are the same for all clients of a Transport.
type Options struct {
	Hello    string // what EHLO says; empty means "localhost"
	LMTP     bool
	Timeouts Timeouts
	Clock    mailkeel.Clock // nil means real time
}

// A Client is one session with a peer. It is for one goroutine at a time.
type Client struct {
	// Host is the peer's name, for reports.
	Host string
	// Sent is how many transactions were begun.
	Sent int
	// Verified is for the caller: that the peer's certificate was.
	Verified bool
	// Since is for the caller: when the session began.
	Since time.Time

	o     Options
	conn  net.Conn
	tls   bool
	r     *bufio.Reader
	w     *bufio.Writer
	pace  bool   // each write has its own time
	chunk []byte // of content, kept for the next message
	ext   map[string]string
	dirty bool // a transaction may be open
	due   int  // replies to come
	asked bool // a 3xx is an answer to what was said

	mu     sync.Mutex
	broken error // why it is of no more use
	dead   bool  // deadlines stay in the past
}

// New returns a client over a connection that it will close. host is the peer's
// name or address.
func New(conn net.Conn, host string, o Options) *Client {
	c := &Client{Host: host, o: o}
	c.use(conn)
	c.Since = c.clock().Now()
	return c
}

const (
	readBuffer  = 4 << 10
	writeBuffer = 32 << 10
)

func (c *Client) use(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	c.r = bufio.NewReaderSize(conn, readBuffer)
	c.w = bufio.NewWriterSize(paced{c}, writeBuffer)
}

func (c *Client) clock() mailkeel.Clock { return mailkeel.ClockOr(c.o.Clock) }

// Start reads the greeting and says EHLO or LHLO; HELO to a peer that knows
// nothing better. A refusal is a *mailkeel.Error.
func (c *Client) Start(ctx context.Context) error {
	defer c.bind(ctx)()
	r, err := c.read(ctx, or(c.o.Timeouts.Greeting, 5*time.Minute))
	if err != nil {
		return err
	}
	if r.Code != 220 {
		return c.fail(refusal(r, 220))
	}
	return c.hello(ctx)
}

func (c *Client) hello(ctx context.Context) error {
	verb, name := "EHLO ", c.o.Hello
	if c.o.LMTP {
		verb = "LHLO "
	}
	if name == "" {
		name = "localhost"
	}
	c.ext = map[string]string{}
	r, err := c.cmd(ctx, verb+name)
	if err != nil {
		return err
	}
	if r.Code/100 == 5 && !c.o.LMTP {
		if r, err = c.cmd(ctx, "HELO "+name); err != nil {
			return err
		}
		r.Lines = r.Lines[:1] // no extensions
	}
	if r.Code != 250 {
		return c.fail(refusal(r, 250))
	}
	for _, line := range r.Lines[1:] {
		key, param, _ := strings.Cut(line, " ")
		if k, p, ok := strings.Cut(key, "="); ok && strings.EqualFold(k, "AUTH") { // an old form
			key, param = k, strings.TrimSpace(p+" "+param)
		}
		c.ext[strings.ToUpper(key)] = param
	}
	return nil
}

// Ext returns the parameters of an extension that the peer offers.
func (c *Client) Ext(name string) (param string, ok bool) {
	param, ok = c.ext[name]
	return param, ok
}

// TLS returns the state of the encryption, and false without one.
func (c *Client) TLS() (tls.ConnectionState, bool) {
	if t, ok := c.conn.(*tls.Conn); ok {
		return t.ConnectionState(), true
	}
	return tls.ConnectionState{}, c.tls
}

// StartTLS encrypts the session and says EHLO again (RFC 3207). Replies that came
// before the handshake are not believed: they end the session. ErrNoTLS if the
// peer does not offer it.
func (c *Client) StartTLS(ctx context.Context, config *tls.Config) error {
	defer c.bind(ctx)()
	if _, ok := c.Ext("STARTTLS"); !ok {
		return ErrNoTLS
	}
	r, err := c.cmd(ctx, "STARTTLS")
	if err != nil {
		return err
	}
	if r.Code != 220 {
		return refusal(r, 220) // the session goes on in the clear
	}
	if c.r.Buffered() > 0 {
		return c.fail(fmt.Errorf("%w: text between STARTTLS and the handshake", ErrProtocol))
	}
	if err := c.Handshake(ctx, config); err != nil {
		return err
	}
	return c.hello(ctx)
}

// Handshake encrypts the connection, before Start for implicit TLS.
func (c *Client) Handshake(ctx context.Context, config *tls.Config) error {
	defer c.bind(ctx)()
	t := tls.Client(c.conn, config)
	stop := c.limit(or(c.o.Timeouts.Command, 5*time.Minute))
	err := t.HandshakeContext(ctx)
	stop()
	if err != nil {
		return c.fail(fmt.Errorf("TLS handshake: %w", err))
	}
	c.tls = true
	c.use(t)
	return nil
}

// Reset ends a transaction and finds out whether the peer is still there.
func (c *Client) Reset(ctx context.Context) error { return c.simple(ctx, "RSET") }

func (c *Client) simple(ctx context.Context, cmd string) error {
	defer c.bind(ctx)()
	r, err := c.cmd(ctx, cmd)
	if err != nil {
		return err
	}
	if r.Code/100 != 2 {
		return refusal(r, 250)
	}
	c.dirty = false
	return nil
}

// Quit says goodbye, without waiting for an answer, and closes the connection.
func (c *Client) Quit() error {
	if c.Broken() == nil {
		stop := c.limit(time.Second)
		if _, err := c.w.WriteString("QUIT\r\n"); err == nil {
			c.w.Flush()
		}
		stop()
	}
	return c.Close()
}

// Close closes the connection.
func (c *Client) Close() error {
	c.fail(net.ErrClosed)
	return c.conn.Close()
}

// Broken returns why the session is over, or nil.
func (c *Client) Broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// fail notes that the session is over, and returns why.
func (c *Client) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = err
	}
	return err
}

// cmd sends one command and reads its reply.
func (c *Client) cmd(ctx context.Context, line string) (Reply, error) {
	if err := c.put(line); err != nil {
		return Reply{}, err
	}
	return c.read(ctx, or(c.o.Timeouts.Command, 5*time.Minute))
}

// put writes a command into the buffer. If no reply is due, none may be there: an
// answer to a command that was not given comes from an attacker or a confused
// peer, but for 421.
func (c *Client) put(line string) error {
	if err := c.Broken(); err != nil {
		return err
	}
	if c.due == 0 && c.r.Buffered() > 0 {
		if b, _ := c.r.Peek(min(3, c.r.Buffered())); string(b) != "421" {
			return c.fail(fmt.Errorf("%w: a reply to nothing", ErrProtocol))
		}
	}
	if strings.ContainsAny(line, "\r\n\x00") {
		return c.fail(fmt.Errorf("smtpclient: line break in a command"))
	}
	c.w.WriteString(line)
	_, err := c.w.WriteString("\r\n")
	if err != nil {
		return c.fail(err)
	}
	c.due++
	return nil
}

func or(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// number reads a positive parameter, zero if it has none.
func (c *Client) number(ext string) int64 {
	n, err := strconv.ParseInt(c.ext[ext], 10, 63)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
