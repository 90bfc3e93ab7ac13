package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
)

const (
	lifetime = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is replaced.
	renewBefore = 30 * 24 * time.Hour
)

// A Keeper keeps the PEM blocks of a certificate and its key.
type Keeper interface {
	// Load returns what Save kept, or nil if there is nothing.
	Load() ([]byte, error)
	// Save replaces it. When it returns nil the bytes are durable. They hold a
	// private key: nobody else may read them.
	Save([]byte) error
}

// SelfSigned makes a certificate for Names when Keep has none, when the one there
// has other names, and 30 days before it ends. Names is required.
type SelfSigned struct {
	Names  []string       // host names and addresses, the first is the subject
	Keep   Keeper         // nil means that every process makes its own
	Clock  mailkeel.Clock // nil means real time
	Logger *slog.Logger   // nil means discard

	mu   sync.Mutex
	cert *tls.Certificate
}

// Load reads or makes the certificate, so that a mistake shows at the start.
func (s *SelfSigned) Load() error {
	_, err := s.GetCertificate(nil)
	return err
}

// GetCertificate is for tls.Config.
func (s *SelfSigned) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := mailkeel.ClockOr(s.Clock).Now()
	if s.cert == nil && s.Keep != nil {
		kept, err := s.Keep.Load()
		if err != nil {
			return nil, fmt.Errorf("certs: %w", err)
		}
		if cert, err := decode(kept); err == nil {
			s.cert = cert
		} else if kept != nil {
			logger(s.Logger).Warn("certs: making a new certificate, the old one is damaged", "err", err)
		}
	}
	if s.cert != nil && s.good(s.cert.Leaf, now) {
		return s.cert, nil
	}
	kept, err := Make(s.Names, now, lifetime)
	if err != nil {
		return nil, err
	}
	cert, err := decode(kept)
	if err != nil {
		return nil, err
	}
	if s.Keep != nil {
		if err := s.Keep.Save(kept); err != nil {
			if s.cert != nil && now.Before(s.cert.Leaf.NotAfter) {
				logger(s.Logger).Error("certs: cannot keep a new certificate, going on with the old one", "err", err)
				return s.cert, nil
			}
			return nil, fmt.Errorf("certs: %w", err)
		}
	}
	logger(s.Logger).Info("certs: made a self-signed certificate", "names", s.Names, "until", cert.Leaf.NotAfter, "sha256", Fingerprint(cert))
	s.cert = cert
	return cert, nil
}

// good reports whether c can go on being used.
func (s *SelfSigned) good(c *x509.Certificate, now time.Time) bool {
	if now.Before(c.NotBefore) || !now.Before(c.NotAfter.Add(-renewBefore)) {
		return false
	}
	hosts, ips := split(s.Names)
	for _, h := range hosts {
		if !slices.Contains(c.DNSNames, h) {
			return false
		}
	}
	for _, ip := range ips {
		if !slices.ContainsFunc(c.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

// split tells addresses from names and drops what cannot stand in a certificate.
func split(names []string) (hosts []string, ips []net.IP) {
	for _, n := range names {
		if ip := net.ParseIP(strings.Trim(n, "[]")); ip != nil {
			ips = append(ips, ip)
		} else if n != "" && !slices.Contains(hosts, n) {
			hosts = append(hosts, n)
		}
	}
	return hosts, ips
}

// Make returns a new self-signed ECDSA P-256 certificate for names with its key,
// in PEM. It holds from an hour before now, for clocks that are behind.
func Make(names []string, now time.Time, life time.Duration) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	hosts, ips := split(names)
	subject := "localhost"
	if len(hosts) > 0 {
		subject = hosts[0]
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: subject[:min(len(subject), 64)]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    hosts, IPAddresses: ips, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	return b.Bytes(), nil
}

// decode reads what Make gave.
func decode(b []byte) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return &cert, nil
}

// Fingerprint is the SHA-256 of a certificate in the form that mail programs show.
func Fingerprint(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
