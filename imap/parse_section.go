package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// maxSectionParts is how deep a section may point into a message.
const maxSectionParts = 100

// maxHeaderFields is how many names HEADER.FIELDS may list.
const maxHeaderFields = 500

// section reads what follows BODY or BODY.PEEK: "[" section-spec "]" and perhaps
// "<" offset "." size ">" (RFC 9051, section).
func (p *parser) section() *imap.FetchItemBodySection {
	s := &imap.FetchItemBodySection{}
	p.want('[')
	s.Part = p.sectionPart()
	if c := p.peek(); p.ok() && c != ']' {
		switch name := p.item(); name {
		case "HEADER", "TEXT":
			s.Specifier = imap.PartSpecifier(name)
		case "MIME":
			s.Specifier = imap.PartSpecifierMIME
			if len(s.Part) == 0 {
				p.fail("MIME needs a part number")
			}
		case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
			s.Specifier = imap.PartSpecifierHeader
			p.sp()
			fields := p.headerFields()
			if name == "HEADER.FIELDS" {
				s.HeaderFields = fields
			} else {
				s.HeaderFieldsNot = fields
			}
		default:
			p.fail("unknown section")
		}
	}
	p.want(']')
	s.Partial = p.partial()
	return s
}

// binarySection reads what follows BINARY or BINARY.PEEK (RFC 9051, 6.4.5.2): a
// part alone.
func (p *parser) binarySection() *imap.FetchItemBinarySection {
	p.want('[')
	part := p.sectionPart()
	p.want(']')
	return &imap.FetchItemBinarySection{Part: part, Partial: p.partial()}
}

// binarySize reads what follows BINARY.SIZE.
func (p *parser) binarySize() *imap.FetchItemBinarySectionSize {
	p.want('[')
	part := p.sectionPart()
	p.want(']')
	return &imap.FetchItemBinarySectionSize{Part: part}
}

// sectionPart reads "1.2.3", and the dot after it if a name follows.
func (p *parser) sectionPart() (part []int) {
	for isDigit(p.peek()) {
		part = append(part, int(p.nzNumber()))
		if len(part) > maxSectionParts {
			p.fail("section is too deep")
		}
		if !p.take('.') {
			break
		}
		if c := p.peek(); c == ']' || c == 0 {
			p.fail("section ends in a dot")
		}
	}
	if c := p.peek(); len(part) > 0 && c != ']' && !isItemChar(c) {
		p.fail("bad section")
	}
	return part
}

// headerFields reads the list of names of HEADER.FIELDS; it is not empty.
func (p *parser) headerFields() (fields []string) {
	p.list(func() {
		f := p.astring()
		if p.ok() && (!isFieldName(f) || len(fields) == maxHeaderFields) {
			p.fail("bad header field name")
		}
		fields = append(fields, f)
	})
	if len(fields) == 0 {
		p.fail("expected header field names")
	}
	return fields
}

// isFieldName reports whether a field may have this name (RFC 5322, 2.2).
func isFieldName(s string) bool {
	return s != "" && len(s) < 998 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) < 0
}

// partial reads "<" offset "." size ">" if it is there.
func (p *parser) partial() *imap.SectionPartial {
	if !p.take('<') {
		return nil
	}
	s := &imap.SectionPartial{Offset: p.number64()}
	p.want('.')
	if s.Size = p.number64(); s.Size == 0 {
		p.fail("size is zero")
	}
	p.want('>')
	return s
}
