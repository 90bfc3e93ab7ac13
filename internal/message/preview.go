package message

import (
	"bytes"
	"io"
	"unicode"
	"unicode/utf8"
)

const (
	maxPreview = 256 // characters (RFC 8970, 3.1)
	maxPlain   = 4 << 10
	maxHTML    = 64 << 10 // newsletters begin with long style sheets
)

// A sample is the beginning of a body, from which the preview is made.
type sample struct {
	part  *Part // nil until there is one
	limit int
	raw   []byte
}

func (s *sample) add(line []byte) {
	s.raw = append(s.raw, line[:min(len(line), s.limit-len(s.raw))]...)
}

// sampleOf returns where to put the body of part: nil if it is not wanted. The
// first text and the first HTML of a message count, not what is attached.
func (p *parser) sampleOf(part *Part) *sample {
	if part.Disposition == "attachment" {
		return nil
	}
	s, limit, room := &p.plain, maxPlain, &p.plainRoom
	switch part.Type + "/" + part.Subtype {
	case "text/plain":
	case "text/html":
		s, limit, room = &p.html, maxHTML, &p.htmlRoom
	default:
		return nil
	}
	if s.part != nil {
		return nil
	}
	c := *part
	s.part, s.limit, s.raw = &c, limit, (*room)[:0]
	return s
}

// preview makes one line of the text of the message.
func (p *parser) preview() string {
	if p.plain.part != nil {
		text := p.plain.part.Text(bytes.NewReader(p.plain.raw))
		if line := oneLine(text, p.chunk[:]); line != "" {
			return line
		}
	}
	if p.html.part != nil {
		p.steps += int64(len(p.html.raw))
		return oneLine(PlainText(p.html.part.Text(bytes.NewReader(p.html.raw))), p.chunk[:])
	}
	return ""
}

// oneLine reads a text, makes single spaces of spaces, line ends and what cannot be
// seen, and stops after 256 characters. It reads into chunk. An error of r is its end.
func oneLine(r io.Reader, chunk []byte) string {
	l := oneLiner{text: make([]byte, 0, maxPreview)}
	held := 0 // bytes of a character that is not whole yet
	for {
		n, err := r.Read(chunk[held:])
		b := chunk[:held+n]
		for len(b) > 0 && (err != nil || utf8.FullRune(b)) {
			r, size := utf8.DecodeRune(b)
			if b = b[size:]; l.add(r) {
				return string(l.text)
			}
		}
		if err != nil {
			return string(l.text)
		}
		held = copy(chunk, b)
	}
}

// A oneLiner is a line that grows.
type oneLiner struct {
	text []byte
	n    int // characters
	gap  bool
}

// add adds a character, and reports whether that was the last.
func (l *oneLiner) add(r rune) (full bool) {
	if unicode.IsSpace(r) || unicode.IsControl(r) {
		l.gap = l.n > 0
		return false
	}
	switch r {
	case 0x200b, 0x200c, 0x2060, 0xfeff, 0x34f, 0xad: // fillers of newsletters
		return false
	}
	if l.gap {
		if l.n++; l.n >= maxPreview {
			return true
		}
		l.text, l.gap = append(l.text, ' '), false
	}
	l.text = utf8.AppendRune(l.text, r)
	l.n++
	return l.n >= maxPreview
}
