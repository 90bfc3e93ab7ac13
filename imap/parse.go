package imap

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// A parser reads one command while it arrives. It has one line of it at hand,
// without its CRLF; a literal is read when the parser comes to it, and then the
// next line. So a command that cannot be right is refused before its literals are
// asked for, and no more than maxCommand bytes are ever held.
//
// The first error sticks: after it every method returns zero values and does
// nothing, so that a command is parsed in straight lines and checked once, with
// end. Loops over what a client sends ask ok.
type parser struct {
	in   *input
	line []byte // what is left of the line; only valid until the next line is read
	lit  literal
	left int // bytes that the command may still take
	// literals is how many bytes of the command were literals.
	literals int64
	depth    int
	err      error
	utf8     bool // mailbox names are UTF-8, else modified UTF-7
}

func (p *parser) ok() bool { return p.err == nil }

// fail records what is wrong, unless something was before.
func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = bad("Syntax error: " + fmt.Sprintf(format, args...))
	}
}

// next reads a line into p.
func (p *parser) next() {
	if p.err != nil {
		return
	}
	var cut bool
	p.line, p.lit, cut, p.err = p.in.readLine(p.left)
	p.left -= len(p.line)
	if cut && p.err == nil {
		p.err = bad("Command is too long")
	}
}

// peek returns the next byte of the line, or 0 at its end.
func (p *parser) peek() byte {
	if p.err != nil || len(p.line) == 0 {
		return 0
	}
	return p.line[0]
}

// take skips b if it is next.
func (p *parser) take(b byte) bool {
	if b != 0 && p.peek() == b {
		p.line = p.line[1:]
		return true
	}
	return false
}

func (p *parser) want(b byte) {
	if !p.take(b) {
		p.fail("expected %q", string(rune(b)))
	}
}

// sp wants one space. Clients that send more are forgiven.
func (p *parser) sp() {
	if !p.take(' ') {
		p.fail("expected a space")
	}
	for p.take(' ') {
	}
}

// more reports whether there is more of the command than spaces, and takes the
// spaces before it.
func (p *parser) more() bool {
	if len(trimSpace(p.line)) == 0 || !p.take(' ') {
		return false
	}
	for p.take(' ') {
	}
	return true
}

// end wants the end of the command and returns the first error of all.
func (p *parser) end() error {
	if p.err == nil {
		p.line = trimSpace(p.line)
		if len(p.line) > 0 {
			p.fail("unexpected text at the end")
		}
	}
	return p.err
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// span takes bytes while is says so.
func (p *parser) span(is func(byte) bool) []byte {
	if p.err != nil {
		return nil
	}
	i := 0
	for i < len(p.line) && is(p.line[i]) {
		i++
	}
	b := p.line[:i]
	p.line = p.line[i:]
	return b
}

// isAtom is ATOM-CHAR (RFC 9051, 9), with bytes above 127 forgiven where UTF-8 is
// in use.
func isAtom(b byte) bool {
	switch b {
	case '(', ')', '{', '%', '*', '"', '\\', ']':
		return false
	}
	return b > ' ' && b != 0x7f
}

func isASCIIAtom(b byte) bool  { return b < 0x80 && isAtom(b) }
func isAString(b byte) bool    { return isAtom(b) || b == ']' }
func isListChar(b byte) bool   { return isAString(b) || b == '%' || b == '*' }
func isTag(b byte) bool        { return isASCIIAtom(b) && b != '+' || b == ']' }
func isSetChar(b byte) bool    { return isDigit(b) || b == ':' || b == ',' || b == '*' || b == '$' }
func isDigit(b byte) bool      { return b >= '0' && b <= '9' }
func isItemChar(b byte) bool   { return isASCIIAtom(b) && b != '[' && b != '<' }
func isBase64Char(b byte) bool { return b > ' ' && b < 0x7f }

// atom reads an atom.
func (p *parser) atom() string {
	b := p.span(isASCIIAtom)
	if len(b) == 0 {
		p.fail("expected an atom")
	}
	return string(b)
}

// keyword reads an atom in upper case: the name of a command, a search key, an
// option.
func (p *parser) keyword() string { return strings.ToUpper(p.atom()) }

// item reads a name in upper case that ends before "[" or "<", like those of
// FETCH.
func (p *parser) item() string {
	b := p.span(isItemChar)
	if len(b) == 0 {
		p.fail("expected a name")
	}
	return strings.ToUpper(string(b))
}

// word takes an atom if it is w, in any case.
func (p *parser) word(w string) bool {
	if p.err != nil || len(p.line) < len(w) || !strings.EqualFold(string(p.line[:len(w)]), w) ||
		len(p.line) > len(w) && isASCIIAtom(p.line[len(w)]) {
		return false
	}
	p.line = p.line[len(w):]
	return true
}

// astring reads an atom, a quoted string or a literal.
func (p *parser) astring() string {
	if c := p.peek(); c == '"' || c == '{' || c == '~' && p.atLiteral() {
		return p.string()
	}
	b := p.span(isAString)
	if len(b) == 0 {
		p.fail("expected a string")
	}
	return string(b)
}

// nstring reads a string, or NIL as "" and false.
func (p *parser) nstring() (string, bool) {
	if c := p.peek(); c != '"' && c != '{' && p.word("NIL") {
		return "", false
	}
	s := p.string()
	return s, p.ok()
}

// string reads a quoted string or a literal.
func (p *parser) string() string {
	if p.atLiteral() {
		return p.literal()
	}
	if p.peek() != '"' {
		p.fail("expected a string")
		return ""
	}
	p.take('"')
	end := slices.IndexFunc(p.line, func(b byte) bool { return b == '"' || b == '\\' })
	if end >= 0 && p.line[end] == '"' { // nothing escaped
		s := string(p.line[:end])
		p.line = p.line[end+1:]
		return p.checkText(s)
	}
	var sb strings.Builder
	for i := 0; i < len(p.line); i++ {
		switch c := p.line[i]; c {
		case '"':
			p.line = p.line[i+1:]
			return p.checkText(sb.String())
		case '\\':
			if i++; i == len(p.line) {
				break
			}
			if c = p.line[i]; c != '"' && c != '\\' {
				p.fail("bad escape in a quoted string")
				return ""
			}
			fallthrough
		default:
			sb.WriteByte(c)
		}
	}
	p.fail("quoted string without an end")
	return ""
}

// checkText refuses what no quoted string may hold.
func (p *parser) checkText(s string) string {
	if strings.ContainsAny(s, "\x00\r") {
		p.fail("control character in a quoted string")
		return ""
	}
	return s
}

// list reads "(" item *(SP item) ")" or "()". Every nesting counts.
func (p *parser) list(item func()) {
	p.want('(')
	if !p.enter() {
		return
	}
	for p.take(' ') {
	}
	for first := true; p.ok() && !p.take(')'); first = false {
		if !first {
			p.sp()
			if p.take(')') { // "(a )" is forgiven
				break
			}
		}
		item()
	}
	p.leave()
}

// enter counts a nesting, and fails if there are too many.
func (p *parser) enter() bool {
	if p.depth++; p.depth > maxDepth {
		p.fail("nested too deeply")
	}
	return p.ok()
}

func (p *parser) leave() { p.depth-- }

// number64 reads a number below 2^63.
func (p *parser) number64() int64 {
	b := p.span(isDigit)
	if len(b) == 0 {
		p.fail("expected a number")
		return 0
	}
	var n int64
	for _, c := range b {
		d := int64(c - '0')
		if n > (math.MaxInt64-d)/10 {
			p.fail("number is too large")
			return 0
		}
		n = n*10 + d
	}
	return n
}

// number reads a number below 2^32.
func (p *parser) number() uint32 {
	n := p.number64()
	if n > math.MaxUint32 {
		p.fail("number is too large")
		return 0
	}
	return uint32(n)
}

// nzNumber reads a number that is not zero.
func (p *parser) nzNumber() uint32 {
	n := p.number()
	if n == 0 {
		p.fail("number is zero")
	}
	return n
}

// flag reads a system flag or a keyword, in the spelling that is stored.
func (p *parser) flag() string {
	system := p.take('\\')
	b := p.span(isASCIIAtom)
	switch {
	case len(b) == 0:
		p.fail("expected a flag")
		return ""
	case len(b) > maxKeyword:
		p.fail("flag is too long")
		return ""
	case !system:
		return string(b)
	}
	for _, f := range systemFlags {
		if strings.EqualFold(f[1:], string(b)) {
			return f
		}
	}
	p.fail("unknown system flag")
	return ""
}

// flags reads a list of flags, each once. \Recent is left out: some clients copy
// it from what other servers said, and nobody can set it.
func (p *parser) flags() (fs []string) {
	n := 0
	p.list(func() {
		if n++; n > maxFlags {
			p.fail("too many flags")
			return
		}
		if p.word(`\Recent`) {
			return
		}
		f := p.flag()
		if p.ok() && !slices.ContainsFunc(fs, func(x string) bool { return strings.EqualFold(x, f) }) {
			fs = append(fs, f)
		}
	})
	return fs
}

// mailbox reads the name of a mailbox as UTF-8. INBOX is given in upper case.
func (p *parser) mailbox() string { return p.name(p.astring()) }

// listMailbox reads a name with the wildcards of LIST.
func (p *parser) listMailbox() string {
	if c := p.peek(); c == '"' || c == '{' {
		return p.name(p.string())
	}
	b := p.span(isListChar)
	if len(b) == 0 {
		p.fail("expected a mailbox name")
	}
	return p.name(string(b))
}

// name decodes the name of a mailbox.
func (p *parser) name(s string) string {
	if !p.ok() {
		return ""
	}
	if strings.EqualFold(s, inbox) {
		return inbox
	}
	if !p.utf8 && strings.IndexByte(s, '&') >= 0 {
		var ok bool
		if s, ok = decodeUTF7(s); !ok {
			p.err = no(imap.ResponseCodeCannot, "Mailbox name is not valid modified UTF-7")
			return ""
		}
	}
	if !utf8.ValidString(s) {
		p.err = no(imap.ResponseCodeCannot, "Mailbox name is not valid UTF-8")
		return ""
	}
	return s
}
