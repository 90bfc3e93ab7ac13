package message

import (
	"bytes"
	"html"
	"io"
	"strings"
	"unicode"
)

const (
	maxPreview = 256 // characters (RFC 8970, 3.1)
	maxPlain   = 8 << 10
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
		text, _ := io.ReadAll(p.html.part.Text(bytes.NewReader(p.html.raw)))
		p.steps += int64(len(text))
		return oneLine(PlainText(string(text)))
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

// PlainText returns the text of an HTML document, or of the beginning of one,
// without tags, comments, style sheets and scripts. It is for previews and search:
// what it returns is plain text, and never safe to show as HTML.
func PlainText(s string) string {
	var b strings.Builder
	skip := "" // the element whose content does not count
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			i = len(s)
		}
		if skip == "" {
			b.WriteString(html.UnescapeString(s[:i]))
		}
		if s = s[i:]; s == "" {
			break
		}
		if rest, ok := strings.CutPrefix(s, "<!--"); ok && skip == "" {
			_, s, _ = strings.Cut(rest, "-->")
			continue
		}
		name := tagName(s[1:])
		if name == "" { // a < that begins no tag
			if skip == "" {
				b.WriteByte('<')
			}
			s = s[1:]
			continue
		}
		if skip != "" && name != "/"+skip && !(skip == "head" && name == "body") {
			s = s[1:]
			continue
		}
		s, skip = s[tagEnd(s):], ""
		switch name {
		case "style", "script", "head", "title", "template":
			skip = name
		case "b", "/b", "i", "/i", "em", "/em", "strong", "/strong", "span", "/span", "a", "/a", "font", "/font", "u", "/u", "wbr":
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// tagName returns the name of the tag that s is the inside of, in lower case: "p",
// "/p", "!", or "" if it is none.
func tagName(s string) string {
	end := 0
	for end < len(s) && end < 16 {
		c := s[end]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && end > 0 || end == 0 && (c == '/' || c == '!' || c == '?')) {
			break
		}
		end++
	}
	return strings.ToLower(s[:end])
}

// tagEnd returns the length of the tag that s begins with. Quotes protect a >.
func tagEnd(s string) int {
	var quote byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && s[i-1] == '=':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return len(s)
}
