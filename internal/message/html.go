package message

import (
	"html"
	"io"
	"strings"
)

// PlainText returns the text of an HTML document in UTF-8, or of the beginning of
// one: without tags, comments, style sheets and scripts. It is for previews and
// search: what it returns is plain text, and never safe to show as HTML.
func PlainText(r io.Reader) io.Reader { return &htmlReader{r: r} }

type htmlReader struct {
	r   io.Reader
	in  [4 << 10]byte
	buf []byte
	out []byte // of buf, not yet read
	err error

	mode  htmlMode
	word  []byte // an entity or the name of a tag
	skip  string // the element whose content does not count
	name  string // of the tag at hand
	quote byte
	last  byte // the byte before, in a tag
	dash  int  // dashes before, in a comment
}

type htmlMode uint8

const (
	inText htmlMode = iota
	inEntity
	inName // directly after <
	inTag
	inQuote
	inComment
)

const (
	maxEntity = 34
	maxName   = 16
)

func (h *htmlReader) Read(b []byte) (int, error) {
	for len(h.out) == 0 {
		if h.err != nil {
			return 0, h.err
		}
		n, err := h.r.Read(h.in[:])
		h.buf = h.buf[:0]
		for _, c := range h.in[:n] {
			for !h.step(c) {
			}
		}
		if err != nil {
			h.err = err
			h.end()
		}
		h.out = h.buf
	}
	n := copy(b, h.out)
	h.out = h.out[n:]
	return n, nil
}

func (h *htmlReader) put(s ...byte) {
	if h.skip == "" {
		h.buf = append(h.buf, s...)
	}
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// step takes a byte. It returns false if c is to be given to it again.
func (h *htmlReader) step(c byte) bool {
	switch h.mode {
	case inText:
		switch c {
		case '<':
			h.mode, h.word = inName, h.word[:0]
		case '&':
			h.mode, h.word = inEntity, append(h.word[:0], c)
		default:
			h.put(c)
		}
	case inEntity:
		if (isLetter(c) || isDigit(c) || c == '#' || c == ';') && len(h.word) < maxEntity {
			if h.word = append(h.word, c); c != ';' {
				return true
			}
			c = 0
		}
		h.mode = inText
		h.put([]byte(html.UnescapeString(string(h.word)))...)
		return c == 0
	case inName:
		first := len(h.word) == 0
		comment := string(h.word) == "!" || string(h.word) == "!-"
		if (isLetter(c) || isDigit(c) && !first || first && (c == '/' || c == '!' || c == '?') || c == '-' && comment) && len(h.word) < maxName {
			if h.word = append(h.word, c); string(h.word) == "!--" && h.skip == "" {
				h.mode, h.dash = inComment, 0
			}
			return true
		}
		if h.name = strings.ToLower(string(h.word)); h.name == "" || h.name == "/" {
			h.mode = inText // a < that begins no tag
			h.put('<')
			h.put(h.word...)
			return false
		}
		h.mode, h.last = inTag, 0
		if h.skip != "" && h.name != "/"+h.skip && !(h.skip == "head" && h.name == "body") {
			h.mode = inText
		}
		return false
	case inTag:
		switch {
		case c == '>':
			h.tag()
			h.mode = inText
		case (c == '"' || c == '\'') && h.last == '=':
			h.mode, h.quote = inQuote, c
		}
		h.last = c
	case inQuote:
		if c == h.quote {
			h.mode = inTag
		}
		h.last = 0
	case inComment:
		switch {
		case c == '-':
			h.dash++
		case c == '>' && h.dash >= 2:
			h.mode = inText
		default:
			h.dash = 0
		}
	}
	return true
}

// tag is called at the end of a tag.
func (h *htmlReader) tag() {
	h.skip = ""
	switch h.name {
	case "style", "script", "head", "title", "template":
		h.skip = h.name
	case "b", "/b", "i", "/i", "em", "/em", "strong", "/strong", "span", "/span", "a", "/a", "font", "/font", "u", "/u", "wbr":
	default:
		h.put(' ')
	}
}

// end is called at the end of the document.
func (h *htmlReader) end() {
	switch h.mode {
	case inEntity:
		h.put([]byte(html.UnescapeString(string(h.word)))...)
	case inName:
		if len(h.word) == 0 {
			h.put('<')
		}
	}
	h.mode = inText
}
