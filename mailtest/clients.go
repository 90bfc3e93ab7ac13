package mailtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

type htmlAttr = html.Attribute

// The mail programs of the table below.
const (
	gmail   = "gmail"
	outlook = "outlook" // the classic one for Windows, which shows mail with Word's engine
	owa     = "outlook.com"
	yahoo   = "yahoo"
	apple   = "apple-mail"
	proton  = "proton"
	thunder = "thunderbird"
)

// Clients are the mail programs that Lint knows about.
func Clients() []string { return []string{gmail, outlook, owa, yahoo, apple, proton, thunder} }

// A lack is something that some mail programs do not show as a browser does.
type lack struct {
	what    string
	clients []string
	instead string
	minor   bool // it looks different and can be read
}

var every = Clients()

// elementLacks are by element.
func elementLacks() map[string]lack {
	return map[string]lack{
		"script":   {"script", every, "scripts never run in mail", false},
		"iframe":   {"iframe", every, "link to the page", false},
		"object":   {"object", every, "link to it", false},
		"embed":    {"embed", every, "link to it", false},
		"form":     {"form", []string{gmail, outlook, owa, yahoo, proton, thunder}, "link to the form", false},
		"input":    {"input", []string{gmail, outlook, owa, yahoo, proton, thunder}, "link to the form", false},
		"video":    {"video", []string{gmail, outlook, owa, yahoo, proton}, "show a picture that links to it", false},
		"audio":    {"audio", []string{gmail, outlook, owa, yahoo, proton}, "link to it", false},
		"svg":      {"svg in the HTML", []string{gmail, outlook, owa, yahoo, proton}, "use a PNG", false},
		"canvas":   {"canvas", every, "use a PNG", false},
		"link":     {"a style sheet elsewhere", []string{gmail, outlook, owa, yahoo, proton}, "put the style into the elements", false},
		"base":     {"base", []string{gmail, outlook, owa, yahoo}, "write whole addresses", false},
		"dialog":   {"dialog", every, "show it as text", false},
		"picture":  {"picture", []string{outlook, owa}, "keep an img in it that does alone", true},
		"template": {"template", every, "fill it in before sending", false},
	}
}

// propertyLacks are by CSS property, "property:value", or a word in the style.
func propertyLacks() map[string]lack {
	return map[string]lack{
		"position":         {"position", []string{gmail, outlook, owa, yahoo}, "use tables", false},
		"display:flex":     {"display: flex", []string{outlook}, "use tables", false},
		"display:grid":     {"display: grid", []string{outlook, gmail, yahoo}, "use tables", false},
		"float":            {"float", []string{outlook}, "use align or tables", false},
		"background-image": {"background-image", []string{outlook}, "add a background-color that does alone", true},
		"border-radius":    {"border-radius", []string{outlook}, "corners are square there", true},
		"box-shadow":       {"box-shadow", []string{outlook, gmail, yahoo, owa}, "it does without", true},
		"text-shadow":      {"text-shadow", []string{outlook, gmail}, "it does without", true},
		"max-width":        {"max-width", []string{outlook}, "add a width attribute for it", true},
		"min-height":       {"min-height", []string{outlook}, "use the height attribute", true},
		"object-fit":       {"object-fit", []string{outlook, gmail, yahoo}, "cut the image beforehand", true},
		"filter":           {"filter", []string{outlook, gmail, yahoo, owa}, "change the image beforehand", true},
		"transform":        {"transform", []string{outlook, gmail, yahoo, owa}, "it does without", true},
		"animation":        {"animation", []string{outlook, gmail, yahoo, owa, proton}, "it stands still there", true},
		"transition":       {"transition", []string{outlook, gmail, yahoo, owa}, "it does without", true},
		"opacity":          {"opacity", []string{outlook}, "use a lighter colour", true},
		"clip-path":        {"clip-path", []string{outlook, gmail, yahoo, owa}, "cut the image beforehand", true},
		"gap":              {"gap", []string{outlook, gmail, yahoo}, "use padding", false},
		"calc(":            {"calc()", []string{outlook, yahoo}, "write the number", false},
		"var(":             {"var()", []string{outlook, gmail, yahoo, owa, proton}, "write the value", false},
		"url(":             {"url() in a style", []string{outlook, proton}, "use img", false},
		"@import":          {"@import", []string{gmail, outlook, owa, yahoo, proton, thunder}, "put the style into the message", false},
		"@font-face":       {"@font-face", []string{gmail, outlook, owa, yahoo, proton}, "name a font that everyone has behind it", true},
		"@keyframes":       {"@keyframes", []string{gmail, outlook, owa, yahoo, proton}, "it stands still there", true},
		"@supports":        {"@supports", []string{gmail, outlook, owa, yahoo}, "style without it", false},
		"@media":           {"@media", []string{outlook}, "it must be readable without", true},
	}
}

var declaration = regexp.MustCompile(`(?i)(?:^|[;{\s])([a-z-]+)\s*:\s*([^;{}]+)`)

// unsupported says which of the clients lack what a document uses. No clients means
// all.
func unsupported(doc string, clients []string) (all []Problem) {
	if doc == "" {
		return nil
	}
	if len(clients) == 0 {
		clients = every
	}
	said := map[string]bool{}
	say := func(l lack) {
		var lacking []string
		for _, c := range l.clients {
			if slices.Contains(clients, c) {
				lacking = append(lacking, c)
			}
		}
		if len(lacking) > 0 && !said[l.what] {
			said[l.what] = true
			all = append(all, Problem{"client-support", fmt.Sprintf("%s is not shown by %s: %s", l.what, strings.Join(lacking, ", "), l.instead), l.minor})
		}
	}
	properties := propertyLacks()
	style := func(css string) {
		css = strings.ToLower(css)
		for _, d := range declaration.FindAllStringSubmatch(css, -1) {
			if l, ok := properties[d[1]]; ok {
				say(l)
			}
			if l, ok := properties[d[1]+":"+strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(d[2]), "!important"))]; ok {
				say(l)
			}
		}
		for _, word := range []string{"calc(", "var(", "url(", "@import", "@font-face", "@keyframes", "@supports", "@media"} {
			if strings.Contains(css, word) {
				say(properties[word])
			}
		}
	}
	lacks := elementLacks()
	z := html.NewTokenizer(strings.NewReader(doc))
	for inStyle := false; ; {
		switch z.Next() {
		case html.ErrorToken:
			return all
		case html.TextToken:
			if inStyle {
				style(string(z.Text()))
			}
		case html.EndTagToken:
			inStyle = false
		case html.StartTagToken, html.SelfClosingTagToken:
			e := z.Token()
			inStyle = e.Data == "style"
			if l, ok := lacks[e.Data]; ok && (e.Data != "link" || strings.Contains(strings.ToLower(attr(e, "rel")), "stylesheet")) {
				say(l)
			}
			style(attr(e, "style"))
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Key, "on") {
					say(lack{"the script in " + a.Key, every, "scripts never run in mail", false})
				}
			}
			if src := strings.ToLower(attr(e, "src")); e.Data == "img" && strings.HasSuffix(src, ".svg") {
				say(lack{"an SVG image", []string{gmail, outlook, owa, yahoo}, "use a PNG", false})
			} else if e.Data == "img" && (strings.HasSuffix(src, ".webp") || strings.HasSuffix(src, ".avif")) {
				say(lack{"a WebP or AVIF image", []string{outlook}, "use a PNG or JPEG", false})
			}
		}
	}
}
