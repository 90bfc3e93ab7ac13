package smtpclient

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mailkeel/mailkeel/internal/addr"
)

// ErrAddress means that an address has no form that may be sent.
var ErrAddress = errors.New("smtpclient: bad address")

// Path returns addr as it stands between < and > in MAIL and RCPT, and whether
// that needs SMTPUTF8. The address is taken apart and written anew, so that no
// address can add a parameter or a command. The domain is in A-labels if the local
// part is ASCII.
func Path(s string) (path string, utf8 bool, err error) {
	if s == "" || strings.EqualFold(s, "postmaster") {
		return s, false, nil
	}
	m, err := addr.Parse(s, true)
	if err != nil {
		return "", false, fmt.Errorf("%w: %.100q: %w", ErrAddress, s, err)
	}
	domain, err := Domain(m.Domain)
	if err != nil {
		return "", false, err
	}
	for i := range len(m.Local) {
		utf8 = utf8 || m.Local[i] >= 0x80
	}
	if !utf8 {
		m.Domain = domain
	}
	return m.String(), utf8, nil
}

// Domain returns a domain in lower case A-labels, or an address literal, or
// ErrAddress.
func Domain(s string) (string, error) {
	d, err := addr.Domain(strings.TrimSuffix(s, "."))
	if err != nil {
		return "", fmt.Errorf("%w: domain %.80q: %w", ErrAddress, s, err)
	}
	return d, nil
}

// Literal returns the address in a literal such as [192.0.2.1] or
// [IPv6:2001:db8::1] (RFC 5321, 4.1.3).
func Literal(d string) (netip.Addr, error) {
	if len(d) < 2 || d[0] != '[' || d[len(d)-1] != ']' {
		return netip.Addr{}, ErrAddress
	}
	s := d[1 : len(d)-1]
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		if a, err := netip.ParseAddr(s[5:]); err == nil && a.Is6() && a.Zone() == "" {
			return a, nil
		}
		return netip.Addr{}, ErrAddress
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, ErrAddress
	}
	return a, nil
}

// xtext encodes s for a DSN parameter (RFC 3461, 4).
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

// isXtext reports whether s may stand in a parameter as it is.
func isXtext(s string) bool {
	hex := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) || !hex(s[i+1]) || !hex(s[i+2]) {
				return false
			}
			i += 2
		case c <= ' ' || c >= 0x7f || c == '=':
			return false
		}
	}
	return true
}
