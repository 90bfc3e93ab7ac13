package message

import (
	"fmt"
	"reflect"
	"testing"
)

// wellFormed checks what is true of every Message, whatever was parsed.
func wellFormed(t testing.TB, m *Message, size int64) {
	t.Helper()
	if m.Root.HeaderStart != 0 || m.Root.End != size {
		t.Errorf("root is [%d,%d) of %d bytes", m.Root.HeaderStart, m.Root.End, size)
	}
	parts := 0
	var walk func(p *Part, depth int)
	walk = func(p *Part, depth int) {
		parts++
		if depth > MaxDepth {
			t.Errorf("depth %d", depth)
		}
		if p.HeaderStart > p.BodyStart || p.BodyStart > p.End {
			t.Errorf("part is [%d,%d,%d)", p.HeaderStart, p.BodyStart, p.End)
		}
		if p.Lines < 0 || p.Lines > p.End-p.BodyStart {
			t.Errorf("%d lines in %d bytes", p.Lines, p.End-p.BodyStart)
		}
		if p.Type == "" || p.Subtype == "" || p.Encoding == "" {
			t.Errorf("type %q/%q, encoding %q", p.Type, p.Subtype, p.Encoding)
		}
		switch {
		case p.Envelope != nil:
			if !p.holdsMessage() || len(p.Parts) != 1 || p.Parts[0].HeaderStart != p.BodyStart || p.Parts[0].End != p.End || p.Parts[0].Lines > p.Lines {
				t.Errorf("message [%d,%d) %s/%s does not hold %+v", p.BodyStart, p.End, p.Type, p.Subtype, p.Parts)
			}
		case p.Type == "multipart":
			if len(p.Parts) == 0 {
				t.Errorf("a multipart without children")
			}
		case len(p.Parts) > 0:
			t.Errorf("%s/%s has children", p.Type, p.Subtype)
		}
		at := p.BodyStart
		for i := range p.Parts {
			c := &p.Parts[i]
			if c.HeaderStart < at || c.End > p.End {
				t.Errorf("child [%d,%d) is not in [%d,%d)", c.HeaderStart, c.End, at, p.End)
			}
			at = c.End
			walk(c, depth+1)
		}
	}
	walk(&m.Root, 0)
	if parts > MaxParts {
		t.Errorf("%d parts", parts)
	}
	if n := len([]rune(m.Preview)); n > maxPreview {
		t.Errorf("preview of %d characters", n)
	}

	p, err := DecodePart(EncodePart(&m.Root))
	if err != nil || !reflect.DeepEqual(p, m.Root) {
		t.Errorf("part does not survive encoding: %v\n%.500s\n%.500s", err, fmt.Sprintf("%+v", p), fmt.Sprintf("%+v", m.Root))
	}
	e, err := DecodeEnvelope(EncodeEnvelope(&m.Envelope, m.Usual))
	if err != nil || !reflect.DeepEqual(e, m.Envelope) {
		t.Errorf("envelope does not survive encoding: %v\n%.500s\n%.500s", err, fmt.Sprintf("%+v", e), fmt.Sprintf("%+v", m.Envelope))
	}
}
