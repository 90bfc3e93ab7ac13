package mailtest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/mailtest"
	"github.com/mailkeel/mailkeel/server"
)

// pipes is a listener in memory: in a bubble of testing/synctest, sockets would hold
// the time up.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn)} }

func (p *pipes) Dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- a
	return b
}

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.conns) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// TestInABubble: with listeners in memory a whole server runs in a bubble of
// testing/synctest, and the days until a bounce take no time.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		mx, off := newPipes(), server.Listen{}
		srv := mailtest.New(t, mailtest.Options{Strict: true, Patience: 1000 * time.Hour, Config: func(c *server.Config) {
			c.SMTP = server.Listen{Listener: mx}
			c.LMTP, c.Submission, c.Submissions, c.IMAP, c.IMAPS, c.POP3, c.POP3S = off, off, off, off, off, off, off
			c.Rest = mailkeel.HandlerFunc(func(context.Context, *mailkeel.Envelope, mailkeel.Content) error {
				tries.Add(1)
				return errors.New("closed for holidays")
			})
		}})
		srv.Account("ann@example.test", "secret")
		began := time.Now()
		c, err := smtp.NewClient(mx.Dial(), mailtest.Hostname)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Mail("zoe@example.net"); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt("ann@example.test"); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(text))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		c.Quit()
		srv.WaitN(t.Context(), 1, mailtest.Any())
		// What ann sends cannot leave: she hears of it after hours, and after days.
		for _, r := range mailkeel.Deliver(t.Context(), srv.MSA.Next, &mailkeel.Envelope{
			ID: "m1", From: "ann@example.test", Submitter: "id of ann@example.test", Rcpts: []mailkeel.Recipient{{Addr: "zoe@example.net"}},
		}, letter("From: ann@example.test\r\n\r\n")) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		got := srv.WaitN(t.Context(), 3, mailtest.Any())
		if days := time.Since(began).Hours() / 24; days < 5 || days > 5.1 || tries.Load() < 20 {
			t.Errorf("after %.1f days and %d tries: %v", days, tries.Load(), got[1:])
		}
	})
}

// letter is a small Content.
type letter string

func (l letter) Size() int64 { return int64(len(l)) }
func (l letter) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(l))), nil
}
