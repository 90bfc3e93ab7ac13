package mailview

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// PlainText returns the text of a Segment that is HTML, for who does not want that: its
// writer's own plain version, or what one reads of the HTML. It is never safe to show
// as HTML.
func (s *Segment) PlainText() string {
	switch {
	case !s.HTML:
		return s.Text
	case s.Plain != "":
		return s.Plain
	}
	return htmlText(s.Text, MaxText)
}

// htmlText returns the text of HTML as one reads it, with line ends where it has blocks,
// quotes with "> ", and max bytes at most. It is for answers and drafts, which are
// plain: what it returns is no HTML, and not safe to show as such.
func htmlText(s string, max int) string {
	w := textWriter{max: max}
	z := html.NewTokenizer(strings.NewReader(s))
	skip := atom.Atom(0)
	for !w.full() {
		switch z.Next() {
		case html.ErrorToken:
			return w.String()
		case html.TextToken:
			if skip == 0 {
				w.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, attrs := z.TagName()
			tag := atom.Lookup(name)
			if skip != 0 {
				continue
			}
			switch tag {
			case atom.Script, atom.Style, atom.Title, atom.Template, atom.Textarea, atom.Noscript, atom.Iframe:
				skip = tag
			case atom.Img:
				for attrs {
					var key, value []byte
					if key, value, attrs = z.TagAttr(); string(key) == "alt" {
						w.text(string(value))
					}
				}
			default:
				w.open(tag)
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			tag := atom.Lookup(name)
			if skip != 0 {
				if tag == skip {
					skip = 0
				}
				continue
			}
			w.close(tag)
		}
	}
	return w.String()
}

// A textWriter writes what is read of HTML.
type textWriter struct {
	b      strings.Builder
	max    int
	pre    int
	quotes int
	lines  int  // line ends that are due
	gap    bool // a space is due
	began  bool // something was written
}

func (w *textWriter) full() bool { return w.b.Len() >= w.max }

func (w *textWriter) String() string {
	s := strings.TrimSpace(w.b.String())
	if len(s) > w.max {
		for s = s[:w.max]; !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && len(s) > 0; {
			s = s[:len(s)-1]
		}
	}
	return s
}

// due asks for n line ends before what follows.
func (w *textWriter) due(n int) {
	w.lines = max(w.lines, n)
	w.gap = false
}

func (w *textWriter) begin() {
	if !w.began {
		w.lines = 0
		w.prefix()
	}
	for n := w.lines; n > 0; n-- {
		w.b.WriteByte('\n')
		if n == 1 {
			w.prefix()
		}
	}
	if w.gap && w.lines == 0 && w.began {
		w.b.WriteByte(' ')
	}
	w.lines, w.gap, w.began = 0, false, true
}

func (w *textWriter) prefix() {
	for range min(w.quotes, 20) {
		w.b.WriteString("> ")
	}
}

func (w *textWriter) text(s string) {
	for _, r := range s {
		switch {
		case w.pre > 0 && r == '\n':
			w.lines = min(w.lines+1, 10)
		case r == ' ' || r == '\n' || r == '\t' || r == '\r' || r == '\f' || r == '\v':
			if w.pre > 0 && r == ' ' {
				w.begin()
				w.b.WriteByte(' ')
				continue
			}
			w.gap = w.gap || w.lines == 0
		case r == 0xa0:
			w.begin()
			w.b.WriteByte(' ')
		case r < ' ' || r == 0x7f || r == 0xad || r == 0x200b || r == 0xfeff || r == 0x34f || r == utf8.RuneError:
		default:
			w.begin()
			w.b.WriteRune(r)
		}
		if w.full() {
			return
		}
	}
}

func (w *textWriter) open(tag atom.Atom) {
	switch tag {
	case atom.Br:
		w.lines = min(w.lines+1, 3)
		w.gap = false
	case atom.Hr:
		w.due(1)
		w.text("---")
		w.due(1)
	case atom.Li:
		w.due(1)
		w.text("- ")
	case atom.Td, atom.Th:
		w.gap = w.gap || w.lines == 0
	case atom.Pre:
		w.due(2)
		w.pre++
	case atom.Blockquote:
		w.due(1)
		w.quotes++
	default:
		w.block(tag)
	}
}

func (w *textWriter) close(tag atom.Atom) {
	switch tag {
	case atom.Pre:
		w.due(2)
		w.pre = max(0, w.pre-1)
	case atom.Blockquote:
		w.due(1)
		w.quotes = max(0, w.quotes-1)
	default:
		w.block(tag)
	}
}

func (w *textWriter) block(tag atom.Atom) {
	switch tag {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Ul, atom.Ol, atom.Dl, atom.Table:
		w.due(2)
	case atom.Div, atom.Tr, atom.Dt, atom.Dd, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Address, atom.Center,
		atom.Body, atom.Fieldset, atom.Figure, atom.Main, atom.Nav, atom.Aside, atom.Option:
		w.due(1)
	}
}
