package pop3

import (
	"io"
	"strconv"
	"sync"
)

// chunk is how many bytes are gathered before they are written, and read of a
// message at a time.
const chunk = 16 << 10

// buffers are shared by all connections, so that one which has nothing to say
// holds none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, chunk); return &b }}

// A writer gathers responses. They leave when the buffer is full, and when the
// connection is about to wait for the client: one that sends ten commands at once
// gets the ten answers at once. Errors stick; the command loop looks at them.
type writer struct {
	w    io.Writer
	pool *[]byte
	buf  []byte
	open int // where the response at hand begins in buf; -1 if part of it has left
	bad  error
}

// flush writes what was gathered.
func (w *writer) flush() error {
	if w.open == len(w.buf) {
		w.open = 0
	} else {
		w.open = -1
	}
	if w.bad == nil && len(w.buf) > 0 {
		_, w.bad = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.bad
}

// lost returns the error of the connection, if there was one.
func (w *writer) lost() error {
	if w.bad != nil {
		return lost{w.bad}
	}
	return nil
}

// release writes all and gives the buffer back.
func (w *writer) release() error {
	err := w.flush()
	if w.pool != nil && w.open == 0 {
		*w.pool = w.buf[:0]
		buffers.Put(w.pool)
		w.pool, w.buf = nil, nil
	}
	return err
}

// grow makes room for n bytes, at most 1 KB.
func (w *writer) grow(n int) {
	if w.pool == nil {
		w.pool = buffers.Get().(*[]byte)
		w.buf = (*w.pool)[:0]
	}
	if len(w.buf)+n > chunk {
		w.flush()
	}
}

// raw writes a short text as it is.
func (w *writer) raw(s string) {
	w.grow(len(s))
	w.buf = append(w.buf, s...)
}

func (w *writer) num(n int64) {
	w.grow(20)
	w.buf = strconv.AppendInt(w.buf, n, 10)
}

// bytes writes any number of bytes.
func (w *writer) bytes(p []byte) {
	for len(p) > 0 && w.bad == nil {
		w.grow(1)
		k := min(len(p), chunk-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p = p[k:]
	}
}

// crlf ends a line that others of the same response follow.
func (w *writer) crlf() { w.raw("\r\n") }

// end ends a response.
func (w *writer) end() {
	w.crlf()
	w.open = len(w.buf)
}

// line writes a whole response.
func (w *writer) line(parts ...string) {
	for _, p := range parts {
		w.raw(p)
	}
	w.end()
}

// dot ends a response of several lines.
func (w *writer) dot() { w.line(".") }

func (w *writer) err(r *refusal) {
	if r.code != "" {
		w.line("-ERR [", r.code, "] ", r.text)
	} else {
		w.line("-ERR ", r.text)
	}
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
