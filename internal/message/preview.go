package message

import (
	"bytes"
	"io"
	"strings"
	"unicode"
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
	s, limit := &p.plain, maxPlain
	switch part.Type + "/" + part.Subtype {
	case "text/plain":
	case "text/html":
		s, limit = &p.html, maxHTML
	default:
		return nil
	}
	if s.part != nil {
		return nil
	}
	c := *part
	s.part, s.limit = &c, limit
	return s
}

// preview makes one line of the text of the message.
func (p *parser) preview() string {
	if p.plain.part != nil {
		text, _ := io.ReadAll(p.plain.part.Text(bytes.NewReader(p.plain.raw))) // cannot fail
		if line := oneLine(string(text)); line != "" {
			return line
		}
	}
	if p.html.part != nil {
		text, _ := io.ReadAll(PlainText(p.html.part.Text(bytes.NewReader(p.html.raw))))
		p.steps += int64(len(p.html.raw))
		return oneLine(string(text))
	}
	return ""
}

// oneLine makes single spaces of spaces, line ends and what cannot be seen, and
// cuts after 256 characters.
func oneLine(s string) string {
	var b strings.Builder
	n := 0
	gap := false
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			gap = n > 0
			continue
		}
		switch r {
		case 0x200b, 0x200c, 0x2060, 0xfeff, 0x34f, 0xad: // fillers of newsletters
			continue
		}
		if gap {
			if n++; n >= maxPreview {
				break
			}
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
		if n++; n >= maxPreview {
			break
		}
	}
	return b.String()
}
