package mailtest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/mailkeel/mailkeel/internal/tamper"
)

// A faultListener lets faults happen below TLS: at the handshake, and after a number
// of bytes. Connections for which there is none are left as they are.
type faultListener struct {
	net.Listener
	faults *faults
	open   *open
	door   string
	tls    bool // from the start
}

func (l *faultListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c = l.open.track(c, l.door)
	is := func(d string) bool { return d == l.door }
	if l.tls {
		if f := l.faults.handshake(is); f != nil {
			return l.wrap(c, f), nil
		}
	}
	if f := l.faults.pick(Bytes, tamper.Moment{}, is); f != nil {
		return l.wrap(c, f), nil
	}
	return c, nil
}

func (l *faultListener) wrap(c net.Conn, f *Fault) net.Conn {
	ctx, cancel := context.WithCancel(context.Background())
	return &faultConn{Conn: c, fault: f, faults: l.faults, left: f.after, ctx: ctx, cancel: cancel}
}

// handshake picks a fault that breaks the connection itself. Those that only show
// another certificate are picked by certificate.
func (fs *faults) handshake(is func(string) bool) *Fault {
	return fs.pick(Handshake, tamper.Moment{}, is, drop, garbage, stall, reply, slow)
}

// certificate picks what TLS shows.
func (fs *faults) certificate(ca *authority, host string, door func(local string) []string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		var names []string
		if hello != nil && hello.Conn != nil {
			names = door(hello.Conn.LocalAddr().String())
		}
		f := fs.pick(Handshake, tamper.Moment{}, func(d string) bool {
			for _, n := range names {
				if n == d {
					return true
				}
			}
			return false
		})
		switch {
		case f == nil:
			return ca.leaf(host)
		case f.act == badName:
			return ca.other("wrong.example.test", false)
		case f.act == expired:
			return ca.other(host, true)
		}
		return nil, errHandshake
	}
}

// A faultConn is a connection to which a fault happens.
type faultConn struct {
	net.Conn
	fault  *Fault
	faults *faults
	left   int64 // bytes until then
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once
}

func (c *faultConn) Read(p []byte) (int, error) {
	if c.left > 0 {
		n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
		c.left -= int64(n)
		return n, err
	}
	if !c.faults.wait(c.ctx, c.fault.delay) {
		return 0, net.ErrClosed
	}
	switch c.fault.act {
	case slow:
		c.once.Do(func() { c.fault = &Fault{act: slow} }) // once
		return c.Conn.Read(p)
	case stall:
		select {
		case <-c.ctx.Done():
		case <-c.faults.done:
		}
	case garbage:
		c.Conn.Write(nonsense)
	case reply:
		c.Conn.Write([]byte(c.fault.reply + "\r\n"))
	}
	c.Close()
	return 0, net.ErrClosed
}

func (c *faultConn) Close() error {
	c.cancel()
	return c.Conn.Close()
}
