package smtpclient

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrAddress means that an address has no form that may be sent.
var ErrAddress = errors.New("smtpclient: bad address")

// maxAddress is how long an address may be, in bytes: RFC 5321, 4.5.3.1.3, with
// room for local parts beyond 64.
const maxAddress = 512

// Path returns addr as it stands between < and > in MAIL and RCPT, and whether
// that needs SMTPUTF8. The address is taken apart and written anew, so that no
// address can add a parameter or a command. The domain is in A-labels if the local
// part is ASCII.
func Path(addr string) (path string, utf8Needed bool, err error) {
	bad := func(what string) (string, bool, error) {
		return "", false, fmt.Errorf("%w: %s in %.100q", ErrAddress, what, addr)
	}
	if addr == "" || strings.EqualFold(addr, "postmaster") {
		return addr, false, nil
	}
	at := strings.LastIndexByte(addr, '@')
	if len(addr) > maxAddress || !utf8.ValidString(addr) || at < 1 {
		return bad("syntax error")
	}
	local, domain := addr[:at], addr[at+1:]
	if local[0] == '"' {
		if local, err = unquote(local); err != nil {
			return bad("quoting error")
		}
	}
	for _, c := range local {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' {
			return bad("control character")
		}
		utf8Needed = utf8Needed || c >= 0x80
	}
	if domain, err = Domain(domain); err != nil {
		return bad("bad domain")
	}
	if utf8Needed && domain[0] != '[' {
		if u, err := idna.Lookup.ToUnicode(domain); err == nil {
			domain = u
		}
	}
	return quote(local) + "@" + domain, utf8Needed, nil
}

// Domain returns a domain in lower case A-labels, or an address literal, or
// ErrAddress.
func Domain(d string) (string, error) {
	if inner, ok := strings.CutPrefix(d, "["); ok {
		inner, ok := strings.CutSuffix(inner, "]")
		if _, err := Literal(d); !ok || err != nil {
			return "", fmt.Errorf("%w: literal %.80q", ErrAddress, d)
		}
		return "[" + inner + "]", nil
	}
	d = strings.TrimSuffix(d, ".")
	ascii := true
	for i := range len(d) {
		ascii = ascii && d[i] < 0x80
	}
	if !ascii {
		a, err := idna.Lookup.ToASCII(d)
		if err != nil {
			return "", fmt.Errorf("%w: domain %.80q", ErrAddress, d)
		}
		d = a
	}
	d = strings.ToLower(d)
	if len(d) > 253 {
		return "", fmt.Errorf("%w: long domain", ErrAddress)
	}
	if last := d[strings.LastIndexByte(d, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("%w: number for a domain: %.80q", ErrAddress, d) // an address without brackets
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("%w: domain %.80q", ErrAddress, d)
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return "", fmt.Errorf("%w: domain %.80q", ErrAddress, d)
			}
		}
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

// unquote reads a quoted string (RFC 5321, 4.1.2).
func unquote(s string) (string, error) {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return "", ErrAddress
	}
	var b strings.Builder
	s = s[1 : len(s)-1]
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return "", ErrAddress
		case '\\':
			if i++; i == len(s) {
				return "", ErrAddress
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), nil
}

// quote writes a local part, quoted if it is no dot-string.
func quote(s string) string {
	plain := s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
	for i := range len(s) {
		c := s[i]
		plain = plain && (c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0)
	}
	if plain {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
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
