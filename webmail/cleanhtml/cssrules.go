package cleanhtml

import (
	"strings"
)

// sheet is the style sheet of a message: what stays of its style elements.
type sheet struct {
	css       []byte
	tokens    int // that were read
	selectors int
	general   int // selectors whose last part every element is compared with
}

func (s *sheet) size() int {
	if len(s.css) == 0 {
		return 0
	}
	return len(s.css) + len("<style></style>")
}

const (
	maxSheet     = 256 << 10
	maxTokens    = 150000
	maxSelectors = 3000 // a browser compares each with every element
	maxGeneral   = 50
)

// style takes the rules of a style element over.
func (b *builder) style(text, media string) {
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	m, ok := "", true
	if media = strings.ToLower(strings.TrimSpace(media)); media != "" && media != "all" && media != "screen" {
		m, ok = mediaQuery(cssTokens(media, 200))
	}
	if !ok {
		return
	}
	ts := cssTokens(text, maxTokens-b.sheet.tokens)
	b.sheet.tokens += len(ts)
	if m == "" {
		b.rules(ts, false)
		return
	}
	b.media(m, ts)
}

// put writes a part of the sheet if there is room for it.
func (b *builder) put(s string) bool {
	if len(b.sheet.css)+len(s) > min(maxSheet, b.o.MaxBytes/2) || b.out.Len()+b.closing+len(b.sheet.css)+len("<style></style>")+len(s) > b.o.MaxBytes {
		b.cut = true
		return false
	}
	b.sheet.css = append(b.sheet.css, s...)
	return true
}

// rules reads a list of rules; at-rules within @media are dropped.
func (b *builder) rules(ts []cssToken, nested bool) {
	for len(ts) > 0 {
		if t := ts[0]; t.kind == cssSpace || t.is(";") || t.is("}") {
			ts = ts[1:]
			continue
		}
		at := ts[0].kind == cssAt
		ends := "{"
		if at {
			ends = "{;"
		}
		n := until(ts, ends)
		prelude := ts[:n]
		if n == len(ts) {
			return
		}
		if ts[n].is(";") {
			ts = ts[n+1:]
			continue
		}
		body := ts[n+1:]
		end := until(body, "}")
		ts = body[min(end+1, len(body)):]
		body = body[:end]
		switch {
		case !at:
			if r := b.rule(prelude, body); r != "" && !b.put(r) {
				return
			}
		case prelude[0].text == "media" && !nested:
			if m, ok := mediaQuery(prelude[1:]); ok && m != "" {
				b.media(m, body)
			}
		}
	}
}

// media writes a group of rules for some media; one without rules leaves no trace.
func (b *builder) media(query string, body []cssToken) {
	outer, room := b.sheet.css, b.o.MaxBytes
	b.sheet.css = nil
	b.o.MaxBytes -= len(outer) + len("@media {}\n") + len(query) // and the style tags twice
	b.rules(body, true)
	inner := b.sheet.css
	b.sheet.css, b.o.MaxBytes = outer, room
	if len(inner) > 0 {
		b.put("@media " + query + "{" + string(inner) + "}\n")
	}
}

func (b *builder) rule(prelude, body []cssToken) string {
	var selectors []string
	for len(prelude) > 0 {
		n := until(prelude, ",")
		s, general := selector(trim(prelude[:n]))
		if general {
			b.sheet.general++
		}
		if s != "" && b.sheet.selectors < maxSelectors && (!general || b.sheet.general <= maxGeneral) {
			selectors = append(selectors, s)
			b.sheet.selectors++
		}
		prelude = prelude[min(n+1, len(prelude)):]
	}
	if len(selectors) == 0 {
		return ""
	}
	d := b.block(body, maxStyle)
	if d == "" {
		return ""
	}
	return strings.Join(selectors, ",") + "{" + d + "}\n"
}

var pseudoClasses = map[string]bool{"link": true, "visited": true, "hover": true, "active": true, "focus": true, "first-child": true, "last-child": true,
	"only-child": true, "first-of-type": true, "last-of-type": true, "empty": true}

// maxCompounds is how many parts a selector may have.
const maxCompounds = 6

// selector returns a selector with the names of the message, "" if it holds what is not allowed, and
// whether its last part is one that all elements are compared with.
func selector(ts []cssToken) (out string, general bool) {
	var s strings.Builder
	compounds, fresh, combined := 1, true, true // fresh: nothing of this compound was written
	for i := 0; i < len(ts); i++ {
		t := ts[i]
		switch {
		case t.kind == cssSpace || t.is(">") || t.is("+") || t.is("~"):
			comb := " "
			for ; i < len(ts) && (ts[i].kind == cssSpace || ts[i].kind == cssDelim && strings.Contains(">+~", ts[i].text)); i++ {
				if ts[i].kind == cssDelim {
					if comb != " " {
						return "", false
					}
					comb = ts[i].text
				}
			}
			i--
			if compounds++; combined && fresh || compounds > maxCompounds {
				return "", false
			}
			s.WriteString(comb)
			fresh, general, combined = true, true, true
			continue
		case t.is("*") && fresh:
			s.WriteString("*")
			general = true
		case t.kind == cssIdent && fresh:
			name := strings.ToLower(t.text)
			if name == "body" || name == "html" {
				s.WriteString("." + prefix + "body")
			} else if plainIdent(name) {
				s.WriteString(name)
			} else {
				return "", false
			}
			general = false
		case t.kind == cssHash:
			id, ok := identifier(t.text)
			if !ok {
				return "", false
			}
			s.WriteString("#" + id)
			general = false
		case t.is(".") && i+1 < len(ts) && ts[i+1].kind == cssIdent:
			i++
			c, ok := identifier(ts[i].text)
			if !ok {
				return "", false
			}
			s.WriteString("." + c)
			general = false
		case t.is(":") && i+1 < len(ts) && ts[i+1].kind == cssIdent:
			i++
			p := strings.ToLower(ts[i].text)
			if !pseudoClasses[p] {
				return "", false
			}
			general = general || fresh
			s.WriteString(":" + p)
		case t.is("["):
			a, n := attributeSelector(ts[i:])
			if n == 0 {
				return "", false
			}
			s.WriteString(a)
			i += n - 1
			general = false
		default:
			return "", false
		}
		fresh, combined = false, false
	}
	if fresh || s.Len() > 300 {
		return "", false
	}
	return s.String(), general
}

// attributeSelector writes [class=x], [class~=x] and [id=x], which old newsletters use, as .x and #x. It
// returns how many tokens that were; 0 for all others.
func attributeSelector(ts []cssToken) (string, int) {
	n := until(ts[1:], "]") + 2
	if n > len(ts) {
		return "", 0
	}
	var in []cssToken
	for _, t := range ts[1 : n-1] {
		if t.kind != cssSpace && !t.is("~") {
			in = append(in, t)
		}
	}
	if len(in) != 3 || in[0].kind != cssIdent || !in[1].is("=") || in[2].kind != cssIdent && in[2].kind != cssString {
		return "", 0
	}
	v, ok := identifier(strings.TrimSpace(in[2].text))
	switch a := strings.ToLower(in[0].text); {
	case ok && a == "class":
		return "." + v, n
	case ok && a == "id":
		return "#" + v, n
	}
	return "", 0
}

// mediaQuery returns a list of media queries made of names, numbers and parentheses.
func mediaQuery(ts []cssToken) (string, bool) {
	var s strings.Builder
	depth := 0
	for _, t := range trim(ts) {
		switch {
		case t.kind == cssSpace:
			s.WriteByte(' ')
		case t.kind == cssIdent && plainIdent(t.text):
			s.WriteString(strings.ToLower(t.text))
		case t.kind == cssNumber && len(t.text) <= 16 && (cssUnits[t.unit] || t.unit == "dpi" || t.unit == "dppx"):
			s.WriteString(t.text + t.unit)
		case t.is("(") && depth < 3:
			depth++
			s.WriteByte('(')
		case t.is(")") && depth > 0:
			depth--
			s.WriteByte(')')
		case t.is(":") && depth > 0, t.is("/") && depth > 0, t.is(",") && depth == 0:
			s.WriteString(t.text)
		default:
			return "", false
		}
	}
	return s.String(), depth == 0 && s.Len() <= 300
}
