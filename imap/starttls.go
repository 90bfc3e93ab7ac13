package imap

import (
	"crypto/tls"

	"github.com/emersion/go-imap/v2"
)

func (c *conn) mayStartTLS() bool {
	return c.srv.TLS != nil && !c.tls && !c.compressed && c.access == nil
}

// startTLS is STARTTLS (RFC 9051, 6.2.1). What the client sent after it without
// TLS is dropped.
func (c *conn) startTLS(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	if c.tls {
		return bad("TLS is active already")
	}
	if !c.mayStartTLS() {
		return no(imap.ResponseCodeUnavailable, "TLS is not available")
	}
	cmd.text = "Begin TLS negotiation now"
	c.ok(cmd)
	if err := c.w.release(); err != nil {
		return lost{err}
	}
	c.in.reset()
	t := tls.Server(c.net, c.srv.state.tls)
	c.waiting()
	err := t.HandshakeContext(c.ctx)
	c.working()
	if err != nil {
		c.log.Debug("imap: no TLS", "err", err)
		return errClosed
	}
	c.upgrade(t)
	cmd.answered = true
	return nil
}
