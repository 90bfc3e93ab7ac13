package addr

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Domain returns the one form of a domain that others are compared with: A-labels
// in lower case, or an address literal like "[192.0.2.1]" or "[IPv6:2001:db8::1]".
//
// A U-label must be as IDNA writes it (RFC 5890, 2.3.2.1) but for case: letters that
// only look like others, wide forms and other dots are ErrSyntax. So is a trailing
// dot, a name of digits, and the literals of RFC 5321 that nobody defined.
func Domain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return literal(s)
	}
	if !ascii(s) {
		if len(s) > 4*MaxDomain {
			return "", ErrLength
		}
		if !utf8.ValidString(s) {
			return "", syntax("domain")
		}
		a, err := names.ToASCII(s)
		if err != nil {
			return "", syntax("domain: " + err.Error())
		}
		// What the mapping changed was not a U-label.
		u, err := names.ToUnicode(a)
		if err != nil || u != strings.ToLower(norm.NFC.String(s)) {
			return "", syntax("domain is not in its normal form")
		}
		s = a
	}
	if len(s) > MaxDomain {
		return "", ErrLength
	}
	s = strings.ToLower(s)
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case len(label) > 63:
			return "", ErrLength
		case label == "" || label[0] == '-' || label[len(label)-1] == '-':
			return "", syntax("domain")
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return "", syntax("domain")
		case strings.HasPrefix(label, "xn--"):
			if a, err := names.ToASCII(label); err != nil || a != label {
				return "", syntax("domain")
			}
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return "", syntax("domain of digits")
	}
	return s, nil
}

var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.BidiRule())

// literal reads [192.0.2.1] and [IPv6:2001:db8::1] (RFC 5321, 4.1.3).
func literal(s string) (string, error) {
	in, ok := strings.CutSuffix(s[1:], "]")
	if !ok || len(in) > 64 {
		return "", syntax("address literal")
	}
	v6 := len(in) > 5 && strings.EqualFold(in[:5], "IPv6:")
	if v6 {
		in = in[5:]
	}
	ip, err := netip.ParseAddr(in)
	if err != nil || ip.Zone() != "" || ip.Is6() != v6 {
		return "", syntax("address literal")
	}
	if v6 {
		return "[IPv6:" + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}
