package mailtest

import (
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

var address = regexp.MustCompile(`(?i)\bhttps?://[^\s<>"'\x60]+`)

// Links returns what one can follow, each once, in order: of the HTML the links of
// its a and area elements, of the text each http and https address. They are as
// they stand there, broken ones too.
func (m *Message) Links() (all []string) {
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for e := range elements(m.HTML()) {
		if e.Data == "a" || e.Data == "area" {
			add(attr(e, "href"))
		}
	}
	if p := find(&m.parse().root, "plain"); p != nil {
		for _, s := range address.FindAllString(m.text(p), -1) {
			add(trimAddress(s))
		}
	}
	return all
}

// trimAddress takes away what ends a sentence and not the address.
func trimAddress(s string) string {
	for {
		t := strings.TrimRight(s, ".,;:!?")
		if strings.HasSuffix(t, ")") && strings.Count(t, ")") > strings.Count(t, "(") {
			t = strings.TrimSuffix(t, ")")
		}
		if t == s {
			return s
		}
		s = t
	}
}

// Link returns the first link that contains part, or "".
func (m *Message) Link(part string) string {
	for _, l := range m.Links() {
		if strings.Contains(l, part) {
			return l
		}
	}
	return ""
}

var digits = regexp.MustCompile(`[\pL\pN]+`)

// Codes returns the words of exactly n digits in the text, each once, in order:
// one-time codes. A space or hyphen in the middle of a code is passed over, as in
// "123 456" and "123-456", if there are no codes in one piece.
func (m *Message) Codes(n int) (all []string) {
	text := m.Text()
	take := func(text string) {
		for _, w := range digits.FindAllString(text, -1) {
			if len(w) == n && strings.Trim(w, "0123456789") == "" && !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	if take(text); all == nil && n >= 2 && n%2 == 0 {
		halves := regexp.MustCompile(`(^|[^\pL\pN])(\d+)[ -](\d+)($|[^\pL\pN])`)
		for _, h := range halves.FindAllStringSubmatch(text, -1) {
			if len(h[2]) == n/2 && len(h[3]) == n/2 {
				take(h[2] + h[3])
			}
		}
	}
	return all
}

// Code returns the first of Codes, or "".
func (m *Message) Code(n int) string {
	if all := m.Codes(n); len(all) > 0 {
		return all[0]
	}
	return ""
}

// elements yields the start tags of a document.
func elements(doc string) func(func(html.Token) bool) {
	return func(yield func(html.Token) bool) {
		for z := html.NewTokenizer(strings.NewReader(doc)); ; {
			switch z.Next() {
			case html.ErrorToken:
				return
			case html.StartTagToken, html.SelfClosingTagToken:
				if !yield(z.Token()) {
					return
				}
			}
		}
	}
}

// attr is an attribute of an element, or "".
func attr(e html.Token, name string) string {
	for _, a := range e.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
