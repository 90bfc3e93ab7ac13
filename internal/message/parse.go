package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel/internal/header"
)

// Limits of one part and of one message. They are far above what mail needs.
const (
	bufferSize  = 32 << 10  // also bounds a delimiter line
	maxHeader   = 1 << 20   // of a header are looked at for fields
	maxField    = 64 << 10  // of a field are kept
	maxList     = 256 << 10 // of a field with addresses
	maxAddrs    = 10_000    // of a list
	maxParams   = 200       // of a field, also pieces of RFC 2231
	maxBoundary = 998
	maxToken    = 127       // a type's name (RFC 6838, 4.2)
	maxKept     = 512 << 10 // of all text in a Message
)

// Parse reads a message to its end. Its only errors are those of r.
//
// A multipart in which no part is found has one child, a text/plain that is its
// whole body. A message/rfc822 in a transfer encoding (which RFC 2046, 5.2.1
// forbids) is a leaf without an Envelope.
func Parse(r io.Reader) (*Message, error) { return newParser(r).run() }

// run parses, and gives back what was borrowed.
func (p *parser) run() (*Message, error) {
	m := p.parse()
	p.r.Reset(nil)
	if p.plain.raw != nil {
		p.plainRoom = p.plain.raw
	}
	if p.html.raw != nil {
		p.htmlRoom = p.html.raw
	}
	p.usual.reset()
	rooms.Put(p.room)
	return m, p.err
}

// A room is the memory that a parser needs for a while.
type room struct {
	r                   *bufio.Reader
	plainRoom, htmlRoom []byte // of samples
	usual               usual
	chunk               [1 << 10]byte
}

// rooms are used again, for a busy server parses thousands of messages a second.
var rooms = sync.Pool{New: func() any { return &room{r: bufio.NewReaderSize(nil, bufferSize)} }}

// A parser goes through the content once, by lines. A line longer than the buffer
// comes in pieces, of which only the first can be a delimiter or begin a field.
type parser struct {
	*room
	err error
	eof bool

	line  []byte // the piece at hand, with its line end
	start int64  // offset of line
	cont  bool   // line is not the beginning of a line
	ends  int64  // line ends before start
	prev  int    // length of the line end before start: 0, 1 or 2

	// open holds the boundaries in force, and where in the stack: the
	// innermost last. level and closing say what the line at hand is: the
	// delimiter of the level-th open multipart, or zero.
	open    map[string][]int
	depth   int // open multiparts
	level   int
	closing bool

	parts int
	kept  int // bytes of text that may still be kept
	fields
	plain, html sample

	// For ParseNames: found hears of each part, and beyond says that there was more
	// than is looked at.
	found  func(*Part, []string, []string)
	beyond bool

	steps int64 // bytes looked at, for tests of growth
}

func newParser(r io.Reader) *parser {
	in := rooms.Get().(*room)
	in.r.Reset(r)
	return &parser{room: in, open: make(map[string][]int), kept: maxKept}
}

func (p *parser) parse() *Message {
	m := new(Message)
	p.next()
	if env := p.part(&m.Root, 0, true, "text", "plain"); env != nil {
		m.Envelope = *env
	}
	if u := &p.usual; !u.none && len(u.b) > 0 {
		m.Usual = bytes.Clone(u.b)
	}
	m.Preview = p.preview()
	return m
}

// next moves to the next piece.
func (p *parser) next() {
	if n := len(p.line); n > 0 {
		p.start += int64(n)
		p.cont, p.prev = true, 0
		if p.line[n-1] == '\n' {
			p.ends++
			p.cont, p.prev = false, 1
			if n > 1 && p.line[n-2] == '\r' {
				p.prev = 2
			}
		}
	}
	if p.eof {
		p.line, p.level = nil, 0
		return
	}
	line, err := p.r.ReadSlice('\n')
	p.line = line
	p.steps += int64(len(line)) + 1
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		p.eof = true
		if !errors.Is(err, io.EOF) {
			p.err = err
		}
	}
	p.classify()
}

// done reports whether the content is at its end.
func (p *parser) done() bool { return len(p.line) == 0 }

// classify finds out whether the line at hand is a delimiter (RFC 2046, 5.1.1).
// Its cost does not depend on how many boundaries are in force. The whole line
// counts, so that a boundary that begins like another one is not taken for it.
func (p *parser) classify() {
	p.level, p.closing = 0, false
	if p.cont || p.depth == 0 || len(p.line) < 3 || p.line[0] != '-' || p.line[1] != '-' {
		return
	}
	rest := bytes.TrimRight(p.line[2:], " \t\r\n")
	if len(rest) > maxBoundary+2 {
		return
	}
	p.steps += int64(len(rest))
	if at := p.open[string(rest)]; len(at) > 0 {
		p.level = at[len(at)-1]
	}
	if rest, ok := bytes.CutSuffix(rest, []byte("--")); ok {
		if at := p.open[string(rest)]; len(at) > 0 && at[len(at)-1] > p.level {
			p.level, p.closing = at[len(at)-1], true
		}
	}
}

func (p *parser) push(boundary string) {
	p.depth++
	p.open[boundary] = append(p.open[boundary], p.depth)
	p.classify()
}

func (p *parser) pop(boundary string) {
	p.depth--
	if at := p.open[boundary]; len(at) > 1 {
		p.open[boundary] = at[:len(at)-1]
	} else {
		delete(p.open, boundary)
	}
}

// skip goes on to the next delimiter or the end, through s if it wants it.
func (p *parser) skip(s *sample) {
	for p.level == 0 && !p.done() {
		if s != nil {
			s.add(p.line)
		}
		p.next()
	}
}

// part parses the part that begins at the line at hand, and stops at the delimiter
// that ends it. It returns the envelope if asked to.
func (p *parser) part(part *Part, depth int, message bool, typ, subtype string) *Envelope {
	p.parts++
	part.HeaderStart = p.start
	p.readHeader(message)
	part.BodyStart = p.start
	ends := p.ends
	boundary := p.describe(part, typ, subtype)
	var env *Envelope
	if message {
		env = p.envelope()
	}
	var last int64 // where the last child ends
	room := depth < MaxDepth && p.parts < MaxParts-1
	switch {
	case part.Type == "multipart" && room:
		p.multipart(part, depth, boundary)
		last = part.Parts[len(part.Parts)-1].End
	case part.holdsMessage() && part.identity() && room:
		part.Parts = make([]Part, 1)
		part.Envelope = p.part(&part.Parts[0], depth+1, true, "text", "plain")
		last = part.Parts[0].End
	default:
		if part.Type == "multipart" || part.holdsMessage() && part.identity() {
			part.opaque()
			p.beyond = p.beyond || !room
		}
		p.skip(p.sampleOf(part))
	}
	p.finish(part, ends, last)
	return env
}

// finish sets where part ends, and how many lines it has, given the line ends
// before its body. The line end before a delimiter belongs to the delimiter.
func (p *parser) finish(part *Part, ends, last int64) {
	part.End = p.start
	part.Lines = p.ends - ends
	if p.level == 0 || p.prev == 0 {
		return
	}
	if end := p.start - int64(p.prev); end >= max(part.BodyStart, last) {
		part.End = end
		part.Lines--
	}
}

// multipart parses the children of part. It leaves one at least.
func (p *parser) multipart(part *Part, depth int, boundary string) {
	before := p.ends
	preamble := sample{limit: 4 * maxPreview}
	if boundary == "" || len(boundary) > maxBoundary {
		p.skip(&preamble)
		p.whole(part, before, preamble)
		return
	}
	typ, subtype := "text", "plain"
	if part.Subtype == "digest" { // RFC 2046, 5.1.5
		typ, subtype = "message", "rfc822"
	}
	p.push(boundary)
	level := p.depth
	p.skip(&preamble)
	for p.level == level && !p.closing {
		p.next()
		part.Parts = append(part.Parts, Part{})
		child := &part.Parts[len(part.Parts)-1]
		if p.parts >= MaxParts-1 {
			p.remainder(child)
			break
		}
		p.part(child, depth+1, false, typ, subtype)
	}
	p.pop(boundary)
	if p.level == level && p.closing {
		p.next() // with the boundary out of force
		p.skip(nil)
	}
	if len(part.Parts) == 0 {
		p.whole(part, before, preamble)
	}
}

// whole makes the body of a multipart, which begins so, its only child.
func (p *parser) whole(part *Part, ends int64, begins sample) {
	p.parts++
	child := Part{Type: "text", Subtype: "plain", Encoding: "7bit"}
	child.HeaderStart, child.BodyStart = part.BodyStart, part.BodyStart
	p.finish(&child, ends, 0)
	if p.plain.part == nil {
		begins.part = &child
		p.plain = begins
	}
	part.Parts = []Part{child}
}

// remainder, the last of MaxParts, makes the rest of the content one leaf: there were too many parts.
func (p *parser) remainder(part *Part) {
	clear(p.open)
	p.level, p.beyond = 0, true
	part.HeaderStart, part.BodyStart = p.start, p.start
	ends := p.ends
	p.skip(nil)
	part.opaque()
	part.Encoding = "7bit"
	p.finish(part, ends, 0)
}

// readHeader collects the fields of the header at hand and stops behind it.
func (p *parser) readHeader(message bool) {
	p.fields.reset()
	begin := p.start
	outermost := p.parts == 1
	if outermost {
		defer p.usual.end()
	}
	field := none // the one at hand, if it is wanted
	folded := false
	for ; p.level == 0 && !p.done(); p.next() {
		switch {
		case p.cont:
			p.fields.add(field, p.line)
			p.usual.add(p.line)
		case header.Blank(p.line):
			p.next()
			return
		case folded && header.Folded(p.line):
			p.fields.add(field, p.line)
			p.usual.add(p.line)
		default:
			colon := header.Colon(p.line)
			if colon < 0 {
				if p.start == begin && header.Mbox(p.line) {
					// Behind a prefix it ends the header, for who selects fields.
					p.usual.none = p.usual.none || outermost
					continue
				}
				return // the blank line is missing
			}
			folded = true
			known, usual := fieldOf(bytes.TrimRight(p.line[:colon], " \t"))
			if field = none; p.start-begin < maxHeader {
				field = p.fields.begin(known, message)
			} else {
				p.beyond = true
			}
			p.fields.add(field, p.line[colon+1:])
			if outermost {
				p.usual.begin(usual)
				p.usual.add(p.line)
			}
		}
	}
}

// text returns s if it may still be kept, and else nothing. It copies, so that a
// short piece does not hold a long field.
func (p *parser) text(s string) string {
	if p.kept -= len(s); p.kept < 0 {
		p.kept = 0
		return ""
	}
	return strings.Clone(s)
}
