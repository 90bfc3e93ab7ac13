package queue

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// address is the one the sender knows, so that an alias does not show.
func address(f fate) string {
	rcpt := f.it.Envelope.Rcpts[0]
	return cmp.Or(rcpt.Given, rcpt.Addr)
}

// address returns an address as it stands in a field: type and value. One that is
// not ASCII has the type of RFC 6533, 3: in a report of that form as it is, else
// as utf-8-addr-xtext.
func (r *report) address(kind, a string) (string, string) {
	a = clean(a)
	switch {
	case isASCII(a) && !strings.EqualFold(kind, "utf-8"):
		return kind, a
	case r.global:
		return "utf-8", a
	}
	var b strings.Builder
	for _, c := range a {
		if c <= ' ' || c == '\\' || c == '+' || c == '=' || c >= 0x7f {
			fmt.Fprintf(&b, `\x{%02X}`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return "utf-8", b.String()
}

// originalRecipient returns ORCPT as it stands in its field: decoded, with what
// the type means (RFC 3461, 6.3). It is empty without one.
func (r *report) originalRecipient(orcpt string) (kind, value string) {
	kind, value, ok := strings.Cut(orcpt, ";")
	if !ok || kind == "" || strings.ContainsFunc(kind, func(c rune) bool { return idChar(c) != c }) || len(kind) > 40 {
		return "", ""
	}
	value = unxtext(value)
	if strings.EqualFold(kind, "utf-8") {
		value = unescape(value)
	}
	return r.address(kind, value)
}

// unxtext decodes xtext (RFC 3461, 4); what is none stays as it is.
func unxtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) && strings.ToUpper(s[i+1:i+3]) == s[i+1:i+3] {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unescape decodes the \x{...} of RFC 6533, 3.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		hex, after, ok := strings.Cut(rest, "}")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || !utf8.ValidRune(rune(n)) {
			b.WriteString(`\x{`)
			s = rest
			continue
		}
		b.WriteRune(rune(n))
		s = after
	}
}
