package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
)

// An authority vouches for the servers of one test. It is made when somebody first
// asks: most tests do without TLS.
type authority struct {
	clock mailkeel.Clock

	once sync.Once
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	mu     sync.Mutex
	leaves map[string]*tls.Certificate // by host name
}

func newAuthority(clock mailkeel.Clock) *authority {
	return &authority{clock: mailkeel.ClockOr(clock), leaves: map[string]*tls.Certificate{}}
}

func (a *authority) now() time.Time { return a.clock.Now() }

// lifetime holds for any time that a test may move a clock to.
const lifetime = 100 * 365 * 24 * time.Hour

func (a *authority) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err) // never
	}
	now := a.now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-lifetime), NotAfter: now.Add(lifetime),
		BasicConstraintsValid: true,
	}
}

func (a *authority) init() {
	a.once.Do(func() {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err) // never
		}
		t := a.template("mailtest")
		t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign
		der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
		if err == nil {
			a.cert, err = x509.ParseCertificate(der)
		}
		if err != nil {
			panic(fmt.Sprintf("mailtest: %v", err)) // never
		}
		a.key = key
	})
}

// leaf is the certificate of a host, which is also that of this machine.
func (a *authority) leaf(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.leaves[host]; c != nil {
		return c, nil
	}
	c, err := a.make(host, []string{host, "localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, false)
	if err == nil {
		a.leaves[host] = c
	}
	return c, err
}

// other is one that no client ought to take.
func (a *authority) other(host string, expired bool) (*tls.Certificate, error) {
	if !expired {
		return a.make(host, []string{host}, nil, false)
	}
	return a.make(host, []string{host, "localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, true)
}

func (a *authority) make(host string, names []string, ips []net.IP, expired bool) (*tls.Certificate, error) {
	a.init()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := a.template(host)
	t.DNSNames, t.IPAddresses = names, ips
	if expired {
		t.NotAfter = a.now().Add(-time.Hour)
	}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, nil
}

// errHandshake is what a fault makes of one.
var errHandshake = errors.New("mailtest: the handshake fails, as it was told")

// clientTLS trusts the authority alone.
func (a *authority) clientTLS() *tls.Config { return &tls.Config{RootCAs: a.pool(), Time: a.now} }

func (a *authority) pool() *x509.CertPool {
	a.init()
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) pem() []byte {
	a.init()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}
