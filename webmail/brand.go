package webmail

import (
	"cmp"
	"html/template"
	"io/fs"
)

// A Brand is how it looks. The zero value is plain, and calls itself "Mail". What is
// wrong with one, Handler.Check says.
//
//	Brand{Name: "Acme Post", Logo: "logo.svg", Icon: "logo.svg", Colors: map[string]string{"accent": "#0b6e4f"}, Files: files}
//
// is enough for most: files is an embed.FS with static/logo.svg.
type Brand struct {
	// Name stands on every page; empty means "Mail".
	Name string
	// Logo is a file in static/ of Files that stands beside the name, 28 pixels
	// high, such as "logo.svg"; empty means none. Icon is the one of the browser's
	// tab; empty means an envelope.
	Logo, Icon string
	// Colors replace colours of the light theme by name, each "#rrggbb" or "#rgb":
	// accent, on-accent (text on it), accent-soft (behind what is chosen), ground,
	// side (behind folders), raised (behind fields), hover, text, quiet (text that
	// comes second), line, field (around fields), danger, danger-soft, warn,
	// warn-soft, good, good-soft, flag. Dark are those of the dark theme. Who names
	// an accent need not name on-accent and accent-soft, nor any for the dark theme:
	// they are made from it. All are checked: text that people with weak eyes cannot
	// read (WCAG AA: a contrast below 4.5, of borders and signs below 3) is an error.
	Colors, Dark map[string]string
	// Texts replace texts, by language and key: see the files in text/. A language
	// that is new here is one more that people can choose; what it lacks is shown in
	// English. Those that are written from right to left turn the pages round.
	Texts map[string]map[string]string
	// Links stand in the menu of the account, and lead back to the application.
	Links []Link
	// Templates replace blocks of pages: "head" (within the head element), "header"
	// (the name and the logo), "footer", "signin-note" (below the form).
	Templates *template.Template
	// Files replaces or adds templates/*.html, text/*.txt and static/*, of which
	// static/brand.css is a style sheet of its own, after ours. What style sheets
	// name as url(file) is found in static/.
	Files fs.FS
}

// A Link leads somewhere else.
type Link struct{ Text, URL string }

func (b *Brand) name() string { return cmp.Or(b.Name, "Mail") }
