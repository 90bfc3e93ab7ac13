package pgdb

import (
	"strings"
	"unicode/utf8"
)

// PostgreSQL refuses TEXT with a NUL or with what is not UTF-8, and mail has both. A
// byte that it refuses is stored as two of the 32 characters U+FDD0 to U+FDEF, which
// Unicode gives no meaning: one for each half. Those characters themselves are
// stored so too, byte by byte, so that every string comes back as it was, and two that
// differ stay so.
const (
	highHalf = 0xFDD0
	lowHalf  = 0xFDE0
	lastHalf = 0xFDEF

	halves = "\xef\xb7" // what all 32 begin with, and a few others
)

// storable returns s as PostgreSQL takes it. That is s itself, nearly always.
func storable(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && !strings.Contains(s, halves) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == 0 || r == utf8.RuneError && n == 1 || r >= highHalf && r <= lastHalf {
			for _, c := range []byte(s[:n]) {
				b.WriteRune(highHalf + rune(c>>4))
				b.WriteRune(lowHalf + rune(c&15))
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// stored is what storable was given.
func stored(s string) string {
	if !strings.Contains(s, halves) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		low, m := utf8.DecodeRuneInString(s[n:])
		if r >= highHalf && r < lowHalf && low >= lowHalf && low <= lastHalf {
			b.WriteByte(byte(r-highHalf)<<4 | byte(low-lowHalf))
			n += m
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
