// Package headers is a filter that judges the form of a message's header: whether it has
// one author, no field twice that may be there once, and nothing in it that programs read
// in different ways. What it looks for is what honest senders do not do, and what those
// do who want one program to judge a message and another to show it otherwise.
//
// Each kind of fault has a mode of its own. It reads the header alone.
package headers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter"
	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/mailauth"
)

// Filter is a filter.Filter. The zero value refuses every fault; a server that takes mail
// from everywhere marks what Syntax finds.
type Filter struct {
	// Author is for a message that has not exactly one From field with exactly one
	// address (RFC 7489, 6.6.1): nobody can be judged for it.
	Author filter.Mode
	// Repeated is for a field that is there more than once, against RFC 5322, 3.6, or
	// RFC 2045, 3: programs differ in which they show.
	Repeated filter.Mode
	// Size is for a header of more than MaxSize bytes or MaxFields fields.
	Size filter.Mode
	// Syntax is for a NUL, a CR or LF alone, another control character, a line of more
	// than 998 bytes (RFC 5322, 2.1.1), bytes that are not UTF-8 (RFC 6532), or a header
	// that ends in a line that is no field.
	Syntax filter.Mode

	MaxSize   int // zero means 256 KiB
	MaxFields int // zero means 1,000
	// Score is what each kind of fault adds that is not only logged; zero means 2.
	Score float64
}

var _ filter.MessageFilter = (*Filter)(nil)

// Name is "x-headers".
func (f *Filter) Name() string { return "x-headers" }

// once are the fields that a message may have once.
var once = []string{
	"date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject",
	"mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-description",
}

// A fault is one that was found.
type fault struct {
	mode filter.Mode
	what string
}

// FilterMessage reads the header.
func (f *Filter) FilterMessage(ctx context.Context, t *filter.Transaction) (filter.Verdict, error) {
	if t.Content == nil || t.Content.Size() == 0 {
		return filter.Verdict{}, nil
	}
	if ctx.Err() != nil {
		return filter.Verdict{}, context.Cause(ctx)
	}
	rc, err := t.Content.Open(ctx)
	if err != nil {
		return filter.Verdict{}, fmt.Errorf("headers: %w", err)
	}
	defer rc.Close()
	faults, err := f.look(rc)
	if err != nil {
		return filter.Verdict{}, fmt.Errorf("headers: %w", err)
	}
	var v filter.Verdict
	var why []string
	for _, x := range faults {
		why = append(why, x.what)
		if x.mode != filter.Log {
			if v.Score += f.Score; f.Score == 0 {
				v.Score += 2
			}
		}
		if x.mode == filter.Enforce && v.Refuse == nil {
			v.Refuse = &mailkeel.Error{Code: 554, Enhanced: [3]int{5, 6, 0}, Message: "message refused: " + x.what}
		}
	}
	v.Why = strings.Join(why, ", ")
	if len(v.Why) > 300 {
		v.Why = v.Why[:300] // it is ASCII
	}
	return v, nil
}

// look returns one fault of each kind at most.
func (f *Filter) look(r io.Reader) (faults []fault, err error) {
	add := func(mode filter.Mode, what string) {
		if what != "" {
			faults = append(faults, fault{mode, what})
		}
	}
	max, fields := f.MaxSize, f.MaxFields
	if max == 0 {
		max = 256 << 10
	}
	if fields == 0 {
		fields = 1000
	}
	h, body, err := header.Read(r, max)
	if errors.Is(err, header.ErrTooLarge) {
		add(f.Size, fmt.Sprintf("the header has more than %d bytes", max))
		return faults, nil
	}
	if err != nil {
		return nil, err
	}
	switch _, err := mailauth.FindAuthor(bytes.NewReader(h.Bytes())); {
	case errors.Is(err, mailauth.ErrNoAuthor):
		_, why, _ := strings.Cut(err.Error(), mailauth.ErrNoAuthor.Error()+": ")
		add(f.Author, why)
	case err != nil:
		return nil, err
	}
	add(f.Repeated, repeated(h))
	if h.Len() > fields {
		add(f.Size, fmt.Sprintf("the header has more than %d fields", fields))
	}
	what, err := syntax(h, body)
	add(f.Syntax, what)
	return faults, err
}

// repeated names a field that is there too often.
func repeated(h *header.Header) string {
	count := make(map[string]int, h.Len())
	for f := range h.Fields() {
		count[strings.ToLower(f.Name())]++
	}
	for _, name := range once {
		if n := count[name]; n > 1 && name != "from" { // of which Author speaks
			return fmt.Sprintf("%d %s fields", n, name)
		}
	}
	return ""
}

// syntax says what is wrong with the bytes of a header.
func syntax(h *header.Header, body io.Reader) (string, error) {
	size := int64(0)
	for f := range h.Fields() {
		raw := f.Raw()
		size += int64(len(raw))
		if what := line(raw); what != "" {
			return what, nil
		}
		if !utf8.Valid(raw) {
			return "bytes in the header are not UTF-8", nil
		}
	}
	if h.Size() > size { // there is a blank line
		if end := h.Bytes()[size:]; string(end) != "\r\n" {
			return "a CR or LF stands alone in the header", nil
		}
		return "", nil
	}
	switch n, err := io.ReadFull(body, make([]byte, 1)); {
	case n > 0:
		return "the header ends in a line that is no field", nil
	case err == io.EOF:
		return "", nil
	default:
		return "", err
	}
}

// line says what is wrong with the lines of a field.
func line(raw []byte) string {
	for len(raw) > 0 {
		text, rest, ended := bytes.Cut(raw, []byte("\n"))
		raw = rest
		if ended {
			var cr bool
			if text, cr = bytes.CutSuffix(text, []byte("\r")); !cr {
				return "a CR or LF stands alone in the header"
			}
		}
		if len(text) > 998 {
			return "a line of the header has more than 998 bytes"
		}
		for _, c := range text {
			switch {
			case c == 0:
				return "the header has a NUL"
			case c == '\r':
				return "a CR or LF stands alone in the header"
			case c < ' ' && c != '\t', c == 0x7f:
				return "the header has a control character"
			}
		}
	}
	return ""
}
