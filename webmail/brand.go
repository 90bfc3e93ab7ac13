package webmail

import (
	"cmp"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Brand is how it looks. The zero value is plain.
type Brand struct {
	// Name stands on every page; empty means "Mail".
	Name string
	// Logo is a file in static/ of Files that stands beside the name, such as
	// "logo.svg"; empty means none. Icon is the one of the browser's tab.
	Logo, Icon string
	// Colors are values of CSS by the name of a colour of style.css: "accent".
	// Dark are those of the dark theme.
	Colors, Dark map[string]string
	// Texts replace texts, by language and key: see the files in text/. A language
	// that is new here is one more that people can choose.
	Texts map[string]map[string]string
	// Links stand in the menu of the account, and lead back to the application.
	Links []Link
	// Templates replace blocks of pages: "head", "header", "footer", "signin-note".
	Templates *template.Template
	// Files replaces or adds templates/*.html, text/*.txt and static/*, of which
	// static/brand.css is a style sheet of its own, after ours.
	Files fs.FS
}

// A Link leads somewhere else.
type Link struct{ Text, URL string }

func (b *Brand) name() string { return cmp.Or(b.Name, "Mail") }

var (
	cssName  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,40}$`)
	cssValue = regexp.MustCompile(`^[a-zA-Z0-9#%.,()/ -]{1,100}$`)
)

// css is the style sheet of the colours.
func (b *Brand) css() (string, error) {
	var s strings.Builder
	block := func(colors map[string]string, open, shut string) error {
		if len(colors) == 0 {
			return nil
		}
		s.WriteString(open)
		for _, name := range slices.Sorted(maps.Keys(colors)) {
			if !cssName.MatchString(name) || !cssValue.MatchString(colors[name]) {
				return fmt.Errorf("webmail: Brand.Colors: %q: %q is no colour", name, colors[name])
			}
			fmt.Fprintf(&s, "--%s:%s;", name, colors[name])
		}
		s.WriteString(shut)
		return nil
	}
	if err := block(b.Colors, ":root{", "}\n"); err != nil {
		return "", err
	}
	if err := block(b.Dark, ":root[data-theme=dark]{", "}\n"); err != nil {
		return "", err
	}
	if err := block(b.Dark, "@media (prefers-color-scheme:dark){:root:not([data-theme=light]){", "}}\n"); err != nil {
		return "", err
	}
	return s.String(), nil
}
