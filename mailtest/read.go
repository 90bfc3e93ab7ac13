package mailtest

import (
	"bytes"
	"io"
	"iter"
	"strings"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
)

// parsed is what a Message holds, found when somebody first asks.
type parsed struct {
	header *header.Header
	root   message.Part
}

func (m *Message) parse() *parsed {
	m.once.Do(func() {
		// Nothing fails for what the bytes are, nor for where they come from.
		m.read.header, _, _ = header.Read(bytes.NewReader(m.Raw), len(m.Raw)+1)
		if p, err := message.Parse(bytes.NewReader(m.Raw)); err == nil {
			m.read.root = p.Root
		}
	})
	return &m.read
}

// Header returns the first field of this name, unfolded and decoded, or "".
func (m *Message) Header(name string) string {
	if all := m.Headers(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Headers returns all fields of this name, unfolded and decoded, from the top.
func (m *Message) Headers(name string) (all []string) {
	if h := m.parse().header; h != nil {
		for f := range h.All(name) {
			all = append(all, message.DecodeHeader(f.Value()))
		}
	}
	return all
}

// Fields yields the name and the decoded value of each field of the header, in order.
func (m *Message) Fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if h := m.parse().header; h != nil {
			for f := range h.Fields() {
				if !yield(f.Name(), message.DecodeHeader(f.Value())) {
					return
				}
			}
		}
	}
}

// Body returns what follows the header, as it came.
func (m *Message) Body() string { return string(m.Raw[m.parse().root.BodyStart:]) }

// Text returns the text of the message: its first text/plain part that is no
// attachment, decoded, with LF; if it has none, the text of its HTML.
func (m *Message) Text() string {
	if p := find(&m.parse().root, "plain"); p != nil {
		return m.text(p)
	}
	return m.htmlText()
}

// HTML returns its first text/html part that is no attachment, decoded, or "".
func (m *Message) HTML() string {
	if p := find(&m.parse().root, "html"); p != nil {
		return m.text(p)
	}
	return ""
}

// htmlText is what one reads of the HTML.
func (m *Message) htmlText() string {
	if p := find(&m.parse().root, "html"); p != nil {
		b, _ := io.ReadAll(message.PlainText(p.Text(bytes.NewReader(m.Raw[p.BodyStart:p.End]))))
		return strings.TrimSpace(string(b))
	}
	return ""
}

func (m *Message) text(p *message.Part) string {
	b, _ := io.ReadAll(p.Text(bytes.NewReader(m.Raw[p.BodyStart:p.End])))
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// find returns the first part that is text of this subtype and not an attachment.
func find(p *message.Part, subtype string) *message.Part {
	if p.Type == "text" && p.Subtype == subtype && p.Disposition != "attachment" {
		return p
	}
	if p.Envelope != nil { // somebody else's text
		return nil
	}
	for i := range p.Parts {
		if found := find(&p.Parts[i], subtype); found != nil {
			return found
		}
	}
	return nil
}
