package message

import (
	"io"

	"github.com/mailkeel/mailkeel/internal/charset"
)

// identity reports whether the body is as it is, in no transfer encoding.
func (p *Part) identity() bool {
	switch p.Encoding {
	case "base64", "quoted-printable":
		return false
	}
	return true
}

// KnownEncoding reports whether Reader can decode the body of p. RFC 3516, 4.3
// wants to know.
func (p *Part) KnownEncoding() bool {
	switch p.Encoding {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
		return true
	}
	return false
}

// holdsMessage reports whether the type says that the body is a message.
func (p *Part) holdsMessage() bool {
	return p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
}

// opaque makes p a leaf that nobody looks into.
func (p *Part) opaque() {
	p.Type, p.Subtype, p.Params = "application", "octet-stream", nil
}

// Reader returns the bytes of a part, given its body. Broken encoding is read as
// far as it makes sense; the only errors are those of body. A multipart and a
// message have no transfer encoding, whatever their header says.
func (p *Part) Reader(body io.Reader) io.Reader {
	switch {
	case len(p.Parts) > 0:
		return body
	case p.Encoding == "base64":
		return &decodeReader{r: body, d: new(unbase64)}
	case p.Encoding == "quoted-printable":
		return &decodeReader{r: body, d: new(unquote)}
	}
	return body
}

// Text returns the text of a part as UTF-8, given its body.
func (p *Part) Text(body io.Reader) io.Reader {
	return charset.NewReader(param(p.Params, "charset"), p.Reader(body))
}

// Plain reports whether the body of p, as far as it is ASCII, is the text that it
// stands for.
func (p *Part) Plain() bool { return p.identity() && charset.Plain(param(p.Params, "charset")) }

// A decoder takes a transfer encoding off, byte by byte.
type decoder interface {
	// add appends what src stands for to b, as far as is known yet.
	add(b, src []byte) []byte
	// flush appends what is known at the end.
	flush(b []byte) []byte
}

type decodeReader struct {
	r   io.Reader
	d   decoder
	in  [4 << 10]byte
	buf []byte
	out []byte // of buf, not yet read
	err error
}

func (r *decodeReader) Read(b []byte) (int, error) {
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.r.Read(r.in[:])
		r.buf = r.d.add(r.buf[:0], r.in[:n])
		if err != nil {
			r.buf, r.err = r.d.flush(r.buf), err
		}
		r.out = r.buf
	}
	n := copy(b, r.out)
	r.out = r.out[n:]
	return n, nil
}

// unbase64 passes over what is no letter, and goes on after padding, for bodies
// that were joined of several.
type unbase64 struct {
	bits uint32
	n    uint // letters in bits
}

func (d *unbase64) add(b, src []byte) []byte {
	for _, c := range src {
		v := letters[c]
		if v == 0 {
			if c == '=' {
				b = d.flush(b)
			}
			continue
		}
		d.bits = d.bits<<6 | uint32(v-1)
		if d.n++; d.n == 4 {
			b = append(b, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
			d.bits, d.n = 0, 0
		}
	}
	return b
}

// flush writes the whole bytes of an unfinished group.
func (d *unbase64) flush(b []byte) []byte {
	switch d.n {
	case 2:
		b = append(b, byte(d.bits>>4))
	case 3:
		b = append(b, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return b
}

// letters holds, for each letter of base64, one more than what it stands for.
var letters = func() (t [256]byte) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i) + 1
	}
	return t
}()

// unquote decodes quoted-printable (RFC 2045, 6.7). What is not an encoding stands
// for itself; white space at the end of a line goes.
type unquote struct {
	mode  quoteMode
	first byte   // the first digit
	held  []byte // white space of which it is not known whether it ends a line
}

type quoteMode uint8

const (
	plainText quoteMode = iota
	plainCR             // after CR
	equals              // after =
	digit               // after = and one digit
	softSpace           // after = and white space
	softCR              // after these and CR
)

// maxHeld bounds white space that waits for its line end. More is text.
const maxHeld = 998

func (d *unquote) release(b []byte) []byte {
	b = append(b, d.held...)
	d.held = d.held[:0]
	return b
}

func (d *unquote) add(b, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		c := src[i]
		blank := c == ' ' || c == '\t'
		switch d.mode {
		case plainText:
			switch {
			case blank:
				if len(d.held) >= maxHeld {
					b = d.release(b)
				}
				d.held = append(d.held, c)
			case c == '\r':
				d.mode = plainCR
			case c == '\n':
				d.held = d.held[:0]
				b = append(b, c)
			case c == '=':
				b = d.release(b)
				d.mode = equals
			default:
				b = append(d.release(b), c)
			}
			continue
		case plainCR:
			d.mode = plainText
			if c == '\n' {
				d.held = d.held[:0]
				b = append(b, '\r', '\n')
				continue
			}
			b = append(d.release(b), '\r')
		case equals:
			switch {
			case unhex(c) >= 0:
				d.first, d.mode = c, digit
				continue
			case blank:
				d.held, d.mode = append(d.held, c), softSpace
				continue
			case c == '\r':
				d.mode = softCR
				continue
			case c == '\n':
				d.mode = plainText
				continue
			}
			d.mode = plainText
			b = append(b, '=')
		case digit:
			d.mode = plainText
			if lo := unhex(c); lo >= 0 {
				b = append(b, byte(unhex(d.first)<<4|lo))
				continue
			}
			b = append(b, '=', d.first)
		case softSpace:
			switch {
			case blank && len(d.held) < maxHeld:
				d.held = append(d.held, c)
				continue
			case c == '\r':
				d.mode = softCR
				continue
			case c == '\n':
				d.mode, d.held = plainText, d.held[:0]
				continue
			}
			d.mode = plainText
			b = d.release(append(b, '='))
		case softCR:
			d.mode, d.held = plainText, d.held[:0]
			if c == '\n' {
				continue
			}
		}
		i-- // c is read again, as plain text
	}
	return b
}

func (d *unquote) flush(b []byte) []byte {
	switch d.mode {
	case plainCR:
		b = append(d.release(b), '\r')
	case digit:
		b = append(b, '=', d.first)
	}
	d.mode, d.held = plainText, d.held[:0]
	return b
}
