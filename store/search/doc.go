package search

import (
	"context"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/internal/searchtext"
	"github.com/mailkeel/mailkeel/internal/textfold"
	"github.com/mailkeel/mailkeel/store"
)

// Limits of one Doc. A message beyond them is searched without the index, all of it or
// its body.
const (
	maxBody   = 1 << 20
	maxFields = 1000
)

// docOf reads a message. ok is false if the index had better not know it: it cannot be
// read as it is, or is beyond the limits. An error is that of ctx.
func docOf(ctx context.Context, a *store.Access, m store.Message, c store.Cold) (d Doc, ok bool, err error) {
	if c.Check(&m) != nil {
		return d, false, nil
	}
	env, err := message.DecodeEnvelope(c.Envelope)
	if err != nil {
		return d, false, nil
	}
	root, err := message.DecodePart(c.Structure)
	if err != nil {
		return d, false, nil
	}
	in := searchtext.Message{Root: &root, Prefix: int64(len(c.Prefix)), Open: func(off, n int64) (io.ReadCloser, error) {
		return a.OpenAt(ctx, m, c, off, n)
	}}
	if m.Size <= searchtext.Small {
		rc, err := a.OpenAt(ctx, m, c, 0, -1)
		if err != nil {
			return d, false, ctx.Err()
		}
		in.Raw = make([]byte, m.Size)
		n, err := io.ReadFull(rc, in.Raw)
		rc.Close()
		if err != nil && err != io.ErrUnexpectedEOF {
			return d, false, ctx.Err()
		}
		in.Raw = in.Raw[:n]
	}
	h, err := in.Header()
	if err != nil || h.Len() > maxFields {
		return d, false, ctx.Err()
	}
	d = Doc{Mailbox: m.Mailbox, UID: m.UID}
	t := docText{d: &d}
	known := map[string]bool{}
	for _, name := range searchtext.EnvelopeFields {
		known[name] = true
		text, _ := searchtext.EnvelopeText(&env, name)
		if text != "" || h.Has(name) {
			d.Fields = append(d.Fields, HeaderField{name, textfold.String(text)})
		}
	}
	for x := range h.Fields() {
		d.Header = t.add(d.Header, []byte(searchtext.LineText(x)))
		if name := strings.ToLower(x.Name()); !known[name] {
			d.Fields = append(d.Fields, HeaderField{name, textfold.String(searchtext.FieldText(x))})
		}
	}
	if err := in.Body(ctx, &t); err != nil {
		return d, false, ctx.Err()
	}
	return d, true, nil
}

// docText is a searchtext.Sink that gathers.
type docText struct {
	d    *Doc
	fold textfold.Folder
	in   []byte
}

// add appends a text, behind a line feed if it is not the first. A text begins anew
// what is folded: the line feed is no space to it.
func (t *docText) add(b, text []byte) []byte {
	if len(b) > 0 {
		b = append(b, '\n')
	}
	return t.fold.Append(b, text)
}

func (t *docText) Text(text []byte, _ bool) {
	t.d.Body = t.add(t.d.Body, text)
	t.cut()
}

// cut keeps the body within its limit.
func (t *docText) cut() {
	if len(t.d.Body) <= maxBody {
		return
	}
	n := maxBody
	for !utf8.RuneStart(t.d.Body[n]) {
		n--
	}
	t.d.Body, t.d.Long = t.d.Body[:n], true
}

func (t *docText) Stream(r io.Reader) error {
	if t.in == nil {
		t.in = make([]byte, 8<<10)
	}
	if len(t.d.Body) > 0 {
		t.d.Body = append(t.d.Body, '\n')
	}
	left := 0
	for !t.Done() {
		n, err := r.Read(t.in[left:])
		n += left
		whole := n
		if err == nil {
			whole = textfold.Closed(t.in[:n])
		}
		t.d.Body = t.fold.Append(t.d.Body, t.in[:whole])
		t.cut()
		left = copy(t.in, t.in[whole:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Done reports whether no more is kept. What is left out makes the Doc Long.
func (t *docText) Done() bool { return t.d.Long }
