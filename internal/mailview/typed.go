package mailview

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/store"
)

const (
	maxRecipients = 1000
	maxTyped      = 256 << 10 // bytes of one field
)

// An AddressError says that a text is no address.
type AddressError struct {
	Field string // "to", "cc" or "bcc"
	Text  string
}

func (e *AddressError) Error() string { return fmt.Sprintf("mailview: %.100q is no address", e.Text) }

// A recipient is an address as it was typed.
type recipient struct {
	name string
	addr string // with its domain in A-labels; empty if text is no address
	text string
}

// entries takes a list that was typed apart, at commas, semicolons and line ends that
// are not within quotes or brackets.
func entries(s string) (out []recipient) {
	var b strings.Builder
	quoted, bracket := false, false
	flush := func() {
		raw := strings.TrimSpace(b.String())
		if text := strings.TrimSpace(header.Clean(raw)); text != "" {
			r := recipient{text: text}
			if text == raw { // an address has no controls
				r = entry(text)
			}
			out = append(out, r)
		}
		b.Reset()
		quoted, bracket = false, false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quoted && i+1 < len(s):
			b.WriteByte(c)
			i++
			c = s[i]
		case c == '"':
			quoted = !quoted
		case quoted && c != '\n':
		case c == '<':
			bracket = true
		case c == '>':
			bracket = false
		case c == ',' && !bracket, c == ';', c == '\n':
			flush()
			continue
		}
		b.WriteByte(c)
	}
	flush()
	return out
}

// entry reads one address: "ann@example.org", "<ann@example.org>" or "Ann Smith
// <ann@example.org>".
func entry(text string) recipient {
	r := recipient{text: text}
	if !utf8.ValidString(text) {
		r.text = strings.ToValidUTF8(text, "")
		return r
	}
	bare, name := text, ""
	if in, ok := strings.CutSuffix(text, ">"); ok {
		i := strings.LastIndexByte(in, '<')
		if i < 0 {
			return r
		}
		name, bare = strings.TrimSpace(in[:i]), strings.TrimSpace(in[i+1:])
	}
	if strings.HasPrefix(bare, "@") || strings.HasPrefix(bare, "<") { // a path is no address
		return r
	}
	if strings.ContainsAny(name, "<>") && !strings.HasPrefix(name, `"`) {
		return r
	}
	m, err := addr.Parse(bare, true)
	if err != nil {
		return r
	}
	if !ascii(m.Domain) {
		if m.Domain, err = addr.Domain(m.Domain); err != nil {
			return r
		}
	}
	r.addr = m.String()
	r.name, _ = line(unquote(name), maxShownName)
	return r
}

// unquote takes the quotes off a name that is in quotes.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseTyped reads a list of addresses; *AddressError, without a Field, or
// store.ErrLimit.
func parseTyped(s string) ([]recipient, error) {
	if len(s) > maxTyped {
		return nil, fmt.Errorf("%w: a list of %d bytes", store.ErrLimit, len(s))
	}
	list := entries(s)
	for _, r := range list {
		if r.addr == "" {
			return nil, &AddressError{Text: r.text}
		}
	}
	return list, nil
}

// fieldOf returns a list as it stands in a header, also of what are no addresses yet:
// those become names without one.
func fieldOf(list []recipient) string {
	var b strings.Builder
	for _, r := range list {
		one := phrase(r.text)
		if r.addr != "" {
			one = r.addr
			if r.name != "" {
				one = phrase(r.name) + " <" + r.addr + ">"
			}
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(one)
	}
	return b.String()
}

// phrase is header.Phrase of a name that is taken for nothing else, nor too long for a
// line.
func phrase(name string) string {
	name, _ = line(name, maxShownName)
	if strings.Contains(name, "=?") || longWord(name) {
		return encodeWords(name)
	}
	return header.Phrase(name)
}

// text is header.Encode likewise.
func text(s string) string {
	if strings.Contains(s, "=?") || longWord(s) {
		return encodeWords(s)
	}
	return header.Encode(s)
}

// longWord reports whether s has a word that folding could not keep short.
func longWord(s string) bool {
	for w := range strings.FieldsSeq(s) {
		if len(w) > 200 {
			return true
		}
	}
	return false
}

// encodeWords encodes all of s (RFC 2047), also what is ASCII.
func encodeWords(s string) string {
	const most = 75 - len("=?utf-8?q??=")
	var b strings.Builder
	room := 0
	for _, r := range s {
		raw := string(r)
		code := raw
		switch {
		case r == ' ':
			code = "_"
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		default:
			code = ""
			for i := 0; i < len(raw); i++ {
				code += fmt.Sprintf("=%02X", raw[i])
			}
		}
		if len(code) > room {
			if b.Len() > 0 {
				b.WriteString("?= ")
			}
			b.WriteString("=?utf-8?q?")
			room = most
		}
		b.WriteString(code)
		room -= len(code)
	}
	if b.Len() > 0 {
		b.WriteString("?=")
	}
	return b.String()
}
