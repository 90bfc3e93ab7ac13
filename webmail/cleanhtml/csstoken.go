package cleanhtml

import (
	"strings"
	"unicode/utf8"
)

// The tokens of CSS Syntax Module Level 3, section 4, as far as they can be in something that is kept.
type cssKind byte

const (
	cssEnd cssKind = iota
	cssSpace
	cssIdent  // text is the name, in lower case for what is matched, with escapes undone
	cssFunc   // text is the name; the parenthesis was read
	cssAt     // text is the name without @
	cssHash   // text is the name without #
	cssString // text is the value
	cssURL    // text is the address
	cssNumber // text is the number as written, unit its unit in lower case or %
	cssDelim  // text is one character, also brackets, comma, colon and semicolon
	cssBad    // a string or address without end
)

type cssToken struct {
	kind cssKind
	text string
	unit string
}

func (t cssToken) is(delim string) bool { return t.kind == cssDelim && t.text == delim }

// cssTokens returns the first tokens of a text, at most max, comments as spaces.
func cssTokens(s string, max int) []cssToken {
	l := cssLexer{s: s}
	var out []cssToken
	for {
		t := l.next()
		if t.kind == cssEnd || len(out) == max {
			return out
		}
		if t.kind == cssSpace && len(out) > 0 && out[len(out)-1].kind == cssSpace {
			continue
		}
		out = append(out, t)
	}
}

type cssLexer struct {
	s string
	i int
}

func (l *cssLexer) at(n int) byte {
	if l.i+n < len(l.s) {
		return l.s[l.i+n]
	}
	return 0
}

func cssBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }
func cssDigit(c byte) bool { return '0' <= c && c <= '9' }
func cssNameStart(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c >= utf8.RuneSelf
}
func cssName(c byte) bool { return cssNameStart(c) || cssDigit(c) || c == '-' }

// escape reports whether a valid escape is n bytes ahead (4.3.8).
func (l *cssLexer) escape(n int) bool {
	return l.at(n) == '\\' && l.i+n+1 < len(l.s) && l.at(n+1) != '\n' && l.at(n+1) != '\r' && l.at(n+1) != '\f'
}

// ident reports whether a name begins n bytes ahead (4.3.9).
func (l *cssLexer) ident(n int) bool {
	switch c := l.at(n); {
	case c == '-':
		return cssNameStart(l.at(n+1)) || l.at(n+1) == '-' || l.escape(n+1)
	case cssNameStart(c):
		return true
	}
	return l.escape(n)
}

// number reports whether a number begins here (4.3.10).
func (l *cssLexer) number() bool {
	n := 0
	if c := l.at(0); c == '+' || c == '-' {
		n = 1
	}
	return cssDigit(l.at(n)) || l.at(n) == '.' && cssDigit(l.at(n+1))
}

func (l *cssLexer) next() cssToken {
	if l.i >= len(l.s) {
		return cssToken{}
	}
	c := l.s[l.i]
	switch {
	case cssBlank(c):
		for l.i < len(l.s) && cssBlank(l.s[l.i]) {
			l.i++
		}
		return cssToken{kind: cssSpace}
	case c == '/' && l.at(1) == '*':
		if end := strings.Index(l.s[l.i+2:], "*/"); end >= 0 {
			l.i += end + 4
		} else {
			l.i = len(l.s)
		}
		return cssToken{kind: cssSpace}
	case c == '"' || c == '\'':
		return l.quoted(c)
	case l.number():
		return l.numeric()
	case strings.HasPrefix(l.s[l.i:], "<!--"), strings.HasPrefix(l.s[l.i:], "-->"):
		l.i += len("-->")
		if c == '<' {
			l.i++
		}
		return cssToken{kind: cssSpace}
	case c == '#' && (cssName(l.at(1)) || l.escape(1)):
		l.i++
		return cssToken{kind: cssHash, text: l.name()}
	case c == '@' && l.ident(1):
		l.i++
		return cssToken{kind: cssAt, text: strings.ToLower(l.name())}
	case l.ident(0):
		return l.identLike()
	}
	_, n := utf8.DecodeRuneInString(l.s[l.i:])
	l.i += n
	return cssToken{kind: cssDelim, text: l.s[l.i-n : l.i]}
}

// name reads a name, undoing escapes (4.3.11).
func (l *cssLexer) name() string {
	start := l.i
	for l.i < len(l.s) && cssName(l.s[l.i]) {
		l.i++
	}
	if !l.escape(0) {
		return l.s[start:l.i]
	}
	var out strings.Builder
	out.WriteString(l.s[start:l.i])
	for l.i < len(l.s) {
		switch {
		case cssName(l.s[l.i]):
			out.WriteByte(l.s[l.i])
			l.i++
		case l.escape(0):
			out.WriteRune(l.unescape())
		default:
			return out.String()
		}
	}
	return out.String()
}

// unescape reads an escape (4.3.7).
func (l *cssLexer) unescape() rune {
	l.i++
	r, n := rune(0), 0
	for n < 6 && l.i < len(l.s) && hexDigit(l.s[l.i]) >= 0 {
		r = r<<4 | rune(hexDigit(l.s[l.i]))
		l.i++
		n++
	}
	if n == 0 {
		r, size := utf8.DecodeRuneInString(l.s[l.i:])
		l.i += size
		return r
	}
	if l.i < len(l.s) && cssBlank(l.s[l.i]) {
		if l.s[l.i] == '\r' && l.at(1) == '\n' {
			l.i++
		}
		l.i++
	}
	if r == 0 || !utf8.ValidRune(r) {
		return utf8.RuneError
	}
	return r
}

func (l *cssLexer) quoted(q byte) cssToken {
	l.i++
	start := l.i
	for l.i < len(l.s) { // most strings have no escapes
		switch c := l.s[l.i]; c {
		case q:
			l.i++
			return cssToken{kind: cssString, text: l.s[start : l.i-1]}
		case '\n', '\r', '\f':
			return cssToken{kind: cssBad}
		case '\\':
			return l.quotedSlow(q, l.s[start:l.i])
		}
		l.i++
	}
	return cssToken{kind: cssString, text: l.s[start:]}
}

func (l *cssLexer) quotedSlow(q byte, begun string) cssToken {
	var out strings.Builder
	out.WriteString(begun)
	for l.i < len(l.s) {
		switch c := l.s[l.i]; {
		case c == q:
			l.i++
			return cssToken{kind: cssString, text: out.String()}
		case c == '\n' || c == '\r' || c == '\f':
			return cssToken{kind: cssBad}
		case l.escape(0):
			out.WriteRune(l.unescape())
		case c == '\\': // before a newline, or at the end
			l.i++
			if l.at(0) == '\r' && l.at(1) == '\n' {
				l.i++
			}
			if l.i < len(l.s) {
				l.i++
			}
		default:
			out.WriteByte(c)
			l.i++
		}
	}
	return cssToken{kind: cssString, text: out.String()}
}

func (l *cssLexer) numeric() cssToken {
	start := l.i
	digits := func() {
		for cssDigit(l.at(0)) {
			l.i++
		}
	}
	if c := l.at(0); c == '+' || c == '-' {
		l.i++
	}
	digits()
	if l.at(0) == '.' && cssDigit(l.at(1)) {
		l.i++
		digits()
	}
	if l.at(0)|0x20 == 'e' {
		n := 1
		if c := l.at(1); c == '+' || c == '-' {
			n = 2
		}
		if cssDigit(l.at(n)) {
			l.i += n
			digits()
		}
	}
	t := cssToken{kind: cssNumber, text: l.s[start:l.i]}
	if l.at(0) == '%' {
		l.i++
		t.unit = "%"
	} else if l.ident(0) {
		t.unit = strings.ToLower(l.name())
	}
	return t
}

func (l *cssLexer) identLike() cssToken {
	name := l.name()
	if l.at(0) != '(' {
		return cssToken{kind: cssIdent, text: name}
	}
	l.i++
	name = strings.ToLower(name)
	if name != "url" {
		return cssToken{kind: cssFunc, text: name}
	}
	j := l.i
	for j < len(l.s) && cssBlank(l.s[j]) {
		j++
	}
	if j < len(l.s) && (l.s[j] == '"' || l.s[j] == '\'') {
		l.i = j
		return l.quotedURL()
	}
	l.i = j
	return l.bareURL()
}

// quotedURL reads url("...") as one token; with anything else between the parentheses it is bad.
func (l *cssLexer) quotedURL() cssToken {
	t := l.quoted(l.s[l.i])
	for cssBlank(l.at(0)) {
		l.i++
	}
	if t.kind == cssBad || l.i < len(l.s) && l.at(0) != ')' {
		return l.badURL()
	}
	if l.i < len(l.s) {
		l.i++
	}
	return cssToken{kind: cssURL, text: t.text}
}

// bareURL reads an address without quotes (4.3.6).
func (l *cssLexer) bareURL() cssToken {
	var out strings.Builder
	for l.i < len(l.s) {
		switch c := l.s[l.i]; {
		case c == ')':
			l.i++
			return cssToken{kind: cssURL, text: out.String()}
		case cssBlank(c):
			for cssBlank(l.at(0)) {
				l.i++
			}
			if l.i < len(l.s) && l.s[l.i] != ')' {
				return l.badURL()
			}
		case c == '"' || c == '\'' || c == '(' || c < ' ' || c == 0x7f:
			return l.badURL()
		case l.escape(0):
			out.WriteRune(l.unescape())
		case c == '\\':
			return l.badURL()
		default:
			out.WriteByte(c)
			l.i++
		}
	}
	return cssToken{kind: cssURL, text: out.String()}
}

// badURL skips what is left of an address (4.3.14).
func (l *cssLexer) badURL() cssToken {
	for l.i < len(l.s) {
		switch {
		case l.s[l.i] == ')':
			l.i++
			return cssToken{kind: cssBad}
		case l.escape(0):
			l.unescape()
		default:
			l.i++
		}
	}
	return cssToken{kind: cssBad}
}
