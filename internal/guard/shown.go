package guard

import (
	"crypto/tls"
	"errors"
)

// Remembering returns a copy of cfg with which a Conn remembers the certificate that
// was shown on it, which package tls does not tell a server: channel bindings are
// made of it (RFC 5929, 4). Certificates are chosen as they are with cfg. A door
// makes one for all of its connections.
func Remembering(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	c := cfg.Clone()
	if f := cfg.GetConfigForClient; f != nil {
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			next, err := f(h)
			if next != nil {
				next = next.Clone()
				remember(next)
			}
			return next, err
		}
	}
	remember(c)
	return c
}

// remember puts itself between c and its certificates.
func remember(c *tls.Config) {
	//lint:ignore SA1019 who sets it gets what they had before
	if len(c.Certificates) == 0 && c.GetCertificate == nil || c.NameToCertificate != nil {
		return // tls refuses it, or it is of the old kind
	}
	before := c.Clone()
	c.Certificates = nil
	c.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(before, h)
		if g, ok := h.Conn.(*Conn); ok && err == nil && len(cert.Certificate) > 0 {
			g.shown = cert.Certificate[0]
		}
		return cert, err
	}
}

// choose does what tls.Config does.
func choose(c *tls.Config, h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.GetCertificate != nil && (len(c.Certificates) == 0 || h.ServerName != "") {
		if cert, err := c.GetCertificate(h); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(c.Certificates) == 0 {
		return nil, errors.New("guard: no certificates configured")
	}
	if len(c.Certificates) > 1 {
		for i := range c.Certificates {
			if h.SupportsCertificate(&c.Certificates[i]) == nil {
				return &c.Certificates[i], nil
			}
		}
	}
	return &c.Certificates[0], nil
}

// Shown is the certificate that was shown to the client, in DER; nil if that is not
// known, as in a session that was resumed.
func (c *Conn) Shown() []byte { return c.shown }
