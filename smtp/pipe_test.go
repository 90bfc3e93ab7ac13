package smtp_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/smtp"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

// pipes is a listener over net.Pipe, for tests in virtual time.
type pipes struct {
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newPipes() *pipes { return &pipes{ch: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

// addressed is the server's end of a pipe, with an address.
type addressed struct {
	net.Conn
	remote net.Addr
	mu     sync.Mutex
	writes int
}

func (a *addressed) RemoteAddr() net.Addr { return a.remote }

func (a *addressed) Write(p []byte) (int, error) {
	a.mu.Lock()
	a.writes++
	a.mu.Unlock()
	return a.Conn.Write(p)
}

func (a *addressed) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writes
}

// dial connects a peer that reads all the time, as a kernel would, so that the
// server never waits for it.
func (p *pipes) dial(t testing.TB) (*peer, *addressed) {
	a, b := net.Pipe()
	s := &addressed{Conn: b, remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}}
	p.ch <- s
	c := &buffered{Conn: a}
	c.cond.L = &c.mu
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.suck()
	}()
	t.Cleanup(func() { a.Close(); <-done })
	return &peer{t, c, bufio.NewReader(c)}, s
}

type buffered struct {
	net.Conn
	mu   sync.Mutex
	cond sync.Cond
	buf  bytes.Buffer
	err  error
}

func (b *buffered) suck() {
	p := make([]byte, 4096)
	for {
		n, err := b.Conn.Read(p)
		b.mu.Lock()
		b.buf.Write(p[:n])
		b.err = err
		b.cond.Broadcast()
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (b *buffered) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.buf.Len() == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.cond.Wait()
	}
	return b.buf.Read(p)
}

// pending is what came and was not read by p's reader.
func (p *peer) pending() string {
	b := p.conn.(*buffered)
	b.mu.Lock()
	defer b.mu.Unlock()
	rest, _ := p.r.Peek(p.r.Buffered())
	return string(rest) + b.buf.String()
}

// newPipeRig is newRig over pipes, for a bubble of synctest.
func newPipeRig(t testing.TB, change func(*smtp.Server)) (*rig, *pipes) {
	r := &rig{sink: &sink{}, blobs: &memblob.Store{}}
	r.Server = &smtp.Server{Hostname: "mx.example.org", Blobs: r.blobs, Next: r.sink, Directory: users(),
		TLS: &tls.Config{Certificates: []tls.Certificate{testCert()}}, Clock: &testclock.Clock{}}
	if change != nil {
		change(r.Server)
	}
	ln := newPipes()
	ran := make(chan error, 1)
	go func() { ran <- r.Serve(ln) }()
	t.Cleanup(func() {
		r.Close()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return r, ln
}
