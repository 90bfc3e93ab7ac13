package imap

import (
	"io"
	"math"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// A literal is announced at the end of a line.
type literal struct {
	set    bool  // there is one, not read yet
	size   int64 // math.MaxInt64 if the number is too large
	nonSyn bool  // the client sends it without being asked to (RFC 7888)
	binary bool  // literal8: it may hold NUL
	mark   int   // length of its announcement
}

// findLiteral looks for {n}, {n+}, ~{n} or ~{n+} at the end of a line.
func findLiteral(line []byte) (l literal) {
	i := len(line) - 1
	if i < 2 || line[i] != '}' {
		return l
	}
	i--
	if line[i] == '+' {
		l.nonSyn = true
		i--
	}
	scale := int64(1)
	digits := 0
	for ; i >= 0 && line[i] >= '0' && line[i] <= '9'; i-- {
		d := int64(line[i] - '0')
		switch {
		case d == 0:
		case scale < 0 || l.size > math.MaxInt64-d*scale:
			l.size = math.MaxInt64
			scale = -1
		default:
			l.size += d * scale
		}
		if digits++; digits >= 18 || scale < 0 {
			scale = -1 // any further digit but zero is too much
		} else {
			scale *= 10
		}
	}
	if digits == 0 || i < 0 || line[i] != '{' {
		return literal{}
	}
	if i > 0 && line[i-1] == '~' {
		l.binary = true
		i--
	}
	l.set, l.mark = true, len(line)-i
	return l
}

// atLiteral reports whether a literal is next.
func (p *parser) atLiteral() bool {
	return p.err == nil && p.lit.set && len(p.line) == p.lit.mark
}

// literal reads a literal that is part of the command.
func (p *parser) literal() string {
	l := p.lit
	limit := int64(p.left)
	if !p.in.authed {
		limit = min(limit, maxEarlyLiteral-p.literals)
	}
	switch {
	case l.binary:
		p.fail("literal8 is not allowed here")
		return ""
	case l.size > limit:
		p.err = bad("Literal is too big")
		if l.nonSyn {
			p.err = bye(imap.ResponseCodeTooBig, "Literal is too big")
		}
		return ""
	}
	p.accept()
	if p.err != nil {
		return ""
	}
	b := make([]byte, l.size)
	if _, p.err = io.ReadFull(p.in, b); p.err != nil {
		return ""
	}
	p.left -= len(b)
	p.literals += l.size
	p.next()
	if slices.Contains(b, 0) {
		p.fail("NUL in a literal")
		return ""
	}
	return string(b)
}

// accept takes the literal that is next, of whatever size, and asks the client
// to send it if need be. Its bytes are then read from p.in, all of them, and
// after them next reads the rest of the command.
func (p *parser) accept() {
	if !p.atLiteral() {
		p.fail("expected a literal")
		return
	}
	if !p.lit.nonSyn {
		p.in.w.linef("+ Ready for literal")
	}
	p.lit, p.line, p.in.inside = literal{}, nil, true
}

// discard skips what is left of a command that was answered already. It returns a
// BYE if that takes too much: what a client sends as a literal is never read as
// commands (RFC 7888, 4).
func (p *parser) discard(limit int64) error {
	for p.lit.set && p.lit.nonSyn {
		if p.lit.size > limit {
			return bye(imap.ResponseCodeTooBig, "Literal is too big")
		}
		limit -= p.lit.size
		if _, err := io.CopyN(io.Discard, p.in, p.lit.size); err != nil {
			return err
		}
		var err error
		if p.line, p.lit, _, err = p.in.readLine(maxCommand); err != nil {
			return err
		}
		limit -= int64(len(p.line))
	}
	return nil
}
