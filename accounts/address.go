package accounts

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Canonical returns the form under which an address is looked up: the local part
// in lower case and NFC, without quotes that it does not need, and the domain as
// CanonicalDomain gives it. "postmaster" alone stays alone (RFC 5321, 4.5.1).
// ErrBadAddress if addr is not an address (RFC 5321, 4.1.2; RFC 6531, 3.3).
func Canonical(addr string) (string, error) {
	if strings.EqualFold(addr, "postmaster") {
		return "postmaster", nil
	}
	local, domain, err := parts(addr)
	if err != nil {
		return "", err
	}
	return Join(local, domain), nil
}

// CanonicalDomain returns a domain in lower case with A-labels (RFC 5890), or an
// address literal in lower case. ErrBadAddress if it is neither.
func CanonicalDomain(domain string) (string, error) {
	bad := fmt.Errorf("%w: domain %.100q", ErrBadAddress, domain)
	if len(domain) > 1024 || !utf8.ValidString(domain) {
		return "", bad
	}
	if strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]") && !strings.ContainsFunc(domain[1:len(domain)-1], notLiteral) {
		return strings.ToLower(domain), nil
	}
	for _, r := range domain {
		if r >= utf8.RuneSelf {
			a, err := idna.Lookup.ToASCII(domain)
			if err != nil {
				return "", bad
			}
			domain = a
			break
		}
	}
	domain = strings.ToLower(domain)
	if len(domain) == 0 || len(domain) > 253 {
		return "", bad
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notLabel) {
			return "", bad
		}
	}
	return domain, nil
}

// Join puts an unquoted local part and a domain together and quotes what needs
// it.
func Join(local, domain string) string {
	if !dotString(local) {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	return local + "@" + domain
}

// parts takes an address apart: the local part without quotes, both canonical.
func parts(addr string) (local, domain string, err error) {
	local, domain, err = split(addr)
	return fold(local), domain, err
}

// split is parts with the case of the local part as it was. Where only the local
// part is bad it still returns the domain.
func split(addr string) (local, domain string, err error) {
	bad := fmt.Errorf("%w: %.100q", ErrBadAddress, addr)
	at := strings.LastIndexByte(addr, '@')
	if at < 1 {
		return "", "", bad
	}
	if domain, err = CanonicalDomain(addr[at+1:]); err != nil {
		return "", "", err
	}
	if local = addr[:at]; len(local) > 256 || !utf8.ValidString(local) {
		return "", domain, bad
	}
	if local[0] == '"' {
		local = unquote(local)
	} else if !dotString(local) {
		return "", domain, bad
	}
	if local == "" || len(local) > 64 || strings.ContainsFunc(local, unicode.IsControl) { // RFC 5321, 4.5.3.1.1
		return "", domain, bad
	}
	return local, domain, nil
}

// fold makes local parts that people take for the same one equal.
func fold(local string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(local))) }

// unquote takes the quotes from a Quoted-string (RFC 5321, 4.1.2), or returns "".
func unquote(s string) string {
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return ""
	}
	s = s[1 : len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if i++; i == len(s) {
				return ""
			}
			c = s[i]
			if c < ' ' || c > '~' {
				return ""
			}
		} else if c < ' ' || c == 0x7f || c == '"' {
			return ""
		}
		b.WriteByte(c)
	}
	return b.String()
}

// dotString reports whether s may stand as a local part without quotes.
func dotString(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, notAtext) {
			return false
		}
	}
	return true
}

func letDig(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func notAtext(r rune) bool {
	return !letDig(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r) && r < 0xa0
}

func notLabel(r rune) bool { return !letDig(r) && r != '-' && r != '_' }

func notLiteral(r rune) bool { return !letDig(r) && !strings.ContainsRune(".:-", r) }

// DomainOf returns what follows the last @ of an address, or nothing.
func DomainOf(addr string) string {
	if at := strings.LastIndexByte(addr, '@'); at >= 0 {
		return addr[at+1:]
	}
	return ""
}
