package imap

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// casemap returns s in the form in which i;unicode-casemap compares it byte by byte
// (RFC 5051, 2): each character in title case, and then decomposed.
func casemap(s string) string {
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 'a' && c <= 'z' {
				c -= 'a' - 'A'
			}
			b = append(b, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		// One by one, so that marks stay in their order.
		was := len(b)
		b = utf8.AppendRune(b, unicode.ToTitle(r))
		if d := norm.NFKD.Properties(b[was:]).Decomposition(); d != nil {
			b = append(b[:was], d...)
		}
	}
	return string(b)
}
