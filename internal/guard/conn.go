package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A Conn is a connection below TLS.
//
// One goroutine reads at a time. The first error of a Read is that of all later
// ones. SetDeadline and its kin do nothing: SetIdle and SetLimit hold instead.
type Conn struct {
	g       *Guard
	raw     net.Conn
	remote  net.Addr
	addr    netip.AddrPort
	tls     *tls.Conn
	shown   []byte // see Remembering
	ctx     context.Context
	cancel  context.CancelFunc
	counted netip.Prefix

	mu       sync.Mutex // never held while reading or writing
	pre      []byte     // came with the PROXY header
	idle     time.Duration
	limit    time.Time
	err      error // of reading
	reading  bool
	busy     bool
	dead     bool // poisoned
	woken    bool // by Wake, and no Read has said so yet
	closed   bool
	detached bool
	leaving  bool // someone says goodbye
	bye      func()

	wmu  sync.Mutex // held while writing
	out  *[]byte    // waits to be sent; nil if nothing does
	werr error
	mute bool
	wset time.Time // when the deadline of writing was set
}

var _ net.Conn = (*Conn)(nil)

// TLS is the connection above c if Serve was given a tls.Config, else nil. A door
// reads and writes that, if there is one.
func (c *Conn) TLS() *tls.Conn { return c.tls }

func (c *Conn) top() net.Conn {
	if c.tls != nil {
		return c.tls
	}
	return c
}

// Addr is the peer's address, as a proxy told it if it came from one. IPv4 is
// never mapped. It is zero for a Unix socket.
func (c *Conn) Addr() netip.AddrPort { return c.addr }

// Context is done when the connection is closed, also by Guard.Close.
func (c *Conn) Context() context.Context { return c.ctx }

// RemoteAddr is the peer's address, as a proxy told it if it came from one.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// LocalAddr is the address of the listener's side.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// SetDeadline does nothing.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetIdle sets how long each later Read may wait. Zero means that of the Guard.
func (c *Conn) SetIdle(d time.Duration) {
	if d == 0 {
		d = c.g.IdleTimeout
	}
	if d == 0 {
		d = 5 * time.Minute
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = d
}

// SetLimit sets when each later Read fails, however much arrives until then. Zero
// means never.
func (c *Conn) SetLimit(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = t
}

// Busy says whether the connection is in the middle of something that a Shutdown
// should let end. It is not, at first.
func (c *Conn) Busy(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = on
}

// Stopping reports whether Shutdown or Close of the Guard was called.
func (c *Conn) Stopping() bool { return c.g.Stopping() }

// OnFarewell sets what says goodbye to the peer: Shutdown calls it once, while a
// Read waits and the connection is not busy, and then poisons the connection. It
// may be called from another goroutine than the one that reads.
func (c *Conn) OnFarewell(bye func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bye = bye
}

// Detach lets the connection live on after handle returned, until Close.
func (c *Conn) Detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.detached && !c.closed {
		c.detached = true
		c.g.wg.Add(1)
	}
}

func (c *Conn) isDetached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detached
}

// farewell ends the connection if it is not busy. From outside, that is only
// possible while it reads; otherwise its next Read does it.
func (c *Conn) farewell(outside bool) {
	c.mu.Lock()
	if c.leaving || c.busy || c.dead || c.closed || outside && !c.reading {
		c.mu.Unlock()
		return
	}
	c.leaving = true
	bye := c.bye
	c.mu.Unlock()
	if bye != nil {
		bye()
	}
	c.Poison()
}

// Read sends what waits to be written and then reads.
func (c *Conn) Read(p []byte) (int, error) {
	ferr := c.Flush()
	if c.g.Stopping() {
		c.farewell(false)
	}
	c.mu.Lock()
	if c.err == nil && c.dead {
		c.err = io.EOF
	}
	if c.err == nil && ferr != nil {
		c.err = ferr
	}
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, c.err
	}
	if len(c.pre) > 0 {
		n := copy(p, c.pre)
		if c.pre = c.pre[n:]; len(c.pre) == 0 {
			c.pre = nil
		}
		c.mu.Unlock()
		return n, nil
	}
	if c.woken {
		c.woken = false
		c.mu.Unlock()
		return 0, ErrWoken
	}
	until := time.Now().Add(c.idle)
	if !c.limit.IsZero() && c.limit.Before(until) {
		until = c.limit
	}
	c.raw.SetReadDeadline(until) // under mu, so that Poison comes before or after
	c.reading = true
	c.mu.Unlock()

	// Shutdown may have looked at this connection just before it read.
	if c.g.Stopping() {
		c.farewell(false)
	}
	n, err := c.raw.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	if c.dead {
		n, err = 0, io.EOF
	} else if c.woken && errors.Is(err, os.ErrDeadlineExceeded) {
		c.woken = n > 0 // the next Read says it
		err = nil
		if n == 0 {
			err = ErrWoken
		}
		return n, err
	}
	if err != nil {
		c.err = err
		if n > 0 {
			return n, nil
		}
	}
	return n, err
}

// ErrWoken is what a Read returns that Wake interrupted. It is a temporary
// net.Error, which TLS above lets pass without ending the connection.
var ErrWoken error = woken{}

type woken struct{}

func (woken) Error() string   { return "guard: read interrupted" }
func (woken) Timeout() bool   { return true }
func (woken) Temporary() bool { return true }

// Wake makes the Read that waits, or else the next one, return ErrWoken once. The
// connection goes on. It is for news from elsewhere, like IMAP's IDLE.
func (c *Conn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.woken = true
	if c.reading {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// Write sends p, or keeps it for a while if the Guard coalesces.
func (c *Conn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.mute {
		return len(p), nil
	}
	if c.werr != nil {
		return 0, c.werr
	}
	size := c.g.Coalesce
	if size == 0 || c.out == nil && len(p) >= size {
		return c.send(p)
	}
	if c.out != nil && len(*c.out)+len(p) > size {
		if err := c.flush(); err != nil {
			return 0, err
		}
		if len(p) >= size {
			return c.send(p)
		}
	}
	if c.out == nil {
		c.out, _ = c.g.bufs.Get().(*[]byte)
		if c.out == nil {
			b := make([]byte, 0, size)
			c.out = &b
		}
	}
	*c.out = append(*c.out, p...)
	return len(p), nil
}

// Flush sends what waits to be written.
func (c *Conn) Flush() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.flush()
}

func (c *Conn) flush() error {
	if c.werr != nil || c.out == nil {
		return c.werr
	}
	_, err := c.send(*c.out)
	*c.out = (*c.out)[:0]
	c.g.bufs.Put(c.out)
	c.out = nil
	return err
}

func (c *Conn) send(p []byte) (int, error) {
	d := c.g.IdleTimeout
	if d == 0 {
		d = 5 * time.Minute
	}
	// A bit early does no harm, and most replies need not move the timer.
	if now := time.Now(); now.Sub(c.wset) > d/64 {
		c.raw.SetWriteDeadline(now.Add(d))
		c.wset = now
	}
	n, err := c.raw.Write(p)
	c.werr = err
	return n, err
}

// Poison ends the connection without closing it: what was written goes out, what
// is written later does not, and each Read, also one that waits, says io.EOF.
// Whoever reads will then close it.
func (c *Conn) Poison() {
	c.wmu.Lock()
	c.flush()
	c.mute = true
	c.wmu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	c.raw.SetReadDeadline(time.Unix(1, 0))
}

// Poisoned reports whether Poison was called.
func (c *Conn) Poisoned() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

const (
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

// Close sends what waits to be written and closes the connection. After Poison it
// reads on for a moment and throws away what comes: closing a socket with unread
// bytes makes the kernel take back the last reply.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	linger := c.dead && !c.leaving // an idle one has said nothing
	detached := c.detached
	c.mu.Unlock()

	c.wmu.Lock()
	c.flush()
	linger = linger && c.werr == nil
	c.wmu.Unlock()
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok && linger && half.CloseWrite() == nil {
		c.raw.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, c.raw, lingerBytes)
	}
	err := c.raw.Close()
	c.cancel()
	c.uncount()
	g := c.g
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	if detached {
		g.wg.Done()
	}
	return err
}
