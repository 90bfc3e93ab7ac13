package imap

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// writeChunk is how many bytes of responses are gathered before they are written.
const writeChunk = 16 << 10

// buffers are shared by all connections, so that one which has nothing to say
// holds none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, writeChunk); return &b }}

// A writer gathers responses. They leave when the buffer is full, and when the
// connection is about to wait for the client (see input.Read): a client that sends
// ten commands at once gets the ten answers at once.
//
// A response is written in pieces and ended with crlf. Errors stick; the command
// loop looks at them.
type writer struct {
	w    io.Writer
	pool *[]byte
	buf  []byte
	open int // where the response at hand begins in buf; -1 if part of it has left
	err  error
	utf8 bool // quoted strings may hold UTF-8: rev2 or UTF8=ACCEPT is enabled
}

func (w *writer) grow() {
	if w.pool == nil {
		w.pool = buffers.Get().(*[]byte)
		w.buf = (*w.pool)[:0]
	}
	if len(w.buf) >= writeChunk-256 {
		w.flush()
	}
}

// flush writes what was gathered.
func (w *writer) flush() error {
	if w.open == len(w.buf) {
		w.open = 0
	} else {
		w.open = -1
	}
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.err
}

// lost returns the error of the connection, if there was one.
func (w *writer) lost() error {
	if w.err != nil {
		return lost{w.err}
	}
	return nil
}

// release gives the buffer back; it is called when the connection waits.
func (w *writer) release() error {
	err := w.flush()
	if w.pool != nil && w.open == 0 {
		*w.pool = w.buf[:0]
		buffers.Put(w.pool)
		w.pool, w.buf = nil, nil
	}
	return err
}

// raw writes s as it is.
func (w *writer) raw(s string) {
	for w.grow(); len(s) > writeChunk-len(w.buf); w.grow() {
		k := writeChunk - len(w.buf)
		w.buf = append(w.buf, s[:k]...)
		s = s[k:]
	}
	w.buf = append(w.buf, s...)
}

func (w *writer) byte(b byte) {
	w.grow()
	w.buf = append(w.buf, b)
}

func (w *writer) sp() { w.byte(' ') }

func (w *writer) num(n uint64) {
	w.grow()
	w.buf = strconv.AppendUint(w.buf, n, 10)
}

// crlf ends a response.
func (w *writer) crlf() {
	w.grow()
	w.buf = append(w.buf, '\r', '\n')
	w.open = len(w.buf)
}

// inside reports whether a response was begun and not ended.
func (w *writer) inside() bool { return w.open != len(w.buf) }

// abandon takes an unfinished response back. It reports false if part of it has
// left already: the connection is then of no more use.
func (w *writer) abandon() bool {
	if w.open < 0 {
		return false
	}
	w.buf = w.buf[:w.open]
	return true
}

// linef writes a whole response. Its arguments hold nothing that a client or a
// message chose, unless quoted by the caller.
func (w *writer) linef(format string, args ...any) {
	w.grow()
	w.buf = fmt.Appendf(w.buf, format, args...)
	w.crlf()
}

// quotable reports whether s can stand between quotation marks.
func (w *writer) quotable(s string) bool {
	if len(s) > 1000 {
		return false
	}
	ascii := true
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == 0, b == '\r', b == '\n':
			return false
		case b >= 0x80:
			ascii = false
		}
	}
	return ascii || w.utf8 && utf8.ValidString(s)
}

// string writes s as a quoted string, or a literal where that is not possible. A
// NUL cannot be said at all (RFC 9051, 4.3) and becomes U+FFFD's byte in
// ASCII, a question mark.
func (w *writer) string(s string) {
	if !w.quotable(s) {
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
	w.byte('"')
	w.grow()
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			w.buf = append(w.buf, '\\')
		}
		w.buf = append(w.buf, s[i])
	}
	w.byte('"')
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
		return w.copy(r, n)
	}
	w.literal(n)
	return w.copy(withoutNUL{r}, n)
}

// copy writes exactly n bytes of r, after literal announced them. If r has fewer
// the connection cannot go on, and copy returns why.
func (w *writer) copy(r io.Reader, n int64) error {
	got, err := io.Copy((*rawWriter)(w), io.LimitReader(r, n))
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// withoutNUL makes 0x80 of NUL, which no literal may hold (RFC 9051, 4.3): so the
// size stays what it is. Others do the same.
type withoutNUL struct{ r io.Reader }

func (z withoutNUL) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	for b := p[:n]; ; {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return n, err
		}
		b[i], b = 0x80, b[i+1:]
	}
}

// rawWriter is a writer as an io.Writer.
type rawWriter writer

func (r *rawWriter) Write(p []byte) (int, error) {
	w := (*writer)(r)
	n := len(p)
	for len(p) > 0 && w.err == nil {
		w.grow()
		if len(w.buf) == 0 && len(p) >= writeChunk {
			w.open = -1
			_, w.err = w.w.Write(p)
			break
		}
		k := min(len(p), writeChunk-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p = p[k:]
	}
	if w.err != nil {
		return 0, w.err
	}
	return n, nil
}

// ReadFrom lets io.Copy fill the buffer without another between.
func (r *rawWriter) ReadFrom(src io.Reader) (n int64, err error) {
	w := (*writer)(r)
	for {
		w.grow()
		if w.err != nil {
			return n, w.err
		}
		k, err := src.Read(w.buf[len(w.buf):writeChunk])
		w.buf = w.buf[:len(w.buf)+k]
		n += int64(k)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
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
	w.buf = append(w.buf, '"')
	w.buf = t.AppendFormat(w.buf, "_2-Jan-2006 15:04:05 -0700")
	w.buf = append(w.buf, '"')
}
