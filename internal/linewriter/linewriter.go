// Package linewriter gathers the responses of a protocol of lines, so that a client
// that sends ten commands at once gets the ten answers at once.
//
// Doors embed a Writer in their own, which knows the words of the protocol.
package linewriter

import (
	"io"
	"strconv"
	"sync"
)

// Chunk is how many bytes of responses are gathered before they are written, and
// SmallChunk how many by a Writer that is Small.
const (
	Chunk      = 16 << 10
	SmallChunk = 2 << 10
)

// largeChunk is the same for those who have much to say at once.
const largeChunk = 2 * Chunk

// buffers are shared by all connections, so that one which has nothing to say
// holds none.
var (
	buffers = sync.Pool{New: func() any { b := make([]byte, 0, Chunk); return &b }}
	small   = sync.Pool{New: func() any { b := make([]byte, 0, SmallChunk); return &b }}
)

// larges are as buffers, of largeChunk.
var larges = sync.Pool{New: func() any { b := make([]byte, 0, largeChunk); return &b }}

// Borrow gives one of the buffers that Writers share, of Chunk bytes, for as short
// as possible: until Return.
func Borrow() *[]byte { return buffers.Get().(*[]byte) }

// Return takes a buffer back.
func Return(b *[]byte) { buffers.Put(b) }

// A Writer gathers responses. They leave when the buffer is full, and with Release,
// which is called when the connection is about to wait for the client.
//
// A response is written in pieces and ended with End. Errors stick; the command
// loop looks at them. A Writer belongs to one goroutine.
type Writer struct {
	W   io.Writer // required
	Err error     // the first of W
	// Buf is what was gathered and has not left. Whoever appends to it calls Grow
	// before.
	Buf []byte
	// Small is for a client that is not known yet: if it does not read what it is
	// told, little is held for it. It holds from the next buffer on.
	Small bool

	pool *[]byte
	most int // of bytes in Buf
	full int // how often it was full since the last Release
	open int // where the response at hand begins in Buf; -1 if part of it has left
}

// Grow makes room for n bytes in Buf, at most Chunk.
func (w *Writer) Grow(n int) {
	if w.pool == nil {
		w.take()
	}
	if len(w.Buf)+n > w.most {
		w.Flush()
		if w.full++; w.full == muchIsSaid && w.most == Chunk {
			w.giveBack()
			w.pool, w.most = larges.Get().(*[]byte), largeChunk
			w.Buf = (*w.pool)[:0]
		}
	}
}

// muchIsSaid is how many buffers are filled before a larger one is used.
const muchIsSaid = 2

// giveBack lends the buffer to others. One that a long line made grow is of no use.
func (w *Writer) giveBack() {
	if cap(w.Buf) == w.most {
		*w.pool = w.Buf[:0]
	}
	switch w.most {
	case SmallChunk:
		small.Put(w.pool)
	case Chunk:
		buffers.Put(w.pool)
	case largeChunk:
		larges.Put(w.pool)
	}
}

func (w *Writer) take() {
	if w.Small {
		w.pool, w.most = small.Get().(*[]byte), SmallChunk
	} else {
		w.pool, w.most = Borrow(), Chunk
	}
	w.Buf = (*w.pool)[:0]
}

// Flush writes what was gathered.
func (w *Writer) Flush() error {
	if w.open == len(w.Buf) {
		w.open = 0
	} else {
		w.open = -1
	}
	if w.Err == nil && len(w.Buf) > 0 {
		_, w.Err = w.W.Write(w.Buf)
	}
	w.Buf = w.Buf[:0]
	return w.Err
}

// Release is Flush, and gives the buffer back unless a response is unfinished.
func (w *Writer) Release() error {
	err := w.Flush()
	if w.pool != nil && w.open == 0 {
		w.giveBack()
		w.pool, w.Buf, w.full = nil, nil, 0
	}
	return err
}

// Holds reports whether the Writer has a buffer.
func (w *Writer) Holds() bool { return w.pool != nil }

// Raw writes s as it is.
func (w *Writer) Raw(s string) {
	for w.Grow(256); len(s) > w.most-len(w.Buf); w.Grow(256) {
		k := w.most - len(w.Buf)
		w.Buf = append(w.Buf, s[:k]...)
		s = s[k:]
	}
	w.Buf = append(w.Buf, s...)
}

// Byte writes one byte.
func (w *Writer) Byte(b byte) {
	w.Grow(1)
	w.Buf = append(w.Buf, b)
}

// Num writes a number.
func (w *Writer) Num(n uint64) {
	w.Grow(20)
	w.Buf = strconv.AppendUint(w.Buf, n, 10)
}

// End writes CRLF, with which a response ends.
func (w *Writer) End() {
	w.Grow(2)
	w.Buf = append(w.Buf, '\r', '\n')
	w.open = len(w.Buf)
}

// Inside reports whether a response was begun and not ended.
func (w *Writer) Inside() bool { return w.open != len(w.Buf) }

// Abandon takes an unfinished response back. It reports false if part of it has
// left already: the connection is then of no more use.
func (w *Writer) Abandon() bool {
	if w.open < 0 {
		return false
	}
	w.Buf = w.Buf[:w.open]
	return true
}

// Bytes writes p as it is. What is large and meets an empty buffer is not copied.
func (w *Writer) Bytes(p []byte) {
	for len(p) > 0 && w.Err == nil {
		w.Grow(1)
		if len(w.Buf) == 0 && len(p) >= w.most {
			w.open = -1
			_, w.Err = w.W.Write(p)
			return
		}
		k := min(len(p), w.most-len(w.Buf))
		w.Buf = append(w.Buf, p[:k]...)
		p = p[k:]
	}
}

// Copy writes exactly n bytes of r, of which a length was announced. If r has
// fewer the connection cannot go on, and Copy returns why.
func (w *Writer) Copy(r io.Reader, n int64) error {
	got, err := io.Copy((*raw)(w), io.LimitReader(r, n))
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// raw is a Writer as an io.Writer.
type raw Writer

func (r *raw) Write(p []byte) (int, error) {
	w := (*Writer)(r)
	if w.Bytes(p); w.Err != nil {
		return 0, w.Err
	}
	return len(p), nil
}

// ReadFrom lets io.Copy fill the buffer without another between.
func (r *raw) ReadFrom(src io.Reader) (n int64, err error) {
	w := (*Writer)(r)
	for {
		w.Grow(256)
		if w.Err != nil {
			return n, w.Err
		}
		k, err := src.Read(w.Buf[len(w.Buf):w.most])
		w.Buf = w.Buf[:len(w.Buf)+k]
		n += int64(k)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
