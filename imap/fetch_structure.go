package imap

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/message"
)

// structure writes BODYSTRUCTURE or, without what is extended, BODY (RFC 9051,
// 7.5.2).
func (w *writer) structure(p *message.Part, extended bool) {
	w.byte('(')
	if len(p.Parts) > 0 && p.Envelope == nil {
		for i := range p.Parts {
			w.structure(&p.Parts[i], extended)
		}
		w.sp()
		w.string(p.Subtype)
		if extended {
			w.sp()
			w.params(p.Params)
		}
	} else {
		w.leaf(p, extended)
	}
	if extended {
		w.sp()
		w.disposition(p)
		w.sp()
		w.languages(p.Language)
		w.sp()
		w.nstring(p.Location)
	}
	w.byte(')')
}

// leaf writes what a part without children has of its own, up to where it goes on
// like a multipart.
func (w *writer) leaf(p *message.Part, extended bool) {
	typ, subtype := p.Type, p.Subtype
	if typ == "message" && (subtype == "rfc822" || subtype == "global") && p.Envelope == nil {
		// A message in base64: clients would expect its structure here.
		typ, subtype = "application", "octet-stream"
	}
	w.string(typ)
	w.sp()
	w.string(subtype)
	w.sp()
	w.params(withCharset(p))
	w.sp()
	w.nstring(p.ID)
	w.sp()
	w.nstring(p.Description)
	w.sp()
	w.string(p.Encoding)
	w.sp()
	w.num(uint64(p.End - p.BodyStart))
	if p.Envelope != nil {
		w.sp()
		w.envelope(p.Envelope)
		w.sp()
		w.structure(&p.Parts[0], extended)
	}
	if p.Envelope != nil || typ == "text" {
		w.sp()
		w.num(uint64(p.Lines))
	}
	if extended {
		w.sp()
		w.nstring(p.MD5)
	}
}

// withCharset returns the parameters of a leaf. Text that does not say so is in
// US-ASCII (RFC 2045, 5.2), and clients are used to being told.
func withCharset(p *message.Part) []message.Param {
	if p.Type != "text" || slices.ContainsFunc(p.Params, func(a message.Param) bool { return a.Name == "charset" }) {
		return p.Params
	}
	return append(slices.Clip(p.Params), message.Param{Name: "charset", Value: "us-ascii"})
}

// params writes parameters. A value that is not ASCII goes as RFC 2231 says to a
// client that has not asked for UTF-8.
func (w *writer) params(list []message.Param) {
	if len(list) == 0 {
		w.raw("NIL")
		return
	}
	w.byte('(')
	for i, p := range list {
		if i > 0 {
			w.sp()
		}
		if w.sayable(p.Value) || p.Name == "boundary" {
			w.string(p.Name)
			w.sp()
			w.string(p.Value)
			continue
		}
		w.string(p.Name + "*")
		w.sp()
		w.string("utf-8''" + percent(p.Value))
	}
	w.byte(')')
}

// sayable reports whether a client understands s without more ado.
func (w *writer) sayable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return w.utf8 && utf8.ValidString(s)
		}
	}
	return true
}

// percent encodes what may not stand in an extended value (RFC 2231, 7).
func percent(s string) string {
	const plain = "!#$&+-.^_`{}|~"
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

func (w *writer) disposition(p *message.Part) {
	if p.Disposition == "" {
		w.raw("NIL")
		return
	}
	w.byte('(')
	w.string(p.Disposition)
	w.sp()
	w.params(p.DispositionParams)
	w.byte(')')
}

func (w *writer) languages(list []string) {
	if len(list) == 0 {
		w.raw("NIL")
		return
	}
	w.byte('(')
	for i, l := range list {
		if i > 0 {
			w.sp()
		}
		w.string(l)
	}
	w.byte(')')
}
