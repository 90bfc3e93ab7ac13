package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// A Key signs for a domain. Its private half never leaves it: it is not printed.
type Key struct {
	Domain   string // lower case, A-labels
	Selector string // lower case letters, digits and hyphens
	Created  time.Time
	signer   crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
}

// ErrBadKey means that a private key cannot be used for DKIM.
var ErrBadKey = errors.New("dkim: bad key")

// MinRSABits is how long an RSA key must be to sign or to be believed (RFC 8301, 3.2).
const MinRSABits = 1024

// NewKey returns a Key of a private key: a *rsa.PrivateKey of 1,024 bits or more, or
// an ed25519.PrivateKey. Another is ErrBadKey.
func NewKey(domain, selector string, private crypto.Signer) (Key, error) {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		if k == nil || k.N.BitLen() < MinRSABits {
			return Key{}, fmt.Errorf("%w: RSA keys have %d bits at least", ErrBadKey, MinRSABits)
		}
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize {
			return Key{}, fmt.Errorf("%w: %d bytes of Ed25519", ErrBadKey, len(k))
		}
	default:
		return Key{}, fmt.Errorf("%w: %T is neither RSA nor Ed25519", ErrBadKey, private)
	}
	if !validName(selector) || !validName(domain) {
		return Key{}, fmt.Errorf("%w: %.64q or %.64q is no name", ErrBadKey, selector, domain)
	}
	return Key{Domain: domain, Selector: selector, signer: private}, nil
}

// validName reports whether s is labels of letters, digits, hyphens and underscores, in
// lower case, so that it can stand in a signature and in a zone file.
func validName(s string) bool {
	if len(s) > 253 {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && label > 0:
			label = 0
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
			if label++; label > 63 {
				return false
			}
		default:
			return false
		}
	}
	return label > 0
}

// Algorithm is what a signature says: "rsa-sha256" or "ed25519-sha256".
func (k Key) Algorithm() string {
	if _, ok := k.signer.(ed25519.PrivateKey); ok {
		return "ed25519-sha256"
	}
	return "rsa-sha256"
}

// Name is where the TXT record of the key stands, without a dot at the end.
func (k Key) Name() string { return k.Selector + "._domainkey." + k.Domain }

// String is the name and the algorithm, and GoString the same: what is logged by
// mistake tells nothing.
func (k Key) String() string {
	if k.signer == nil {
		return "no key"
	}
	return k.Name() + " (" + k.Algorithm() + ")"
}

func (k Key) GoString() string { return k.String() }

// Record is the text of that record (RFC 6376, 3.6.1; RFC 8463, 4).
func (k Key) Record() string {
	switch pub := k.signer.Public().(type) {
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
	default:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil { // not with what NewKey takes
			return ""
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	}
}

// sign signs a hash. RFC 8463, 3: Ed25519 signs the hash as if it were the message.
func (k Key) sign(hash []byte) ([]byte, error) {
	opts := crypto.SHA256
	if _, ok := k.signer.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0)
	}
	return k.signer.Sign(rand.Reader, hash, opts)
}

// Keys has the keys of domains. A Signer asks it for each message, from many
// goroutines.
type Keys interface {
	// Keys returns the keys with which mail of a domain is signed, in the order of
	// the signatures. The domain is in lower case with A-labels. None means that the
	// domain is not ours, and that its mail is not signed. An error means that this
	// cannot be told now, or that a key cannot be had: mail waits.
	Keys(ctx context.Context, domain string) ([]Key, error)
}

// FixedKeys are keys that somebody else made and keeps.
type FixedKeys []Key

var _ Keys = FixedKeys(nil)

// Keys returns those of the domain.
func (f FixedKeys) Keys(_ context.Context, domain string) (of []Key, _ error) {
	for _, k := range f {
		if k.Domain == domain {
			of = append(of, k)
		}
	}
	return of, nil
}
