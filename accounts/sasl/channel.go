package sasl

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/xdg-go/scram"
)

// A Channel is what a door knows of the TLS of a connection.
type Channel struct {
	State tls.ConnectionState
	// Shown is the certificate that the door showed, in DER; nil if it does not
	// know.
	Shown []byte
	// Unbound is for a door that offers no channel binding.
	Unbound bool
}

// bindable reports whether there is a channel binding.
func (c *Channel) bindable() bool {
	if c == nil || c.Unbound || !c.State.HandshakeComplete {
		return false
	}
	return c.State.Version >= tls.VersionTLS13 || c.any().IsSupported()
}

// any returns the best binding.
func (c *Channel) any() (b scram.ChannelBinding) {
	for _, kind := range []scram.ChannelBindingType{scram.ChannelBindingTLSExporter, scram.ChannelBindingTLSServerEndpoint, scram.ChannelBindingTLSUnique} {
		if b = c.binding(kind); b.IsSupported() {
			return b
		}
	}
	return b
}

// binding returns one of a kind, zero if there is none: tls-exporter (RFC 9266),
// where TLS 1.3 or the extended master secret make it safe; tls-server-end-point
// (RFC 5929, 4); and tls-unique (RFC 5929, 3), which TLS 1.3 does not have.
func (c *Channel) binding(kind scram.ChannelBindingType) (b scram.ChannelBinding) {
	if c == nil || c.Unbound || !c.State.HandshakeComplete { // of a zero state package tls knows nothing
		return b
	}
	switch kind {
	case scram.ChannelBindingTLSExporter:
		b, _ = scram.NewTLSExporterBinding(&c.State)
	case scram.ChannelBindingTLSServerEndpoint:
		if cert, err := x509.ParseCertificate(c.Shown); err == nil {
			b, _ = scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}})
		}
	case scram.ChannelBindingTLSUnique:
		if c.State.Version < tls.VersionTLS13 && c.State.TLSUnique != nil {
			b = scram.NewTLSUniqueBinding(c.State.TLSUnique)
		}
	}
	return b
}

// verified is the chain of the certificate of the client, which TLS has verified,
// or nil.
func (c *Channel) verified() []*x509.Certificate {
	if c == nil || len(c.State.VerifiedChains) == 0 {
		return nil
	}
	return c.State.VerifiedChains[0]
}
