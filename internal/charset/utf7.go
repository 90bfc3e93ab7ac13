package charset

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// utf7 decodes UTF-7 (RFC 2152). What is not UTF-7 becomes U+FFFD.
type utf7 struct {
	shifted bool   // between + and what ends it
	first   bool   // directly after the +
	bits    uint32 // not yet read, in the low n bits
	n       uint
	high    rune // a high surrogate that waits for its low one
}

func (u *utf7) Reset() { *u = utf7{} }

// value returns what a letter of base64 stands for, or -1.
func value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return -1
}

func (u *utf7) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	put := func(r rune) { nDst += utf8.EncodeRune(dst[nDst:], r) }
	for nSrc < len(src) {
		if len(dst)-nDst < 2*utf8.UTFMax { // one byte gives two characters at most
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		nSrc++
		if !u.shifted {
			switch {
			case c == '+':
				*u = utf7{shifted: true, first: true}
			case c >= utf8.RuneSelf:
				put(utf8.RuneError)
			default:
				put(rune(c))
			}
			continue
		}
		if v := value(c); v >= 0 {
			u.first = false
			u.bits, u.n = u.bits<<6|uint32(v), u.n+6
			if u.n < 16 {
				continue
			}
			u.n -= 16
			unit := rune(u.bits >> u.n & 0xffff)
			switch {
			case u.high != 0 && unit >= 0xdc00 && unit < 0xe000:
				put(utf16.DecodeRune(u.high, unit))
				u.high = 0
			case utf16.IsSurrogate(unit):
				if u.high != 0 {
					put(utf8.RuneError)
				}
				if u.high = unit; unit >= 0xdc00 {
					u.high = 0
					put(utf8.RuneError)
				}
			default:
				if u.high != 0 {
					u.high = 0
					put(utf8.RuneError)
				}
				put(unit)
			}
			continue
		}
		if u.high != 0 {
			put(utf8.RuneError)
		}
		switch {
		case c == '-' && u.first: // "+-" is a plus
			put('+')
		case c == '-': // belongs to the shift
		case c >= utf8.RuneSelf:
			put(utf8.RuneError)
		default:
			put(rune(c))
		}
		*u = utf7{}
	}
	if atEOF && u.high != 0 {
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		u.high = 0
		put(utf8.RuneError)
	}
	return nDst, nSrc, nil
}
