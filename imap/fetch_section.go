package imap

import (
	"bytes"
	"io"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/linewriter"
	"github.com/mailkeel/mailkeel/internal/message"
)

// An extent is n bytes of a message, its prefix included, from off.
type extent struct{ off, n int64 }

// partial clips x to what the client asks for.
func (x extent) partial(p *imap.SectionPartial) extent {
	if p == nil {
		return x
	}
	skip := min(p.Offset, x.n)
	return extent{x.off + skip, min(p.Size, x.n-skip)}
}

// find returns the part that numbers name (RFC 9051, 6.4.5.1), and nil if there is
// none.
func find(root *message.Part, numbers []int) *message.Part {
	p, inside := root, true // inside: p is a message, whose parts are numbered
	for _, n := range numbers {
		if !inside && p.Envelope != nil {
			p, inside = &p.Parts[0], true
		}
		switch {
		case len(p.Parts) > 0 && p.Envelope == nil:
			if n > len(p.Parts) {
				return nil
			}
			p = &p.Parts[n-1]
		case !inside || n != 1: // only the body of a message is its part 1
			return nil
		}
		inside = false
	}
	return p
}

// locate finds a section that is one extent.
func (e *entry) locate(part []int, spec imap.PartSpecifier) (x extent, ok bool, err error) {
	if len(part) == 0 && spec != imap.PartSpecifierMIME {
		return e.locateRoot(spec)
	}
	root, err := e.structure()
	if err != nil {
		return extent{}, false, err
	}
	p := find(root, part)
	if p != nil && len(part) > 0 && (spec == imap.PartSpecifierHeader || spec == imap.PartSpecifierText) {
		if p.Envelope == nil {
			return extent{}, false, nil // these are for messages
		}
		p = &p.Parts[0]
	}
	if p == nil {
		return extent{}, false, nil
	}
	prefix := int64(len(e.cold.Prefix))
	from, to := p.BodyStart+prefix, p.End+prefix
	if spec == imap.PartSpecifierHeader || spec == imap.PartSpecifierMIME {
		from, to = p.HeaderStart+prefix, p.BodyStart+prefix
		if p == root {
			from = 0
		}
	}
	return extent{from, to - from}, true, nil
}

// locateRoot is locate for the whole message, its header or its text.
func (e *entry) locateRoot(spec imap.PartSpecifier) (x extent, ok bool, err error) {
	if spec == imap.PartSpecifierNone {
		return extent{0, e.msg.Size}, true, nil
	}
	if e.err != nil {
		return extent{}, false, e.err
	}
	_, body, end, err := message.RootOffsets(e.cold.Structure)
	if err != nil {
		return extent{}, false, err
	}
	prefix := int64(len(e.cold.Prefix))
	if spec == imap.PartSpecifierHeader {
		return extent{0, body + prefix}, true, nil
	}
	return extent{body + prefix, end - body}, true, nil
}

// open returns a reader of x.
func (c *conn) open(e *entry, x extent) (io.ReadCloser, error) {
	if e.err != nil {
		return nil, e.err
	}
	return c.access.OpenAt(c.ctx, *e.msg, e.cold, x.off, x.n)
}

// writeSection writes the bytes of section i, after a space. One that is not there is
// NIL.
func (c *conn) writeSection(e *entry, items *fetchItems, i int) error {
	s := items.BodySection[i]
	x, ok, err := e.locate(s.Part, s.Specifier)
	if err != nil {
		return err
	}
	c.w.sp()
	if !ok {
		c.w.raw("NIL")
		return nil
	}
	if len(s.HeaderFields)+len(s.HeaderFieldsNot) == 0 {
		return c.writeExtent(e, x.partial(s.Partial), false)
	}
	keep := items.filter(i)
	if held, ok := e.usualFields(items, i); ok {
		c.writeHeld(held, s.Partial)
		return nil
	}
	if x.n <= maxHeld {
		return c.writeFields(e, x, s.Partial, items, keep)
	}
	return c.writeDerived(s.Partial, false, func() (io.ReadCloser, error) {
		rc, err := c.open(e, x)
		if err != nil {
			return nil, err
		}
		return readCloser{header.Select(rc, keep), rc}, nil
	})
}

// writeFields writes some fields of a header that is read in one piece, into memory of
// the command.
func (c *conn) writeFields(e *entry, x extent, partial *imap.SectionPartial, items *fetchItems, keep func([]byte) bool) (err error) {
	if e.err != nil {
		return e.err
	}
	if items.header, err = c.access.AppendAt(c.ctx, items.header[:0], e.msg, &e.cold, x.off, x.n); err != nil {
		return err
	}
	if int64(len(items.header)) < x.n {
		return io.ErrUnexpectedEOF
	}
	c.writeHeld(header.AppendSelected(items.header[:0], items.header, keep), partial)
	return nil
}

// writeHeld writes a section that is in memory.
func (c *conn) writeHeld(held []byte, partial *imap.SectionPartial) {
	p := extent{0, int64(len(held))}.partial(partial)
	if p.n == 0 {
		c.w.string("")
		return
	}
	c.w.literal(p.n)
	c.w.text(held[p.off : p.off+p.n])
}

// usualFields returns the fields that section i asks for without reading the message, if
// its row has them: what is there is what selecting from the whole header would give. It
// is in the memory of the command.
func (e *entry) usualFields(items *fetchItems, i int) (held []byte, ok bool) {
	s := items.BodySection[i]
	set := items.usualSet(i)
	if set == 0 || len(s.Part) > 0 || s.Specifier != imap.PartSpecifierHeader || e.err != nil {
		return nil, false
	}
	held = items.header[:0]
	if len(e.cold.Prefix) > 0 {
		// A prefix that does not end between two fields changes what follows.
		if held, ok = header.AppendFields(held, e.cold.Prefix, items.filter(i)); !ok {
			return nil, false
		}
	}
	if held, ok = message.AppendUsual(held, e.cold.Envelope, set); !ok {
		return nil, false
	}
	held = append(held, '\r', '\n')
	items.header = held
	return held, true
}

type readCloser struct {
	io.Reader
	io.Closer
}

// writeExtent streams x as a literal.
func (c *conn) writeExtent(e *entry, x extent, binary bool) error {
	if x.n == 0 {
		c.w.string("")
		return nil
	}
	rc, err := c.open(e, x)
	if err != nil {
		return err
	}
	defer rc.Close()
	return c.w.stream(rc, x.n, binary)
}

// maxHeld is how much of a section is held in memory while its size is not known.
const maxHeld = 32 << 10

// writeDerived streams a section whose size is known only after reading it. If it is
// more than a little it is read twice.
func (c *conn) writeDerived(partial *imap.SectionPartial, binary bool, open func() (io.ReadCloser, error)) error {
	rc, err := open()
	if err != nil {
		return err
	}
	held, err := io.ReadAll(io.LimitReader(rc, maxHeld))
	size := int64(len(held))
	if err == nil && size == maxHeld {
		var more int64
		more, err = io.Copy(io.Discard, rc)
		size += more
	}
	rc.Close()
	if err != nil {
		return err
	}
	x := extent{0, size}.partial(partial)
	switch {
	case x.n == 0:
		c.w.string("")
		return nil
	case x.off+x.n <= int64(len(held)):
		return c.w.stream(bytes.NewReader(held[x.off:x.off+x.n]), x.n, binary)
	}
	if rc, err = open(); err != nil {
		return err
	}
	defer rc.Close()
	if _, err := io.CopyN(io.Discard, rc, x.off); err != nil {
		return err
	}
	return c.w.stream(rc, x.n, binary)
}

// fieldFilter returns which fields HEADER.FIELDS and HEADER.FIELDS.NOT keep.
func fieldFilter(s *imap.FetchItemBodySection) func([]byte) bool {
	names, found := s.HeaderFields, true
	if len(names) == 0 {
		names, found = s.HeaderFieldsNot, false
	}
	set := make(map[string]bool, len(names))
	longest := 0
	var lengths [64]bool // most names are of a length that nobody asks for
	for _, n := range names {
		set[strings.ToLower(n)] = true
		longest = max(longest, len(n))
		lengths[len(n)%len(lengths)] = true
	}
	low := make([]byte, 0, longest)
	return func(name []byte) bool {
		if len(name) > longest || !lengths[len(name)%len(lengths)] {
			return !found
		}
		low = low[:0]
		for _, b := range name {
			if b >= 'A' && b <= 'Z' {
				b += 'a' - 'A'
			}
			low = append(low, b)
		}
		return set[string(low)] == found
	}
}

// filter returns that of a section, which is made once for all messages.
func (f *fetchItems) filter(i int) func([]byte) bool {
	for len(f.filters) <= i {
		f.filters = append(f.filters, fieldFilter(f.BodySection[len(f.filters)]))
	}
	return f.filters[i]
}

// usualSet is the set of fields that a section asks for, if all are usual, or zero.
func (f *fetchItems) usualSet(i int) message.Usual {
	for len(f.usual) <= i {
		var set message.Usual
		if names := f.BodySection[len(f.usual)].HeaderFields; len(names) > 0 {
			set, _ = message.UsualFields(names)
		}
		f.usual = append(f.usual, set)
	}
	return f.usual[i]
}

// sectionName writes the name of section i, which is made once for all messages.
func (c *conn) sectionName(f *fetchItems, i int) {
	for len(f.written) <= i {
		f.written = append(f.written, sectionName(f.BodySection[len(f.written)], f.names[len(f.written)], c.w.utf8))
	}
	c.w.raw(f.written[i])
}

// sectionName returns the name of a section as the client gave it.
func sectionName(s *imap.FetchItemBodySection, name string, utf8 bool) string {
	var b bytes.Buffer
	w := writer{Writer: linewriter.Writer{W: &b}, utf8: utf8}
	w.sectionName(s, name)
	w.crlf()
	w.release() // a Buffer has no errors
	return strings.TrimSuffix(b.String(), "\r\n")
}

func (w *writer) sectionName(s *imap.FetchItemBodySection, name string) {
	w.raw(name)
	if name != "BODY" {
		return
	}
	w.byte('[')
	w.numbers(s.Part)
	if s.Specifier != imap.PartSpecifierNone {
		if len(s.Part) > 0 {
			w.byte('.')
		}
		w.raw(string(s.Specifier))
	}
	fields := s.HeaderFields
	if len(fields) > 0 {
		w.raw(".FIELDS")
	} else if fields = s.HeaderFieldsNot; len(fields) > 0 {
		w.raw(".FIELDS.NOT")
	}
	for i, f := range fields {
		if w.sp(); i == 0 {
			w.byte('(')
		}
		if strings.IndexFunc(f, func(r rune) bool { return r > 126 || !isAString(byte(r)) }) < 0 {
			w.raw(f)
		} else {
			w.string(f)
		}
	}
	if len(fields) > 0 {
		w.byte(')')
	}
	w.byte(']')
	w.origin(s.Partial)
}

// numbers writes "1.2.3".
func (w *writer) numbers(part []int) {
	for i, n := range part {
		if i > 0 {
			w.byte('.')
		}
		w.num(uint64(n))
	}
}

// part writes "[1.2.3]".
func (w *writer) part(part []int) {
	w.byte('[')
	w.numbers(part)
	w.byte(']')
}

// origin writes where a partial section begins.
func (w *writer) origin(p *imap.SectionPartial) {
	if p != nil {
		w.byte('<')
		w.num(uint64(p.Offset))
		w.byte('>')
	}
}
