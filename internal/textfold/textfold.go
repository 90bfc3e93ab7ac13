// Package textfold gives texts the form in which searches compare them: composed and
// without compatibility forms (NFKC), in one case, without diacritics, and with a
// single space for white space and controls, so that a phrase is found across the ends
// of lines. Search with and without an index uses it, so that both find the same.
//
// Diacritics are those that a writer may leave out: accents of Latin, Greek and
// Cyrillic letters, points of Hebrew and Arabic. Marks that make another letter, as in
// Kana and Indic scripts, stay.
package textfold

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A Folder folds text that comes in pieces. Its zero value is ready. It holds memory
// that is used again, nothing else.
type Folder struct{ norm []byte }

// Append appends text to b, which is what the Folder gave for what stands before. A
// piece ends where Closed says.
func (f *Folder) Append(b, text []byte) []byte {
	if ASCII(text) {
		return appendASCII(b, text)
	}
	if !norm.NFKC.IsNormal(text) {
		f.norm = norm.NFKC.Append(f.norm[:0], text...)
		text = f.norm
	}
	return appendNormal(b, text)
}

// String folds a text as a whole.
func String(s string) string {
	return string(new(Folder).Append(make([]byte, 0, len(s)+8), []byte(s)))
}

// Closed returns how much of text does not depend on what follows: all up to the last
// character that others may still combine with, unless that is far back.
func Closed(text []byte) int {
	n := len(text)
	for i := n - 1; i >= 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				n = i
			}
			break
		}
	}
	if i := norm.NFKC.LastBoundary(text[:n]); i >= 0 && n-i < 256 {
		return i
	}
	return n
}

// ASCII reports whether text has nothing but ASCII.
func ASCII(text []byte) bool {
	for len(text) >= 32 {
		a := binary.LittleEndian.Uint64(text) | binary.LittleEndian.Uint64(text[8:])
		b := binary.LittleEndian.Uint64(text[16:]) | binary.LittleEndian.Uint64(text[24:])
		if (a|b)&0x8080808080808080 != 0 {
			return false
		}
		text = text[32:]
	}
	var all byte
	for _, c := range text {
		all |= c
	}
	return all < utf8.RuneSelf
}

// folded is what each byte of ASCII becomes.
var folded = func() (t [128]byte) {
	for c := range t {
		switch {
		case c >= 'A' && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		case c > ' ' && c < 0x7f:
			t[c] = byte(c)
		default:
			t[c] = ' '
		}
	}
	return t
}()

func appendASCII(b, text []byte) []byte {
	blank := len(b) > 0 && b[len(b)-1] == ' '
	for _, c := range text {
		c = folded[c&0x7f]
		if c == ' ' {
			if blank {
				continue
			}
			blank = true
		} else {
			blank = false
		}
		b = append(b, c)
	}
	return b
}

func appendNormal(b, text []byte) []byte {
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			if c = folded[c]; c == ' ' {
				b = appendBlank(b)
			} else {
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		i += n
		if unicode.IsSpace(r) {
			b = appendBlank(b)
		} else {
			b = appendRune(b, r)
		}
	}
	return b
}

func appendBlank(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] == ' ' {
		return b
	}
	return append(b, ' ')
}

// appendRune appends what is compared of a character above ASCII.
func appendRune(b []byte, r rune) []byte {
	if hidden(r) {
		return b
	}
	r = unicode.ToLower(unicode.ToUpper(r))
	// Letters whose stroke or ligature is no mark to Unicode, but is to writers.
	switch r {
	case 'ß', 'ẞ':
		return append(b, "ss"...)
	case 'æ':
		return append(b, "ae"...)
	case 'œ':
		return append(b, "oe"...)
	case 'ø':
		return append(b, 'o')
	case 'ł':
		return append(b, 'l')
	case 'đ':
		return append(b, 'd')
	case 'ħ':
		return append(b, 'h')
	}
	var room [utf8.UTFMax]byte
	whole := utf8.AppendRune(room[:0], r)
	from := len(b)
	bare := false
	for parts := norm.NFD.Properties(whole).Decomposition(); len(parts) > 0; {
		p, n := utf8.DecodeRune(parts)
		if parts = parts[n:]; hidden(p) {
			bare = true
			continue
		}
		b = utf8.AppendRune(b, p)
	}
	if !bare { // none to take off
		return append(b[:from], whole...)
	}
	return b
}

// hidden reports whether a character is not seen, or a mark that may be left out.
func hidden(r rune) bool {
	switch {
	case r < 0x300:
		return r == 0xad
	case r <= 0x36f: // combining diacritical marks
		return true
	case r < 0x590:
		return r >= 0x483 && r <= 0x487 // Cyrillic
	case r <= 0x5c7: // Hebrew points
		return r >= 0x591 && r != 0x5be && r != 0x5c0 && r != 0x5c3 && r != 0x5c6
	case r < 0x700:
		return r >= 0x610 && r <= 0x61a || r == 0x640 || r >= 0x64b && r <= 0x65f || r == 0x670 // Arabic
	}
	return r >= 0x1ab0 && r <= 0x1aff || r >= 0x1dc0 && r <= 0x1dff || r >= 0x20d0 && r <= 0x20ff ||
		r >= 0xfe20 && r <= 0xfe2f || r >= 0xfe00 && r <= 0xfe0f || r == 0x200b || r == 0x200c || r == 0x200d || r == 0xfeff
}
