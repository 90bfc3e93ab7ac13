package mailauth

import (
	"context"
	"errors"
	"net"
	"strings"
)

// A TXTResolver looks TXT records up, of names that end in a dot. An error that is a
// *net.DNSError with IsNotFound means that there is none; any other, that the answer
// could not be had.
type TXTResolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// A Resolver looks names up, likewise. *net.Resolver is one.
type Resolver interface {
	TXTResolver
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

var _ Resolver = (*net.Resolver)(nil)

// fqdn ends a name in a dot, so that no search list is asked (resolv.conf(5)).
func fqdn(name string) string { return strings.TrimSuffix(name, ".") + "." }

// missing is the answer that a name, or a record of it, does not exist.
func missing(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// judged makes of any error of a resolver one that says whether to ask again: what
// is not a plain no is, as a name server that fails (RFC 7208, 4.4; RFC 6376, 6.1.2).
func judged(name string, err error) error {
	var e *net.DNSError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && e.IsNotFound:
		return e
	}
	return &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true, UnwrapErr: err}
}

// possible reports whether a name can be in the DNS (RFC 1035, 2.3.4). One that cannot
// is not asked for.
func possible(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
			return false
		}
	}
	return true
}

// lookupTXT asks for the TXT records of a name.
func lookupTXT(ctx context.Context, r TXTResolver, name string) ([]string, error) {
	if !possible(name) {
		return nil, missing(name)
	}
	txts, err := r.LookupTXT(ctx, fqdn(name))
	return txts, judged(name, err)
}
