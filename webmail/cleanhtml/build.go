package cleanhtml

import (
	"io"
	"strings"

	"golang.org/x/net/html"
)

// builder writes clean HTML while tags are read.
type builder struct {
	o       Options
	out     strings.Builder
	closing int // bytes of the end tags that are to come
	stack   []element
	open    map[string]int // how many of a name are on the stack
	ignored map[string]int // start tags left out because they were too deep: their end tags are, too
	pending []element      // formatting to be opened again before the next text
	sheet   sheet
	body    bool // the body element was seen
	nodes   int
	remote  int
	cut     bool
	full    bool // nothing more is written
}

type element struct {
	name, tag string // tag is the start tag as written
	kind      kind
	done      bool // its end tag was seen inside a block; it ends where the block does
	fresh     bool // pre: nothing was written into it
	begun     bool // pre: its first text was read
}

// manyAttrs is how many attributes of one tag make the tokenizer slow for all tags that follow: it
// clears a map of them each time, and maps do not shrink.
const manyAttrs = 256

func (b *builder) read(text string) {
	z := html.NewTokenizer(strings.NewReader(text))
	at := 0           // bytes of text that were read
	skipping := ""    // the element that is dropped with its content
	depth := 0        // how many of that name are open
	var media *string // of the style element that is read
	for !b.full {
		tt := z.Next()
		if tt == html.ErrorToken {
			return
		}
		at += len(z.Raw())
		switch tt {
		case html.TextToken:
			switch {
			case skipping == "style" && media != nil:
				b.style(string(z.Raw()), *media)
			case skipping == "":
				b.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			tag, more := z.TagName()
			name := string(tag)
			var attrs []html.Attribute
			n := 0
			for more {
				var k, v []byte
				k, v, more = z.TagAttr()
				if n++; wanted[string(k)] {
					attrs = append(attrs, html.Attribute{Key: string(k), Val: string(v)})
				}
			}
			k := elements[name]
			if n > manyAttrs {
				tag := "<x>"
				if k&(skip|raw) != 0 { // what follows may be no markup
					tag = "<" + name + ">"
				}
				z = html.NewTokenizer(io.MultiReader(strings.NewReader(tag), strings.NewReader(text[at:])))
				z.Next()
			}
			if skipping != "" {
				switch foreign := skipping == "svg" || skipping == "math"; {
				case name == skipping && !(foreign && tt == html.SelfClosingTagToken):
					depth++
					continue
				case foreign && k&(block|structure) != 0: // HTML 13.2.6.5: these break out
					skipping = ""
				default:
					continue
				}
			}
			if k&skip != 0 {
				if (name == "svg" || name == "math") && tt == html.SelfClosingTagToken {
					continue
				}
				skipping, depth, media = name, 1, nil
				if name == "style" {
					m := value(attrs, "media")
					media = &m
				}
				continue
			}
			b.start(name, attrs)
		case html.EndTagToken:
			tag, _ := z.TagName()
			name := string(tag)
			if skipping == "" {
				b.end(name)
			} else if name == skipping {
				if depth--; depth == 0 {
					skipping = ""
				}
			}
		}
	}
}

func value(attrs []html.Attribute, key string) string {
	for _, a := range attrs {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func (b *builder) top() string {
	if len(b.stack) == 0 {
		return ""
	}
	return b.stack[len(b.stack)-1].name
}

// room reports whether n more bytes can be written, and ends everything if not.
func (b *builder) room(n int) bool {
	if b.full || b.out.Len()+b.closing+b.sheet.size()+n > b.o.MaxBytes {
		b.full, b.cut = true, true
		return false
	}
	return true
}

// push writes a start tag and remembers that it is open.
func (b *builder) push(e element) bool {
	end := len("</>") + len(e.name)
	if b.nodes >= b.o.MaxElements {
		b.full, b.cut = true, true
		return false
	}
	deep := len(b.stack)
	if e.name == "table" {
		deep += 3 // tbody, tr and td: a table without its cells would lose what is in them
	}
	if deep >= b.o.MaxDepth {
		b.ignored[e.name]++
		return false
	}
	if !b.room(len(e.tag) + end) {
		return false
	}
	b.touch()
	e.fresh = e.name == "pre"
	b.nodes++
	b.out.WriteString(e.tag)
	b.closing += end
	b.stack = append(b.stack, e)
	b.open[e.name]++
	return true
}

// pop writes the end tag of what was opened last.
func (b *builder) pop() {
	e := b.stack[len(b.stack)-1]
	b.stack = b.stack[:len(b.stack)-1]
	b.open[e.name]--
	b.closing -= len("</>") + len(e.name)
	b.out.WriteString("</" + e.name + ">")
}

// popTo closes what is open above n elements.
func (b *builder) popTo(n int) {
	for len(b.stack) > n {
		b.pop()
	}
}

// reopen is popTo, and formatting that it closed is opened again with the next text.
func (b *builder) reopen(n int) {
	for _, e := range b.stack[n:] {
		if e.kind&format != 0 && !e.done && len(b.pending) < 8 {
			b.pending = append(b.pending, e)
		}
	}
	b.popTo(n)
}

// touch notes that something is written into what is open.
func (b *builder) touch() {
	if n := len(b.stack); n > 0 {
		b.stack[n-1].fresh = false
	}
}

// index returns where on the stack the innermost element is that ok accepts, not looking past
// one that stop accepts; -1 if there is none.
func (b *builder) index(ok, stop func(e *element) bool) int {
	for i := len(b.stack) - 1; i >= 0; i-- {
		if ok(&b.stack[i]) {
			return i
		}
		if stop(&b.stack[i]) {
			break
		}
	}
	return -1
}

func named(names ...string) func(*element) bool {
	return func(e *element) bool {
		for _, n := range names {
			if e.name == n {
				return true
			}
		}
		return false
	}
}

func isBoundary(e *element) bool { return e.kind&boundary != 0 }
func isBlock(e *element) bool    { return e.kind&(block|structure) != 0 }

// settle opens again what is to be opened again, before text or an element in a line.
func (b *builder) settle() {
	again := b.pending
	b.pending = nil
	for _, e := range again {
		b.push(e)
	}
}

// cell makes sure that content can stand here: directly in a table or a row it gets a cell of its own.
func (b *builder) cell() bool {
	if !inRow(b.top()) {
		return true
	}
	if b.top() == "colgroup" {
		b.pop()
	}
	switch b.top() {
	case "table":
		return b.implied("tbody") && b.implied("tr") && b.implied("td")
	case "tr":
		return b.implied("td")
	}
	return b.implied("tr") && b.implied("td")
}

func (b *builder) implied(name string) bool {
	return b.push(element{name: name, tag: "<" + name + ">", kind: elements[name]})
}

// text writes characters.
func (b *builder) text(s string) {
	s = plain(s)
	blank := strings.Trim(s, " \t\n\f\u00a0") == ""
	if blank && inRow(b.top()) || !b.cell() {
		return
	}
	if !blank {
		b.settle()
	}
	if n := len(b.stack); n > 0 && b.stack[n-1].fresh && s != "" {
		// HTML 13.1.2.5: a newline after the start tag of pre is not part of its text.
		if e := &b.stack[n-1]; !e.begun {
			e.begun = true
			s = strings.TrimPrefix(s, "\n")
		}
		if strings.HasPrefix(s, "\n") {
			s = "\n" + s
		}
		if s != "" {
			b.touch()
		}
	}
	esc := html.EscapeString(s)
	if !b.full && b.out.Len()+b.closing+b.sheet.size()+len(esc) <= b.o.MaxBytes {
		b.out.WriteString(esc)
		return
	}
	for _, r := range s { // as much as there is room for
		esc = html.EscapeString(string(r))
		if !b.room(len(esc)) {
			return
		}
		b.out.WriteString(esc)
	}
}

// plain drops control characters, of which carriage returns would be read back as newlines.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r < ' ' && r != '\t' && r != '\n' && r != '\f', r == 0x7f:
			return -1
		}
		return r
	}, s)
}
