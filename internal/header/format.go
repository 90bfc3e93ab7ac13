package header

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"
)

// ErrUnsafe means that a name or value would not stay in its field.
var ErrUnsafe = errors.New("header: unsafe")

const (
	lineLength = 78  // where lines are folded if they can be (RFC 5322, 2.1.1)
	maxLine    = 998 // which no line may exceed
)

// Format returns a field with its line end, folded at spaces. The value is UTF-8 or
// ASCII and already in the syntax of its field; see Text, Clean and Encode. Line
// ends, NUL and other control characters are ErrUnsafe, and so is a word that no line
// can hold.
func Format(name, value string) ([]byte, error) {
	if Colon([]byte(name+":")) != len(name) || strings.ContainsAny(name, " \t") || len(name) > 76 {
		return nil, fmt.Errorf("%w name %.80q", ErrUnsafe, name)
	}
	if !utf8.ValidString(value) || value != Clean(value) {
		return nil, fmt.Errorf("%w value of %s", ErrUnsafe, name)
	}
	b := append(make([]byte, 0, len(name)+len(value)+len(value)/32+4), name...)
	b = append(b, ':')
	column := len(b)
	// A line may be broken before a space that a word follows.
	for value = " " + strings.Trim(value, " \t"); value != ""; {
		end := len(value)
		word := strings.TrimLeft(value, " \t")
		if i := strings.IndexAny(word, " \t"); i >= 0 {
			end = len(value) - len(word) + i
		}
		if end >= maxLine {
			return nil, fmt.Errorf("%w: a word of %d bytes in %s", ErrUnsafe, end, name)
		}
		if column+end > lineLength && column > len(name)+1 || column+end > maxLine {
			b = append(b, '\r', '\n')
			column = 0
		}
		b = append(b, value[:end]...)
		column += end
		value = value[end:]
	}
	return append(b, '\r', '\n'), nil
}

// Clean makes spaces of what Format refuses, for values that others wrote.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 127 || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}

// Encode returns text as encoded words (RFC 2047) if it is not plain ASCII. It is for
// unstructured fields and for names of people, not for addresses.
func Encode(text string) string {
	return mime.QEncoding.Encode("utf-8", Clean(text))
}

// Phrase returns a name as it stands before an address: a word, a quoted string or
// encoded words.
func Phrase(name string) string {
	name = Clean(name)
	if e := mime.QEncoding.Encode("utf-8", name); e != name || name == "" {
		return e
	}
	plain := strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789 !#$%&'*+-/=?^_`{|}~") == ""
	if plain && !strings.Contains(name, "=?") {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}
