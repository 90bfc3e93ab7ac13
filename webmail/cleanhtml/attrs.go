package cleanhtml

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// prefix stands before every class and name of a message, so that none is one of the page around it or of the DOM.
const prefix = "m-"

// wanted are the attributes that are looked at.
var wanted = map[string]bool{
	"align": true, "alt": true, "aria-hidden": true, "background": true, "bgcolor": true, "border": true, "bordercolor": true,
	"cellpadding": true, "cellspacing": true, "class": true, "color": true, "colspan": true, "coords": true, "dir": true,
	"face": true, "height": true, "href": true, "hspace": true, "id": true, "lang": true, "media": true, "name": true,
	"noshade": true, "nowrap": true, "open": true, "poster": true, "reversed": true, "role": true, "rowspan": true, "shape": true,
	"size": true, "span": true, "src": true, "srcset": true, "start": true, "style": true, "summary": true, "text": true, "title": true,
	"type": true, "usemap": true, "valign": true, "value": true, "vspace": true, "width": true,
}

// tag returns the start tag of an element with those of its attributes that may stay, in the order of
// their names (as parsers keep those of formatting elements).
func (b *builder) tag(name string, attrs []html.Attribute) string {
	var list []html.Attribute
	for _, a := range attrs {
		v, ok := b.attr(name, a.Key, plain(a.Val))
		if !ok {
			continue
		}
		list = append(list, html.Attribute{Key: a.Key, Val: v})
		switch {
		case a.Key == "href" && !strings.HasPrefix(v, "#"):
			list = append(list, html.Attribute{Key: "rel", Val: "noopener noreferrer nofollow"}, html.Attribute{Key: "target", Val: "_blank"})
		case a.Key == "src" && remote(v):
			list = append(list, html.Attribute{Key: "referrerpolicy", Val: "no-referrer"})
		}
	}
	slices.SortFunc(list, func(a, b html.Attribute) int { return strings.Compare(a.Key, b.Key) })
	var s strings.Builder
	s.WriteString("<" + name)
	for _, a := range list {
		s.WriteString(" " + a.Key + `="` + html.EscapeString(a.Val) + `"`)
	}
	if elements[name]&void != 0 {
		s.WriteString("/")
	}
	s.WriteString(">")
	return s.String()
}

// attr returns the value of an attribute as it may stay, and false if it may not.
func (b *builder) attr(name, key, v string) (string, bool) {
	short := strings.Trim(v, " \t\n\f")
	lower := strings.ToLower(short)
	switch key {
	case "style":
		v = b.declarations(v)
		return v, v != ""
	case "class":
		v = classes(v)
		return v, v != ""
	case "id":
		return identifier(short)
	case "name":
		if name != "a" && name != "map" {
			return "", false
		}
		return identifier(short)
	case "title", "alt", "summary":
		return cut(v, 1000), true
	case "lang":
		return lower, letters(lower, "-") && len(lower) <= 35
	case "dir":
		return lower, lower == "ltr" || lower == "rtl" || lower == "auto"
	case "role":
		return lower, lower == "presentation" || lower == "none"
	case "aria-hidden":
		return lower, lower == "true"
	case "href":
		if name != "a" && name != "area" {
			return "", false
		}
		return link(v)
	case "src":
		if name != "img" {
			return "", false
		}
		return b.image(v)
	case "background":
		if name != "table" && name != "td" && name != "th" && name != "div" && name != "tr" {
			return "", false
		}
		return b.image(v)
	case "usemap":
		if name != "img" || !strings.HasPrefix(short, "#") {
			return "", false
		}
		v, ok := identifier(short[1:])
		return "#" + v, ok
	case "shape":
		return lower, name == "area" && letters(lower, "") && len(lower) <= 10
	case "coords":
		return short, name == "area" && len(short) <= 500 && strings.Trim(short, "0123456789,. ") == ""
	case "width", "height":
		return length(lower)
	case "border", "cellpadding", "cellspacing", "hspace", "vspace":
		return number(strings.TrimSuffix(lower, "px"), 0, 200)
	case "colspan", "span":
		return number(short, 1, 100)
	case "rowspan":
		return number(short, 1, 1000)
	case "start":
		return number(short, -1000000, 1000000)
	case "value":
		if name != "li" {
			return "", false
		}
		return number(short, -1000000, 1000000)
	case "size":
		if name == "hr" {
			return number(short, 0, 100)
		}
		return short, name == "font" && len(short) <= 2 && strings.Trim(short, "+-01234567") == "" && short != ""
	case "type":
		return short, (name == "ol" || name == "ul" || name == "li") && letters(lower, "") && len(short) <= 8 || name == "ol" && short == "1"
	case "align", "valign":
		return lower, letters(lower, "") && len(lower) <= 12
	case "bgcolor", "color", "bordercolor":
		return lower, lower != "" && len(lower) <= 24 && letters(strings.Trim(lower, "#0123456789")+"a", "#0123456789")
	case "face":
		return short, short != "" && len(short) <= 200 && !strings.ContainsAny(short, `<>&"();:{}\`)
	case "nowrap", "noshade", "reversed", "open":
		return "", true
	case "srcset", "poster", "media":
		return "", false
	}
	return "", false
}

// letters reports whether s is made of a to z and what is in more, and not empty.
func letters(s, more string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && !strings.Contains(more, s[i:i+1]) {
			return false
		}
	}
	return s != ""
}

func number(s string, low, high int) (string, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low {
		return "", false
	}
	return strconv.Itoa(min(n, high)), true
}

// length is a number of pixels or a percentage.
func length(s string) (string, bool) {
	s = strings.TrimSuffix(s, "px")
	unit := ""
	if strings.HasSuffix(s, "%") {
		s, unit = s[:len(s)-1], "%"
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 10000) {
		return "", false
	}
	return strconv.FormatFloat(f, 'f', -1, 64) + unit, len(s) <= 20
}

// identifier returns a name with the prefix.
func identifier(s string) (string, bool) {
	if s == "" || len(s) > 64 || !letters(s, "0123456789_-") {
		return "", false
	}
	if strings.HasPrefix(s, prefix) {
		return s, true
	}
	return prefix + s, true
}

func classes(s string) string {
	var out []string
	for f := range strings.FieldsSeq(s) {
		if c, ok := identifier(f); ok && len(out) < 20 {
			out = append(out, c)
		}
	}
	return strings.Join(out, " ")
}

// cut returns at most n runes of s.
func cut(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}
