package cleanhtml

import (
	"strconv"
	"strings"
	"unicode"
)

// properties are those that stay. What positions, covers, animates, loads, prints or scripts is not among them.
var properties = func() map[string]bool {
	m := map[string]bool{}
	for p := range strings.FieldsSeq(`
		background background-color background-image background-position background-repeat background-size background-clip background-origin
		border border-collapse border-color border-spacing border-style border-width border-radius
		border-top border-top-color border-top-style border-top-width border-right border-right-color border-right-style border-right-width
		border-bottom border-bottom-color border-bottom-style border-bottom-width border-left border-left-color border-left-style border-left-width
		border-top-left-radius border-top-right-radius border-bottom-left-radius border-bottom-right-radius
		box-shadow box-sizing caption-side clear color color-scheme direction display empty-cells float
		font font-family font-size font-stretch font-style font-variant font-weight
		height letter-spacing line-height list-style list-style-position list-style-type
		margin margin-top margin-right margin-bottom margin-left max-height max-width min-height min-width
		opacity outline outline-color outline-style outline-width overflow overflow-wrap overflow-x overflow-y
		padding padding-top padding-right padding-bottom padding-left table-layout
		text-align text-align-last text-decoration text-decoration-color text-decoration-line text-decoration-style
		text-indent text-overflow text-shadow text-transform vertical-align visibility white-space width word-break word-spacing word-wrap
		-webkit-text-size-adjust -ms-text-size-adjust text-size-adjust -webkit-font-smoothing mso-line-height-rule
		align-items align-self align-content justify-content justify-items justify-self flex flex-basis flex-direction flex-flow flex-grow flex-shrink flex-wrap
		order gap row-gap column-gap grid-template-columns grid-template-rows grid-column grid-row column-count column-width
		hyphens tab-size object-fit aspect-ratio page-break-after page-break-before page-break-inside position`) {
		m[p] = true
	}
	return m
}()

var cssUnits = map[string]bool{"": true, "%": true, "px": true, "em": true, "rem": true, "ex": true, "ch": true, "pt": true, "pc": true, "in": true,
	"cm": true, "mm": true, "vw": true, "vh": true, "vmin": true, "vmax": true, "deg": true, "turn": true, "rad": true, "fr": true}

var cssFunctions = map[string]bool{"rgb": true, "rgba": true, "hsl": true, "hsla": true, "calc": true, "min": true, "max": true, "clamp": true,
	"linear-gradient": true, "radial-gradient": true, "minmax": true, "repeat": true}

const (
	maxStyle = 8192 // bytes of one style attribute
	maxValue = 2048 // bytes of one value, but for images
)

// declarations returns the content of a style attribute without what is dangerous.
func (b *builder) declarations(s string) string {
	return b.block(cssTokens(s, 4000), maxStyle+b.o.MaxData)
}

// block cleans the declarations between the braces of a rule.
func (b *builder) block(ts []cssToken, limit int) string {
	var out strings.Builder
	for len(ts) > 0 {
		n := until(ts, ";")
		if d := b.declaration(ts[:n]); d != "" && out.Len()+1+len(d) <= limit {
			if out.Len() > 0 {
				out.WriteByte(';')
			}
			out.WriteString(d)
		}
		ts = ts[min(n+1, len(ts)):]
	}
	return out.String()
}

// until returns how many tokens stand before a delimiter that is outside of brackets.
func until(ts []cssToken, delims string) int {
	depth := 0
	for i, t := range ts {
		switch {
		case t.kind == cssFunc:
			depth++
		case t.kind != cssDelim:
		case depth == 0 && strings.Contains(delims, t.text):
			return i
		case strings.Contains("([{", t.text):
			depth++
		case strings.Contains(")]}", t.text):
			depth = max(depth-1, 0)
		}
	}
	return len(ts)
}

func trim(ts []cssToken) []cssToken {
	for len(ts) > 0 && ts[0].kind == cssSpace {
		ts = ts[1:]
	}
	for len(ts) > 0 && ts[len(ts)-1].kind == cssSpace {
		ts = ts[:len(ts)-1]
	}
	return ts
}

// declaration returns "property:value", or "" if it may not stay.
func (b *builder) declaration(ts []cssToken) string {
	ts = trim(ts)
	if len(ts) < 3 || ts[0].kind != cssIdent {
		return ""
	}
	name := strings.ToLower(ts[0].text)
	rest := trim(ts[1:])
	if !rest[0].is(":") {
		return ""
	}
	if !properties[name] {
		return ""
	}
	v := cssValue{b: b, property: name}
	value, ok := v.write(trim(rest[1:]))
	if !ok || value == "" {
		return ""
	}
	if name == "position" && value != "static" && value != "relative" {
		return ""
	}
	b.remote += v.remote
	return name + ":" + value
}

// cssValue writes one value.
type cssValue struct {
	b        *builder
	property string
	out      strings.Builder
	images   int // bytes of addresses of images
	remote   int
}

func (v *cssValue) write(ts []cssToken) (string, bool) {
	var inside []string // functions that are open
	for i, t := range ts {
		if v.out.Len()-v.images > maxValue {
			return "", false
		}
		ok := true
		switch t.kind {
		case cssSpace:
			v.out.WriteByte(' ')
		case cssIdent:
			ok = v.ident(t.text)
		case cssHash:
			ok = len(t.text) <= 8 && allHex(t.text)
			v.out.WriteString("#" + t.text)
		case cssNumber:
			ok = v.number(t)
		case cssString:
			ok = v.str(t.text)
		case cssURL:
			ok = len(inside) == 0 && v.url(t.text)
		case cssFunc:
			ok = cssFunctions[t.text] && len(inside) < 5
			inside = append(inside, t.text)
			v.out.WriteString(t.text + "(")
		case cssDelim:
			inside, ok = v.delim(t.text, ts[i+1:], inside)
		default:
			ok = false
		}
		if !ok {
			return "", false
		}
	}
	return v.out.String(), len(inside) == 0
}

func (v *cssValue) delim(d string, next []cssToken, inside []string) ([]string, bool) {
	calc := len(inside) > 0 && (inside[len(inside)-1] == "calc" || inside[len(inside)-1] == "(")
	switch d {
	case ",", "/":
	case "(":
		if !calc || len(inside) >= 5 {
			return inside, false
		}
		inside = append(inside, d)
	case ")":
		if len(inside) == 0 {
			return inside, false
		}
		inside = inside[:len(inside)-1]
	case "+", "-", "*":
		if !calc || len(next) == 0 || next[0].kind != cssSpace && d != "*" {
			return inside, false
		}
	case "!":
		next = trim(next)
		if len(inside) > 0 || len(next) != 1 || next[0].kind != cssIdent || !strings.EqualFold(next[0].text, "important") {
			return inside, false
		}
	default:
		return inside, false
	}
	v.out.WriteString(d)
	return inside, true
}

func allHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if hexDigit(s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// plainIdent reports whether a name needs no escapes and is no variable.
func plainIdent(s string) bool {
	return len(s) <= 64 && letters(s, "0123456789_-") && s[0] != '_' && !cssDigit(s[0]) && !strings.HasPrefix(s, "--") && s != "-" &&
		(s[0] != '-' || !cssDigit(s[1]))
}

func (v *cssValue) ident(s string) bool {
	lower := strings.ToLower(s)
	if v.property != "font-family" && v.property != "font" {
		s = lower
	}
	v.out.WriteString(s)
	return plainIdent(s) && lower != "expression"
}

func (v *cssValue) number(t cssToken) bool {
	f, err := strconv.ParseFloat(t.text, 64)
	if err != nil || len(t.text) > 16 || !cssUnits[t.unit] || f > 1e6 || f < -1e6 {
		return false
	}
	if f < 0 && strings.HasPrefix(v.property, "margin") {
		return false // would draw over what stands before
	}
	v.out.WriteString(t.text + t.unit)
	return true
}

// str accepts names of fonts.
func (v *cssValue) str(s string) bool {
	if v.property != "font-family" && v.property != "font" || len(s) > 100 {
		return false
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" -_.,", r) {
			return false
		}
	}
	v.out.WriteString("'" + s + "'")
	return true
}

// url writes the address of a background, or none where it may not stay.
func (v *cssValue) url(s string) bool {
	if v.property != "background" && v.property != "background-image" {
		return false
	}
	before := v.b.remote
	addr, ok := v.b.image(s)
	v.remote += v.b.remote - before
	v.b.remote = before
	if !ok {
		v.out.WriteString("none")
		return true
	}
	v.out.WriteString("url('" + addr + "')")
	v.images += len(addr)
	return true
}
