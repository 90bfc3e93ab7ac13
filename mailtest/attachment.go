package mailtest

import (
	"bytes"
	"io"
	"strings"

	"github.com/mailkeel/mailkeel/internal/message"
)

// An Attachment is a part of a message that is not its text.
type Attachment struct {
	Name      string // decoded; empty if it has none
	Type      string // "application/pdf"
	ContentID string // without < >, for "cid:" in HTML
	Inline    bool   // shown within the text
	Data      []byte // decoded
}

// Attachments returns the parts that are not the text of the message, in order: those
// that say so, those that have a name, and all that is neither text nor a container.
// A message that is attached is one of them, whole.
func (m *Message) Attachments() []Attachment { return m.attachments(&m.parse().root, nil) }

func (m *Message) attachments(p *message.Part, all []Attachment) []Attachment {
	if p.Type == "multipart" {
		for i := range p.Parts {
			all = m.attachments(&p.Parts[i], all)
		}
		return all
	}
	name := param(p.DispositionParams, "filename")
	if name == "" {
		name = param(p.Params, "name")
	}
	if p.Type == "text" && p.Disposition != "attachment" && name == "" {
		return all
	}
	data, _ := io.ReadAll(p.Reader(bytes.NewReader(m.Raw[p.BodyStart:p.End])))
	return append(all, Attachment{
		Name: message.DecodeHeader(name), Type: p.Type + "/" + p.Subtype, ContentID: strings.Trim(p.ID, "<>"),
		Inline: p.Disposition == "inline" || p.Disposition == "" && p.ID != "", Data: data,
	})
}

// Attachment returns the first with this name, or nil.
func (m *Message) Attachment(name string) *Attachment {
	for _, a := range m.Attachments() {
		if a.Name == name {
			return &a
		}
	}
	return nil
}

func param(all []message.Param, name string) string {
	for _, p := range all {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}
