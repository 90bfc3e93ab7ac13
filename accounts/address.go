package accounts

import (
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/mailkeel/mailkeel/internal/addr"
)

// Canonical returns the form under which an address is looked up: the local part
// in lower case and NFC, without quotes that it does not need, and the domain as
// CanonicalDomain gives it. "postmaster" alone stays alone (RFC 5321, 4.5.1).
// ErrBadAddress if address is none (RFC 5321, 4.1.2; RFC 6531, 3.3).
func Canonical(address string) (string, error) {
	if strings.EqualFold(address, "postmaster") {
		return "postmaster", nil
	}
	local, domain, err := parts(address)
	if err != nil {
		return "", err
	}
	return join(local, domain), nil
}

// CanonicalDomain returns a domain in lower case with A-labels (RFC 5890), or an
// address literal. ErrBadAddress if it is neither.
func CanonicalDomain(domain string) (string, error) {
	d, err := addr.Domain(domain)
	if err != nil {
		return "", bad(domain, err)
	}
	return d, nil
}

func bad(s string, err error) error { return fmt.Errorf("%w: %.100q: %w", ErrBadAddress, s, err) }

// join puts a local part, without quotes, and a domain together.
func join(local, domain string) string { return addr.Mailbox{Local: local, Domain: domain}.String() }

// parts takes an address apart: the local part without quotes, both canonical.
func parts(address string) (local, domain string, err error) {
	if local, domain, err = split(address); err != nil {
		return "", "", err
	}
	local = fold(local)
	if _, err := addr.Parse(join(local, domain), true); err != nil { // it may have grown
		return "", "", bad(address, err)
	}
	return local, domain, nil
}

// split is parts with the case of the local part as it was. Where only the local
// part is bad it still returns the domain.
func split(address string) (local, domain string, err error) {
	if strings.HasPrefix(address, "<") || strings.HasPrefix(address, "@") { // a path is no address
		return "", "", bad(address, addr.ErrSyntax)
	}
	_, domain = addr.Split(address)
	if domain, err = addr.Domain(domain); err != nil {
		return "", "", bad(address, err)
	}
	m, err := addr.Parse(address, true)
	if err != nil {
		return "", domain, bad(address, err)
	}
	return m.Local, domain, nil
}

// fold makes local parts that people take for the same one equal.
func fold(local string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(local))) }
