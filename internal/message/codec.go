package message

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt means that bytes are not what EncodeEnvelope or EncodePart wrote.
var ErrCorrupt = errors.New("message: corrupt encoding")

// The form of what is kept in a row: a version, then numbers as varints and strings
// with their length before them. Offsets are differences from the one before. An
// envelope has the usual fields before it.
const (
	codecVersion = 3
	partVersion  = 2
)

// Outdated reports whether b is not what EncodeEnvelope writes now: empty, or of an older
// version. The message is then parsed again.
func Outdated(b []byte) bool { return len(b) == 0 || b[0] < codecVersion }

type encoder struct {
	b    []byte
	last int64
}

func (e *encoder) num(n int)      { e.b = binary.AppendUvarint(e.b, uint64(n)) }
func (e *encoder) str(s string)   { e.num(len(s)); e.b = append(e.b, s...) }
func (e *encoder) int64(n int64)  { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) offset(n int64) { e.int64(n - e.last); e.last = n }

func (e *encoder) strs(list []string) {
	e.num(len(list))
	for _, s := range list {
		e.str(s)
	}
}

func (e *encoder) params(list []Param) {
	e.num(len(list))
	for _, p := range list {
		e.str(p.Name)
		e.str(p.Value)
	}
}

func (e *encoder) addresses(list []Address) {
	e.num(len(list))
	for _, a := range list {
		e.str(a.Name)
		e.str(a.Mailbox)
		e.str(a.Host)
	}
}

func (e *encoder) envelope(v *Envelope) {
	e.str(v.Date)
	e.str(v.Subject)
	for _, list := range [...][]Address{v.From, v.Sender, v.ReplyTo, v.To, v.Cc, v.Bcc} {
		e.addresses(list)
	}
	e.str(v.InReplyTo)
	e.str(v.MessageID)
	e.strs(v.References)
	e.num(int(v.Empty))
}

func (e *encoder) part(p *Part) {
	for _, s := range [...]string{p.Type, p.Subtype, p.ID, p.Description, p.Encoding, p.MD5, p.Location, p.Disposition} {
		e.str(s)
	}
	e.params(p.Params)
	e.params(p.DispositionParams)
	e.strs(p.Language)
	e.offset(p.HeaderStart)
	e.offset(p.BodyStart)
	e.offset(p.End)
	e.int64(p.Lines)
	if p.Envelope == nil {
		e.num(0)
	} else {
		e.num(1)
		e.envelope(p.Envelope)
	}
	e.num(len(p.Parts))
	e.last = p.BodyStart
	for i := range p.Parts {
		e.part(&p.Parts[i])
	}
	e.last = p.End
}

// EncodeEnvelope returns v in the form that DecodeEnvelope reads, with the usual fields
// of the same header that AppendUsual reads; nil if there are none.
func EncodeEnvelope(v *Envelope, usual []byte) []byte {
	e := encoder{b: make([]byte, 0, len(usual)+usualEnvelope)}
	e.b = append(e.b, codecVersion)
	e.num(len(usual))
	e.b = append(e.b, usual...)
	e.envelope(v)
	return e.b
}

// What is allocated at first for an envelope, and for the parts.
const (
	usualEnvelope = 320
	usualPart     = 96
)

// EncodePart returns p and all below it in the form that DecodePart reads.
func EncodePart(p *Part) []byte {
	e := encoder{b: append(make([]byte, 0, usualPart), partVersion)}
	e.part(p)
	return e.b
}

// A reader reads what an encoder wrote. After a mistake it reads only zeros.
type reader struct {
	s     string // all strings are pieces of it
	last  int64
	parts int
	bad   bool
}

func newReader(b []byte) *reader { return &reader{s: string(b)} }

func (r *reader) fail() { r.s, r.bad = "", true }

func (r *reader) uint64() uint64 {
	var v uint64
	for i := 0; i < len(r.s) && i < binary.MaxVarintLen64; i++ {
		c := r.s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			return v
		}
	}
	r.fail()
	return 0
}

func (r *reader) int64() int64 {
	u := r.uint64()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) offset() int64 { r.last += r.int64(); return r.last }

// count reads the length of a list, whose elements take at least one byte each.
func (r *reader) count() int {
	n := r.uint64()
	if n > uint64(len(r.s)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) str() string {
	n := r.count()
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) strs() (list []string) {
	for n := r.count(); n > 0 && !r.bad; n-- {
		list = append(list, r.str())
	}
	return list
}

func (r *reader) params() (list []Param) {
	for n := r.count(); n > 0 && !r.bad; n-- {
		list = append(list, Param{r.str(), r.str()})
	}
	return list
}

func (r *reader) addresses() (list []Address) {
	for n := r.count(); n > 0 && !r.bad; n-- {
		list = append(list, Address{r.str(), r.str(), r.str()})
	}
	return list
}

func (r *reader) envelope() (v Envelope) {
	v.Date, v.Subject = r.str(), r.str()
	for _, list := range [...]*[]Address{&v.From, &v.Sender, &v.ReplyTo, &v.To, &v.Cc, &v.Bcc} {
		*list = r.addresses()
	}
	v.InReplyTo, v.MessageID = r.str(), r.str()
	v.References = r.strs()
	v.Empty = Texts(r.uint64())
	return v
}

func (r *reader) part(p *Part, depth int) {
	if r.parts++; r.parts > MaxParts || depth > MaxDepth {
		r.fail()
		return
	}
	for _, s := range [...]*string{&p.Type, &p.Subtype, &p.ID, &p.Description, &p.Encoding, &p.MD5, &p.Location, &p.Disposition} {
		*s = r.str()
	}
	p.Params, p.DispositionParams, p.Language = r.params(), r.params(), r.strs()
	p.HeaderStart, p.BodyStart, p.End = r.offset(), r.offset(), r.offset()
	p.Lines = r.int64()
	if p.HeaderStart < 0 || p.BodyStart < p.HeaderStart || p.End < p.BodyStart || p.Lines < 0 {
		r.fail()
	}
	if r.count() > 0 {
		v := r.envelope()
		p.Envelope = &v
	}
	n := r.count()
	r.last = p.BodyStart
	for range n {
		if r.bad {
			return
		}
		p.Parts = append(p.Parts, Part{})
		r.part(&p.Parts[len(p.Parts)-1], depth+1)
	}
	if p.Envelope != nil && n != 1 || p.Type == "multipart" && n == 0 {
		r.fail()
	}
	r.last = p.End
}

// DecodeEnvelope reads what EncodeEnvelope wrote, or returns ErrCorrupt.
func DecodeEnvelope(b []byte) (Envelope, error) {
	if len(b) == 0 || b[0] != codecVersion {
		return Envelope{}, ErrCorrupt
	}
	_, b, ok := cutUsual(b[1:])
	if !ok {
		return Envelope{}, ErrCorrupt
	}
	r := newReader(b)
	v := r.envelope()
	if r.bad || r.s != "" {
		return Envelope{}, ErrCorrupt
	}
	return v, nil
}

// RootOffsets reads of what EncodePart wrote where the outermost header and body begin
// and where the message ends, and makes nothing.
func RootOffsets(b []byte) (header, body, end int64, err error) {
	if len(b) == 0 || b[0] != partVersion {
		return 0, 0, 0, ErrCorrupt
	}
	b = b[1:]
	num := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b, err = nil, ErrCorrupt
			return 0
		}
		b = b[n:]
		return v
	}
	skip := func(n uint64) {
		for ; n > 0 && err == nil; n-- {
			size := num()
			if size > uint64(len(b)) {
				b, err = nil, ErrCorrupt
				return
			}
			b = b[size:]
		}
	}
	pairs := func() {
		n := num()
		skip(n)
		skip(n)
	}
	offset := func() int64 { u := num(); return int64(u>>1) ^ -int64(u&1) }
	skip(8)
	pairs()
	pairs()
	skip(num())
	header = offset()
	body = header + offset()
	end = body + offset()
	if err == nil && (header < 0 || body < header || end < body) {
		err = ErrCorrupt
	}
	if err != nil {
		return 0, 0, 0, err
	}
	return header, body, end, nil
}

// DecodePart reads what EncodePart wrote, or returns ErrCorrupt. Offsets are in
// order within each part; it does not check that parts lie within each other.
func DecodePart(b []byte) (Part, error) {
	if len(b) == 0 || b[0] != partVersion {
		return Part{}, ErrCorrupt
	}
	r := newReader(b[1:])
	var p Part
	r.part(&p, 0)
	if r.bad || r.s != "" {
		return Part{}, ErrCorrupt
	}
	return p, nil
}
