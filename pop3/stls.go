package pop3

import "crypto/tls"

// stls is STLS (RFC 2595, 4). What the client sent after it without TLS is dropped,
// and so is what it said before.
func (c *conn) stls([]string) error {
	switch {
	case c.tls:
		return no("", "TLS is active already")
	case c.srv.TLS == nil:
		return no("", "TLS is not available")
	case c.utf8: // RFC 6856, 2.1
		return no("", "STLS comes before UTF8")
	}
	c.w.line("+OK Begin TLS negotiation")
	if err := c.w.release(); err != nil {
		return lost{err}
	}
	c.user = ""
	t := tls.Server(c.net, c.srv.state.tls)
	if err := t.HandshakeContext(c.ctx); err != nil {
		c.log.Debug("pop3: no TLS", "err", err)
		return lost{err}
	}
	c.net, c.tls = t, true
	c.w.W = c.rec.Writer(t)
	c.in.reset(c)
	c.onFarewell()
	return nil
}

// enableUTF8 is UTF8 (RFC 6856, 2.1).
func (c *conn) enableUTF8([]string) error {
	c.utf8 = true
	c.w.line("+OK UTF8 enabled")
	return nil
}
