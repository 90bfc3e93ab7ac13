package message

import (
	"bytes"
	"errors"
	"testing"
)

func TestCorruptRowsAreErrors(t *testing.T) {
	m := parse(t, "From: A <a@b>\nReferences: <a> <b>\n"+mixed+"--A\n"+rfc+"Subject: in\n\none\n--A\n\ntwo\n--A--\n")
	part, env := EncodePart(&m.Root), EncodeEnvelope(&m.Envelope, m.Usual)
	for i := range part {
		if _, err := DecodePart(part[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d of %d bytes of a part: %v", i, len(part), err)
		}
	}
	for i := range env {
		if _, err := DecodeEnvelope(env[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d of %d bytes of an envelope: %v", i, len(env), err)
		}
	}
	for _, b := range [][]byte{append(part, 0), append([]byte{9}, part[1:]...)} {
		if _, err := DecodePart(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", b, err)
		}
	}
	if _, err := DecodeEnvelope(append(env, 0)); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestTheEnvelopeOfAnEmptyHeaderIsSmall(t *testing.T) {
	if n := len(EncodeEnvelope(&Envelope{}, nil)); n > 16 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzDecodePart(f *testing.F) {
	for _, tt := range shapes {
		m := parse(f, tt.content)
		f.Add(EncodePart(&m.Root))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, at, end, oerr := RootOffsets(b)
		if q, err := DecodePart(b); err == nil && (oerr != nil || h != q.HeaderStart || at != q.BodyStart || end != q.End) {
			t.Fatalf("%d, %d, %d, %v of %+v", h, at, end, oerr, q)
		}
		p, err := DecodePart(b)
		if err != nil {
			return
		}
		if again, err := DecodePart(EncodePart(&p)); err != nil || !bytes.Equal(EncodePart(&again), EncodePart(&p)) {
			t.Errorf("%+v is not what comes back: %v", p, err)
		}
	})
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(EncodeEnvelope(&Envelope{Subject: "x", From: []Address{{"a", "b", "c"}}, References: []string{"r"}}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		if again, err := DecodeEnvelope(EncodeEnvelope(&v, nil)); err != nil || !bytes.Equal(EncodeEnvelope(&again, nil), EncodeEnvelope(&v, nil)) {
			t.Errorf("%+v is not what comes back: %v", v, err)
		}
	})
}
