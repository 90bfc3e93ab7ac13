package message

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/internal/charset"
)

// A scanner reads the value of a structured field. It never goes back far, so
// that its work grows with the value and not faster.
type scanner struct {
	s     string
	pos   int
	steps *int64
	// open is set when a comment was found not to end: then no other does.
	open bool
}

func (c *scanner) more() bool { return c.pos < len(c.s) }

func (c *scanner) peek() byte {
	if c.pos < len(c.s) {
		return c.s[c.pos]
	}
	return 0
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (c *scanner) spaces() {
	for c.more() && space(c.s[c.pos]) {
		c.pos++
		*c.steps++
	}
}

// comment reads a comment (RFC 5322, 3.2.2) and returns what is in it. If the text
// at hand is none, or one that does not end, it reads nothing.
func (c *scanner) comment() (text string, ok bool) {
	if c.peek() != '(' || c.open {
		return "", false
	}
	depth := 0
	for i := c.pos; i < len(c.s); i++ {
		*c.steps++
		switch c.s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				text = unescape(c.s[c.pos+1 : i])
				c.pos = i + 1
				return strings.Trim(text, " \t"), true
			}
		}
	}
	c.open = true
	return "", false
}

// gap skips spaces and comments.
func (c *scanner) gap() {
	for {
		c.spaces()
		if _, ok := c.comment(); !ok {
			return
		}
	}
}

// quoted reads a quoted string, to the end if nothing closes it.
func (c *scanner) quoted() string {
	c.pos++
	from := c.pos
	for c.more() && c.s[c.pos] != '"' {
		*c.steps++
		if c.s[c.pos] == '\\' {
			c.pos++
		}
		c.pos++
	}
	c.pos = min(c.pos, len(c.s))
	text := unescape(c.s[from:c.pos])
	if c.more() {
		c.pos++
	}
	return text
}

// unescape takes the backslashes of quoted pairs away.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// token reads what a name may hold (RFC 2045, 5.1).
func (c *scanner) token() string {
	from := c.pos
	for c.more() && c.s[c.pos] > ' ' && c.s[c.pos] < 127 && strings.IndexByte(`()<>@,;:\"/[]?=`, c.s[c.pos]) < 0 {
		c.pos++
		*c.steps++
	}
	return c.s[from:c.pos]
}

// parseType splits the value of a Content-Type field.
func parseType(s string, steps *int64) (typ, subtype, rest string, ok bool) {
	c := scanner{s: s, steps: steps}
	c.gap()
	typ = strings.ToLower(c.token())
	c.gap()
	if c.peek() == '/' {
		c.pos++
		c.gap()
		subtype = strings.ToLower(c.token())
	}
	if subtype == "" && typ == "multipart" {
		subtype = "mixed"
	}
	ok = typ != "" && subtype != "" && len(typ) <= maxToken && len(subtype) <= maxToken
	return typ, subtype, c.s[c.pos:], ok
}

// parseToken splits a token, in lower case, from what follows it.
func parseToken(s string, steps *int64) (token, rest string) {
	c := scanner{s: s, steps: steps}
	c.gap()
	if token = strings.ToLower(c.token()); len(token) > maxToken {
		token = ""
	}
	return token, c.s[c.pos:]
}

// A piece is a parameter as it stands: the whole value of one, or a part of it
// (RFC 2231, 3).
type piece struct {
	name    string
	index   int // -1 for a whole value
	encoded bool
	value   string
}

// parseParams reads "; name=value" again and again, as senders write it: without
// quotes, without semicolons, with comments, cut off.
func parseParams(s string, steps *int64) []Param { return join(parsePieces(s, steps)) }

func parsePieces(s string, steps *int64) (pieces []piece) {
	c := scanner{s: s, steps: steps}
	for c.more() && len(pieces) < maxParams {
		*steps++
		c.gap()
		if c.peek() == ';' {
			c.pos++
			continue
		}
		from := c.pos
		for c.more() && c.s[c.pos] != '=' && c.s[c.pos] != ';' && !space(c.s[c.pos]) && (c.s[c.pos] != '(' || c.open) {
			c.pos++
			*steps++
		}
		name := strings.ToLower(c.s[from:c.pos])
		c.gap()
		if c.peek() != '=' {
			continue // a name without a value, or what follows a quoted string
		}
		c.pos++
		c.gap()
		var value string
		if c.peek() == '"' {
			value = c.quoted()
		} else {
			value = c.bare()
		}
		if name != "" && len(name) <= maxToken {
			pieces = append(pieces, newPiece(name, value))
		}
	}
	return pieces
}

// bare reads a value without quotes. It ends at a semicolon, before a comment at
// the end, and before what looks like the next parameter; it may have spaces.
func (c *scanner) bare() string {
	from, end := c.pos, c.pos
	for c.more() && c.s[c.pos] != ';' {
		*c.steps++
		if !space(c.s[c.pos]) {
			c.pos++
			end = c.pos
			continue
		}
		c.gap()
		if !c.more() || c.s[c.pos] == ';' {
			break
		}
		word := c.pos
		name := c.token()
		next := c.peek()
		c.pos = word
		if name != "" && next == '=' {
			break
		}
		if name != "" {
			c.pos += len(name)
			end = c.pos
			continue
		}
		c.pos++
		end = c.pos
	}
	return c.s[from:end]
}

func newPiece(name, value string) piece {
	p := piece{name: name, index: -1, value: value}
	base, rest, ok := strings.Cut(name, "*")
	if !ok || base == "" {
		return p
	}
	digits, encoded := strings.CutSuffix(rest, "*")
	switch i, err := strconv.ParseUint(digits, 10, 16); {
	case rest == "":
		p.name, p.encoded = base, true
	case err == nil:
		p.name, p.index, p.encoded = base, int(i), encoded
	}
	return p
}

// join makes parameters of pieces. Of several forms of one, the encoded whole
// counts more than pieces, and these more than a plain value; of several of one
// form, the first.
func join(pieces []piece) (params []Param) {
	type forms struct {
		plain, whole *piece
		parts        []piece
	}
	all := make(map[string]*forms, len(pieces))
	var names []string
	for i := range pieces {
		p := &pieces[i]
		f := all[p.name]
		if f == nil {
			f = new(forms)
			all[p.name] = f
			names = append(names, p.name)
		}
		switch {
		case p.index >= 0:
			f.parts = append(f.parts, *p)
		case p.encoded && f.whole == nil:
			f.whole = p
		case !p.encoded && f.plain == nil:
			f.plain = p
		}
	}
	for _, name := range names {
		f := all[name]
		var value string
		switch {
		case f.whole != nil:
			value = decodeParts([]piece{*f.whole})
		case len(f.parts) > 0:
			value = decodeParts(f.parts)
		default:
			value = f.plain.value
		}
		if name == "name" || name == "filename" {
			// Not allowed, and what most senders do.
			if f.whole == nil && !slices.ContainsFunc(f.parts, func(p piece) bool { return p.encoded }) {
				value = DecodeHeader(value)
			}
		}
		if name != "boundary" { // which is compared byte by byte
			value = clean(charset.Decode("", []byte(value)))
		}
		params = append(params, Param{strings.Clone(name), strings.Clone(value)})
	}
	return params
}

// decodeParts joins the pieces of a value, in order of their numbers, and decodes
// them if the first names a charset.
func decodeParts(parts []piece) string {
	slices.SortStableFunc(parts, func(a, b piece) int { return cmp.Compare(a.index, b.index) })
	var b []byte
	set := ""
	for i, p := range parts {
		if i > 0 && p.index == parts[i-1].index {
			continue
		}
		if !p.encoded {
			b = append(b, p.value...)
			continue
		}
		v := p.value
		if i == 0 {
			if name, rest, ok := strings.Cut(v, "'"); ok {
				if _, text, ok := strings.Cut(rest, "'"); ok { // the language
					set, v = name, text
				}
			}
		}
		b = append(b, unpercent(v)...)
	}
	return charset.Decode(set, b)
}

// unpercent decodes %XX, and leaves what is not that.
func unpercent(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return b
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// param returns the value of a parameter.
func param(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}
