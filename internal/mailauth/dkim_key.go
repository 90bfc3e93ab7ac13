package mailauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
)

// RSA keys of fewer bits are too weak (RFC 8301, 3.2), and of more too much work.
const (
	minRSA = 1024
	maxRSA = 8192
)

// A publicKey is a key record (RFC 6376, 3.6.1).
type publicKey struct {
	public  crypto.PublicKey
	kind    string // k=
	hashes  []string
	testing bool // t=y
	strict  bool // t=s: i= must have the domain of d= itself
}

// findKey asks for the key of a signature.
func findKey(ctx context.Context, r TXTResolver, s *signature) (*publicKey, error) {
	name := s.selector + "._domainkey." + s.domain
	txts, err := lookupTXT(ctx, r, name)
	if err != nil {
		if e, ok := err.(*net.DNSError); ok && e.IsNotFound {
			return nil, malformed("there is no key")
		}
		return nil, &verdict{TempError, "DNS does not answer for the key"}
	}
	// One record may be something else; several keys have no meaning (3.6.2.2).
	var keys []string
	for _, txt := range txts {
		if t, err := parseTags(txt); err == nil {
			if _, ok := t["p"]; ok {
				keys = append(keys, txt)
			}
		}
	}
	switch {
	case len(txts) == 0:
		return nil, malformed("there is no key")
	case len(keys) > 1:
		return nil, malformed("there are several keys")
	case len(keys) == 0:
		return nil, malformed("the record is no key")
	}
	k, err := parseKey(keys[0])
	if err != nil {
		return k, err
	}
	switch {
	case k.kind != s.kind:
		return k, malformed("the key is of another kind")
	case k.hashes != nil && !slices.Contains(k.hashes, "sha256"):
		return k, malformed("the key is for another hash")
	case k.strict && s.identity != s.domain:
		return k, malformed("the key is not for subdomains")
	}
	return k, nil
}

// parseKey reads a record. With an error it returns what it knows of the key.
func parseKey(txt string) (*publicKey, error) {
	t, err := parseTags(txt)
	if err != nil {
		return nil, malformed("the key cannot be read")
	}
	if v, ok := t["v"]; ok && v != "DKIM1" {
		return nil, malformed("the key is of another version")
	}
	k := &publicKey{kind: "rsa"}
	if v := squeeze(t["k"]); v != "" {
		k.kind = strings.ToLower(v)
	}
	if h, ok := t["h"]; ok {
		k.hashes = list(strings.ToLower(h))
	}
	flags := list(t["t"])
	k.testing, k.strict = slices.Contains(flags, "y"), slices.Contains(flags, "s")
	if v, ok := t["s"]; ok {
		if for_ := list(v); !slices.Contains(for_, "*") && !slices.Contains(for_, "email") {
			return k, malformed("the key is not for mail")
		}
	}
	p, ok := t["p"]
	switch {
	case !ok:
		return k, malformed("the record is no key")
	case p == "":
		return k, malformed("the key was revoked")
	}
	data, err := decode64(p)
	if err != nil {
		return k, malformed("the key cannot be read")
	}
	switch k.kind {
	case "rsa":
		// A SubjectPublicKeyInfo or, by erratum 3017, an RSAPublicKey.
		var pub any
		if pub, err = x509.ParsePKIXPublicKey(data); err != nil {
			pub, err = x509.ParsePKCS1PublicKey(data)
		}
		key, ok := pub.(*rsa.PublicKey)
		if err != nil || !ok {
			return k, malformed("the key cannot be read")
		}
		switch n := key.N.BitLen(); {
		case n < minRSA:
			return k, failed(fmt.Sprintf("a key of %d bits is too weak", n))
		case n > maxRSA:
			return k, failed(fmt.Sprintf("a key of %d bits is too large", n))
		}
		k.public = key
	case "ed25519":
		if len(data) != ed25519.PublicKeySize {
			return k, malformed("the key cannot be read")
		}
		k.public = ed25519.PublicKey(data)
	default:
		return k, malformed("the key is of a kind that is not known")
	}
	return k, nil
}
