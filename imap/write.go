package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/linewriter"
)

// A writer gathers responses. They leave when the buffer is full, and when the
// connection is about to wait for the client (see input.Read): a client that sends
// ten commands at once gets the ten answers at once.
//
// A response is written in pieces and ended with crlf. Errors stick; the command
// loop looks at them.
type writer struct {
	linewriter.Writer
	utf8 bool // quoted strings may hold UTF-8: rev2 or UTF8=ACCEPT is enabled
}

// grow makes room for a few words.
func (w *writer) grow() { w.Grow(256) }

// lost returns the error of the connection, if there was one.
func (w *writer) lost() error {
	if w.Err != nil {
		return lost{w.Err}
	}
	return nil
}

// release writes all and gives the buffer back; it is called when the connection
// waits.
func (w *writer) release() error { return w.Release() }

// raw writes s as it is.
func (w *writer) raw(s string) { w.Raw(s) }

func (w *writer) byte(b byte) { w.Byte(b) }

func (w *writer) sp() { w.Byte(' ') }

func (w *writer) num(n uint64) { w.Num(n) }

// crlf ends a response.
func (w *writer) crlf() { w.End() }

// inside reports whether a response was begun and not ended.
func (w *writer) inside() bool { return w.Inside() }

// abandon takes an unfinished response back. It reports false if part of it has
// left already: the connection is then of no more use.
func (w *writer) abandon() bool { return w.Abandon() }

// linef writes a whole response. Its arguments hold nothing that a client or a
// message chose, unless quoted by the caller.
func (w *writer) linef(format string, args ...any) {
	w.grow()
	w.Buf = fmt.Appendf(w.Buf, format, args...)
	w.crlf()
}

// What bytes a quoted string may hold: none of unquotable, and highByte only if UTF-8 may
// be said.
const (
	unquotable = 1 << iota // NUL, CR, LF
	highByte
	escaped // a quotation mark or a backslash
)

// byteClass says which of these a byte is.
var byteClass = func() (c [256]uint8) {
	c[0], c['\r'], c['\n'], c['"'], c['\\'] = unquotable, unquotable, unquotable, escaped, escaped
	for b := 0x80; b < len(c); b++ {
		c[b] = highByte
	}
	return c
}()

// quotable reports whether s can stand between quotation marks, and which kinds of bytes
// it has.
func (w *writer) quotable(s string) (kinds uint8, ok bool) {
	if len(s) > 1000 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		kinds |= byteClass[s[i]]
	}
	return kinds, kinds&unquotable == 0 && (kinds&highByte == 0 || w.utf8 && utf8.ValidString(s))
}

// string writes s as a quoted string, or a literal where that is not possible. A
// NUL cannot be said at all (RFC 9051, 4.3) and becomes U+FFFD's byte in
// ASCII, a question mark.
func (w *writer) string(s string) {
	kinds, ok := w.quotable(s)
	if !ok {
		w.literal(int64(len(s)))
		for i := 0; i < len(s); i++ {
			if s[i] == 0 {
				w.byte('?')
			} else {
				w.byte(s[i])
			}
		}
		return
	}
	w.Grow(2*len(s) + 2)
	w.Buf = append(w.Buf, '"')
	if kinds&escaped == 0 {
		w.Buf = append(w.Buf, s...)
	} else {
		for i := 0; i < len(s); i++ {
			if byteClass[s[i]] == escaped {
				w.Buf = append(w.Buf, '\\')
			}
			w.Buf = append(w.Buf, s[i])
		}
	}
	w.Buf = append(w.Buf, '"')
}

// nstring writes s, or NIL if it is empty.
func (w *writer) nstring(s string) {
	if s == "" {
		w.raw("NIL")
	} else {
		w.string(s)
	}
}

// mailbox writes the name of a mailbox, always quoted or as a literal, in modified
// UTF-7 unless the client has asked for UTF-8 (RFC 9051, appendix A).
func (w *writer) mailbox(name string) {
	if !w.utf8 {
		name = encodeUTF7(name)
	}
	w.string(name)
}

// literal announces n bytes, which follow by copy or raw.
func (w *writer) literal(n int64) {
	w.byte('{')
	w.num(uint64(n))
	w.raw("}\r\n")
}

// literal8 is literal for bytes that may hold NUL (RFC 9051, 4.3.1).
func (w *writer) literal8(n int64) {
	w.byte('~')
	w.literal(n)
}

// stream writes n bytes of r as a literal, or if binary as a literal8.
func (w *writer) stream(r io.Reader, n int64, binary bool) error {
	if binary {
		w.literal8(n)
	} else {
		w.literal(n)
	}
	return w.copy(r, n, !binary)
}

// copy writes exactly n bytes of r, after literal announced them. If r has fewer
// the connection cannot go on, and copy returns why. What r has in memory is not
// copied into another buffer first if it is much.
func (w *writer) copy(r io.Reader, n int64, text bool) error {
	l := literalWriter{w, n, text}
	_, err := io.Copy(&l, r)
	if errors.Is(err, errEnough) {
		err = nil
	} else if err == nil && l.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// text writes bytes that lie between others of a literal.
func (w *writer) text(p []byte) {
	for {
		i := bytes.IndexByte(p, 0)
		if i < 0 {
			w.Bytes(p)
			return
		}
		w.Bytes(p[:i])
		w.byte(noNUL)
		p = p[i+1:]
	}
}

// noNUL stands for a NUL, which no literal may hold (RFC 9051, 4.3): so the size stays
// what it is. Others do the same.
const noNUL = 0x80

// errEnough ends a copy of what is longer than was announced.
var errEnough = errors.New("imap: the literal is full")

// A literalWriter writes what is left of a literal.
type literalWriter struct {
	w    *writer
	left int64
	text bool // not binary: without NUL
}

func (l *literalWriter) Write(p []byte) (int, error) {
	n := min(int64(len(p)), l.left)
	l.left -= n
	if l.text {
		l.w.text(p[:n])
	} else {
		l.w.Bytes(p[:n])
	}
	if l.w.Err != nil {
		return 0, l.w.Err
	}
	if int(n) < len(p) {
		return int(n), errEnough
	}
	return len(p), nil
}

// ReadFrom lets io.Copy fill the buffer without another between.
func (l *literalWriter) ReadFrom(r io.Reader) (n int64, err error) {
	w := l.w
	for l.left > 0 {
		w.grow()
		if w.Err != nil {
			return n, w.Err
		}
		have := len(w.Buf)
		k, err := r.Read(w.Buf[have:min(int64(cap(w.Buf)), int64(have)+l.left)])
		w.Buf = w.Buf[:have+k]
		n, l.left = n+int64(k), l.left-int64(k)
		if l.text {
			for b := w.Buf[have:]; ; {
				i := bytes.IndexByte(b, 0)
				if i < 0 {
					break
				}
				b[i], b = noNUL, b[i+1:]
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// flags writes a list of flags that is already joined with spaces.
func (w *writer) flags(joined string) {
	w.byte('(')
	w.raw(joined)
	w.byte(')')
}

// dateTime writes an internal date (RFC 9051, date-time).
func (w *writer) dateTime(t time.Time) {
	w.grow()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	_, zone := t.Zone()
	if year < 0 || year > 9999 {
		w.Buf = t.AppendFormat(append(w.Buf, '"'), "_2-Jan-2006 15:04:05 -0700\"")
		return
	}
	sign := byte('+')
	if zone /= 60; zone < 0 {
		sign, zone = '-', -zone
	}
	b := append(w.Buf, '"')
	if b = append(b, ' ', '0'+byte(day%10), '-'); day > 9 {
		b[len(b)-3] = '0' + byte(day/10)
	}
	b = append(append(b, months[3*month-3:3*month]...), '-')
	b = append(two(two(b, year/100), year%100), ' ')
	b = append(two(append(two(append(two(b, hour), ':'), minute), ':'), second), ' ', sign)
	w.Buf = append(two(two(b, zone/60), zone%60), '"')
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// two appends a number of two digits.
func two(b []byte, n int) []byte { return append(b, '0'+byte(n/10), '0'+byte(n%10)) }
