package imap

import (
	"bytes"
	"io"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
)

// Texts are compared in the form that fold gives them: composed and without
// compatibility forms (NFKC), in one case, and with a single space for white space,
// so that a phrase is found across the ends of lines.

// fold appends text to b, which is what the same fold gave before.
func fold(b, text []byte) []byte {
	for len(text) > 0 {
		c := text[0]
		switch {
		case c >= 'A' && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c > ' ' && c < 0x7f:
			b = append(b, c)
		case c < utf8.RuneSelf:
			b = blank(b)
		default:
			r, n := utf8.DecodeRune(text)
			text = text[n:]
			switch {
			case unicode.IsSpace(r):
				b = blank(b)
			case r == 0xad || r == 0x200b || r == 0x200c || r == 0xfeff: // not seen
			case r == '\u00df' || r == '\u1e9e':
				b = append(b, "ss"...)
			default:
				b = utf8.AppendRune(b, unicode.ToLower(unicode.ToUpper(r)))
			}
			continue
		}
		text = text[1:]
	}
	return b
}

func blank(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] == ' ' {
		return b
	}
	return append(b, ' ')
}

// foldString returns s as it is compared.
func foldString(s string) string {
	return string(fold(make([]byte, 0, len(s)+8), norm.NFKC.Bytes([]byte(s))))
}

// A textSearch looks for the needles of a query in one message.
type textSearch struct {
	q    *query
	f    *facts
	news bool // something was found since decided was asked

	in, norm, buf []byte
}

// decided reports whether the message matches, or does not, whatever else it says.
func (s *textSearch) decided() bool {
	if !s.news {
		return false
	}
	s.news = false
	return s.q.ask(s.q.matcher, s.f) != unknown
}

// look looks into folded text, which is of the message's header or not.
func (s *textSearch) look(text []byte, header bool) {
	for i, n := range s.q.needles {
		if !s.f.found[i] && (!header || n.header) && bytes.Contains(text, n.text) {
			s.f.found[i], s.news = true, true
		}
	}
}

func (s *textSearch) text(text string, header bool) {
	s.buf = s.buf[:0]
	s.fold([]byte(text))
	s.look(s.buf, header)
}

// header looks into each field of a header: that of the message, or one inside of
// it.
func (s *textSearch) header(h *header.Header, top bool) {
	if len(s.q.needles) == 0 {
		return
	}
	for x := range h.Fields() {
		s.text(x.Name()+": "+message.DecodeHeader(x.Value()), top)
	}
}

// stream looks into the text of a body.
func (s *textSearch) stream(r io.Reader) error {
	longest := 1
	for _, n := range s.q.needles {
		longest = max(longest, len(n.text))
	}
	if s.in == nil {
		s.in = make([]byte, 8<<10)
	}
	left := 0 // bytes of in that may belong with what follows
	s.buf = s.buf[:0]
	for {
		n, err := r.Read(s.in[left:])
		n += left
		whole := n
		if err == nil {
			whole = closed(s.in[:n])
		}
		s.fold(s.in[:whole])
		s.look(s.buf, false)
		if s.decided() {
			return errDecided
		}
		left = copy(s.in, s.in[whole:n])
		// Keep what may be the beginning of a needle.
		if len(s.buf) > longest {
			s.buf = s.buf[:copy(s.buf, s.buf[len(s.buf)-longest:])]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fold appends text to buf.
func (s *textSearch) fold(text []byte) {
	if !norm.NFKC.IsNormal(text) {
		s.norm = norm.NFKC.Append(s.norm[:0], text...)
		text = s.norm
	}
	s.buf = fold(s.buf, text)
}

// closed returns how much of text does not depend on what follows: all up to the
// last character that others may still combine with, unless that is far back.
func closed(text []byte) int {
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
