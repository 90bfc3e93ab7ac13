package imap

import (
	"github.com/emersion/go-imap/v2"

	"github.com/mailkeel/mailkeel/internal/message"
)

// maxSections is how many sections one FETCH may ask for.
const maxSections = 100

// fetchItems is what a FETCH asks for.
type fetchItems struct {
	imap.FetchOptions
	body  bool     // BODY, beside or instead of BODYSTRUCTURE
	names []string // of each BodySection: "BODY", or the older "RFC822.TEXT"

	written []string            // of each BodySection, its whole name; see sectionName
	filters []func([]byte) bool // likewise; see filter
	usual   []message.Usual     // likewise; see usualSet
	header  []byte              // of the message at hand, used again

	emailID, threadID bool // RFC 8474
	saveDate          bool // RFC 8514
	preview           bool // RFC 8970
	lazy              bool // the preview is not wanted if it takes time
}

// What of a message must be read.
type rowLevel uint8

const (
	noRows   rowLevel = iota // the snapshot says it all
	hotRows                  // date and size
	coldRows                 // what parsing found, and the prefix
)

func (f *fetchItems) level() rowLevel {
	switch {
	case f.Envelope, f.BodyStructure != nil, f.body, f.preview, len(f.BodySection) > 0, len(f.BinarySection) > 0, len(f.BinarySectionSize) > 0:
		return coldRows
	case f.InternalDate, f.RFC822Size, f.emailID, f.threadID, f.saveDate:
		return hotRows
	}
	return noRows
}

func (f *fetchItems) needs(l rowLevel) bool { return f.level() >= l }

// marks reports whether the messages are seen after it (RFC 9051, 6.4.5).
func (f *fetchItems) marks() bool {
	for _, s := range f.BodySection {
		if !s.Peek {
			return true
		}
	}
	for _, s := range f.BinarySection {
		if !s.Peek {
			return true
		}
	}
	return false
}

// fetchItems reads the items of FETCH: one, a macro, or a list.
func (p *parser) fetchItems() *fetchItems {
	f := new(fetchItems)
	if p.peek() == '(' {
		n := 0
		p.list(func() { p.fetchItem(f); n++ })
		if n == 0 {
			p.fail("expected data items")
		}
		return f
	}
	p.fetchItem(f)
	return f
}

func (p *parser) fetchItem(f *fetchItems) {
	switch name := p.item(); name {
	case "UID":
		f.UID = true
	case "MODSEQ":
		f.ModSeq = true
	case "EMAILID":
		f.emailID = true
	case "THREADID":
		f.threadID = true
	case "SAVEDATE":
		f.saveDate = true
	case "PREVIEW":
		f.preview = true
		f.lazy = p.lazy() || f.lazy
	case "FLAGS":
		f.Flags = true
	case "INTERNALDATE":
		f.InternalDate = true
	case "RFC822.SIZE":
		f.RFC822Size = true
	case "ENVELOPE":
		f.Envelope = true
	case "BODYSTRUCTURE":
		f.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	case "FULL":
		f.body = true
		fallthrough
	case "ALL":
		f.Envelope = true
		fallthrough
	case "FAST":
		f.Flags, f.InternalDate, f.RFC822Size = true, true, true
	case "BODY", "BODY.PEEK":
		if name == "BODY" && p.peek() != '[' {
			f.body = true
			break
		}
		s := p.section()
		s.Peek = name == "BODY.PEEK"
		f.add(s, "BODY")
	case "RFC822": // RFC 3501, 6.4.5, as are the next two
		f.add(&imap.FetchItemBodySection{}, name)
	case "RFC822.HEADER":
		f.add(&imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}, name)
	case "RFC822.TEXT":
		f.add(&imap.FetchItemBodySection{Specifier: imap.PartSpecifierText}, name)
	case "BINARY", "BINARY.PEEK":
		s := p.binarySection()
		s.Peek = name == "BINARY.PEEK"
		f.BinarySection = append(f.BinarySection, s)
	case "BINARY.SIZE":
		f.BinarySectionSize = append(f.BinarySectionSize, p.binarySize())
	default:
		p.fail("unknown data item")
	}
	if len(f.BodySection)+len(f.BinarySection)+len(f.BinarySectionSize) > maxSections {
		p.fail("too many sections")
	}
}

func (f *fetchItems) add(s *imap.FetchItemBodySection, name string) {
	f.BodySection = append(f.BodySection, s)
	f.names = append(f.names, name)
}
