// Package searchtext finds the texts of a message that a search looks into: once, for
// search with and without an index.
package searchtext

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/internal/textfold"
)

const (
	// MaxHeader is how much of one header a search looks at, in bytes.
	MaxHeader = 256 << 10
	// Small is up to what size a message is best read as a whole.
	Small = 8 << 10
	// smallPart is up to what size a part is.
	smallPart = 64 << 10
)

// A Message is the bytes of one, with its structure.
type Message struct {
	Root   *message.Part
	Prefix int64 // bytes in front of what Root counts from
	// Raw is the whole message, prefix and all. If it is nil, Open reads n bytes of
	// it from off, or all that follows if n < 0.
	Raw []byte
	// Head is the header, or the first MaxHeader of it, if that was read and Raw not.
	Head []byte
	Open func(off, n int64) (io.ReadCloser, error)
}

// A Sink takes the texts of a message, each by itself: a phrase does not go on from one
// to the next. They are UTF-8, and not folded.
type Sink interface {
	// Text takes a whole text, which is valid until it returns. ascii says that it is
	// known to be ASCII.
	Text(text []byte, ascii bool)
	// Stream takes a text that may be long.
	Stream(io.Reader) error
	// Done says that the rest is of no interest.
	Done() bool
}

// EnvelopeText returns the text of a header field, by its name in lower case, that an
// envelope has, as people read it; false for the others. No text may mean that the
// field is there, and empty.
func EnvelopeText(env *message.Envelope, field string) (text string, ok bool) {
	switch field {
	case "subject":
		return message.DecodeHeader(env.Subject), true
	case "date":
		return env.Date, true
	case "message-id":
		return env.MessageID, true
	case "in-reply-to":
		return env.InReplyTo, true
	case "from":
		return addressText(env.From), true
	case "sender":
		return addressText(env.Sender), true
	case "reply-to":
		return addressText(env.ReplyTo), true
	case "to":
		return addressText(env.To), true
	case "cc":
		return addressText(env.Cc), true
	case "bcc":
		return addressText(env.Bcc), true
	}
	return "", false
}

// EnvelopeFields are the names that EnvelopeText knows.
var EnvelopeFields = [...]string{"subject", "date", "message-id", "in-reply-to", "from", "sender", "reply-to", "to", "cc", "bcc"}

// addressText is what is searched of a list of addresses: names as people read
// them, and addresses.
func addressText(list []message.Address) string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		if a.Name != "" {
			b.WriteString(message.DecodeHeader(a.Name))
			b.WriteByte(' ')
		}
		if a.Host == "" {
			b.WriteString(message.DecodeHeader(a.Mailbox))
			continue
		}
		b.WriteString("<" + a.Mailbox + "@" + a.Host + ">")
	}
	return b.String()
}

// FieldText is the text of a field of a header.
func FieldText(f header.Field) string { return message.DecodeHeader(f.Value()) }

// LineText is what is searched of a field where any text is looked for.
func LineText(f header.Field) string { return f.Name() + ": " + FieldText(f) }

// Header returns the header of the message, or the beginning of a long one.
func (m *Message) Header() (*header.Header, error) {
	if m.Raw == nil && m.Head != nil {
		h, _, err := header.Read(bytes.NewReader(m.Head), MaxHeader+1)
		return h, err
	}
	return m.header(0, m.Prefix+m.Root.BodyStart)
}

// HeaderSize is how many bytes of the message Header looks at.
func (m *Message) HeaderSize() int64 { return min(m.Prefix+m.Root.BodyStart, MaxHeader) }

// RawHeader is the bytes of Header, or nil if neither Raw nor Head is there.
func (m *Message) RawHeader() []byte {
	if m.Raw == nil {
		return m.Head
	}
	return m.slice(0, min(m.Prefix+m.Root.BodyStart, MaxHeader))
}

func (m *Message) header(off, n int64) (*header.Header, error) {
	n = min(n, MaxHeader)
	var r io.Reader
	if m.Raw != nil {
		r = bytes.NewReader(m.slice(off, n))
	} else {
		rc, err := m.Open(off, n)
		if err != nil {
			return nil, err
		}
		defer rc.Close()
		r = rc
	}
	h, _, err := header.Read(r, MaxHeader+1)
	return h, err
}

func (m *Message) slice(off, n int64) []byte {
	size := int64(len(m.Raw))
	off = min(max(off, 0), size)
	return m.Raw[off:min(max(off, off+n), size)]
}

// Body gives s the texts below the header of the message: texts of parts, names of
// attachments, and headers of messages inside.
func (m *Message) Body(ctx context.Context, s Sink) error {
	w := walker{Message: m, s: s, ctx: ctx}
	defer w.close()
	return w.part(m.Root)
}

// A walker reads parts of a message in order, through one reader where they lie
// near each other.
type walker struct {
	*Message
	s    Sink
	ctx  context.Context
	rc   io.ReadCloser
	off  int64  // of what rc gives next
	raw  []byte // room of a part
	room []byte // of decoded text
}

// maxSkipped is how much is read and thrown away rather than opened anew.
const maxSkipped = 64 << 10

// at returns a reader of n bytes from off, which is valid until the next call.
func (w *walker) at(off, n int64) (io.Reader, error) {
	if skip := off - w.off; w.rc == nil || skip < 0 || skip > maxSkipped {
		w.close()
		rc, err := w.Open(off, -1)
		if err != nil {
			return nil, err
		}
		w.rc, w.off = rc, off
	} else if _, err := io.CopyN(io.Discard, w, skip); err != nil {
		return nil, err
	}
	return io.LimitReader(w, n), nil
}

func (w *walker) Read(b []byte) (int, error) {
	n, err := w.rc.Read(b)
	w.off += int64(n)
	return n, err
}

func (w *walker) close() {
	if w.rc != nil {
		w.rc.Close()
		w.rc = nil
	}
}

func (w *walker) part(p *message.Part) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	for _, list := range [][]message.Param{p.Params, p.DispositionParams} {
		for _, a := range list {
			if a.Name == "name" || a.Name == "filename" {
				w.s.Text([]byte(a.Value), false)
			}
		}
	}
	if p.Envelope != nil {
		in := &p.Parts[0]
		h, err := w.header(in.HeaderStart+w.Prefix, in.BodyStart-in.HeaderStart)
		if err != nil {
			return err
		}
		for x := range h.Fields() {
			w.s.Text([]byte(LineText(x)), false)
		}
	}
	for i := range p.Parts {
		if w.s.Done() {
			return nil
		}
		if err := w.part(&p.Parts[i]); err != nil {
			return err
		}
	}
	// Messages without a structure are text too, like reports of delivery.
	if len(p.Parts) > 0 || p.Type != "text" && p.Type != "message" {
		return nil
	}
	off, n := p.BodyStart+w.Prefix, p.End-p.BodyStart
	raw := w.slice(off, n)
	if w.Raw == nil {
		body, err := w.at(off, n)
		if err != nil {
			return err
		}
		if n > smallPart {
			return w.s.Stream(text(p, body))
		}
		if int64(cap(w.raw)) < n {
			w.raw = make([]byte, n)
		}
		got, err := io.ReadFull(body, w.raw[:n])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		raw = w.raw[:got]
	}
	if p.Subtype != "html" && p.Plain() && textfold.ASCII(raw) {
		w.s.Text(raw, true) // it is what it stands for
		return nil
	}
	w.room = w.room[:0]
	for r := text(p, bytes.NewReader(raw)); ; {
		if len(w.room) == cap(w.room) {
			w.room = append(w.room, 0)[:len(w.room)]
		}
		n, err := r.Read(w.room[len(w.room):cap(w.room)])
		if w.room = w.room[:len(w.room)+n]; err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	w.s.Text(w.room, false)
	return nil
}

// text returns the text of a leaf.
func text(p *message.Part, body io.Reader) io.Reader {
	r := p.Text(body)
	if p.Subtype == "html" {
		r = message.PlainText(r)
	}
	return r
}
