package smtp

import (
	"bytes"
	"io"
)

// eod ends content.
var eod = []byte(".\r\n")

// content reads the content of DATA up to CRLF.CRLF, and nothing but that ends
// it (RFC 5321, 4.1.1.4 and 4.5.2). sink gets the bytes without the stuffed dots,
// in pieces that are only valid during the call. When sink returns false reading
// ends in io.ErrShortWrite.
func (w *wire) content(sink func([]byte) bool) error {
	w.grow()
	d := dots{bol: true}
	for {
		n, end := d.next(w.buf[w.r:w.w], &sink)
		w.r += n
		switch {
		case sink == nil:
			return io.ErrShortWrite
		case end:
			return nil
		}
		if err := w.fill(); err != nil {
			return err
		}
	}
}

// bytes reads the n bytes of a chunk in the same way.
func (w *wire) bytes(n int64, sink func([]byte) bool) error {
	w.grow()
	for n > 0 {
		if w.r == w.w {
			if err := w.fill(); err != nil {
				return err
			}
		}
		p := w.buf[w.r:min(int64(w.w), int64(w.r)+n)]
		w.r += len(p)
		n -= int64(len(p))
		if !sink(p) {
			return io.ErrShortWrite
		}
	}
	return nil
}

// dots takes the dots away and finds the end.
type dots struct {
	bol bool // the next byte begins a line that follows a CRLF
	cr  bool // the last byte was a CR
}

// next passes what it understands of b to sink, says how many bytes that were and
// whether the end was among them. It sets *sink to nil when that has enough.
func (d *dots) next(b []byte, sink *func([]byte) bool) (n int, end bool) {
	run := 0 // b[run:n] waits for sink
	flush := func() {
		if run < n && *sink != nil && !(*sink)(b[run:n]) {
			*sink = nil
		}
	}
	for n < len(b) && *sink != nil {
		if d.bol {
			if b[n] == '.' {
				rest := b[n:]
				if len(rest) < len(eod) && bytes.HasPrefix(eod, rest) {
					break // it depends on what comes
				}
				flush()
				if bytes.HasPrefix(rest, eod) {
					return n + len(eod), true
				}
				n++
				run = n
			}
			d.bol = false
		}
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			if n < len(b) {
				d.cr = b[len(b)-1] == '\r'
			}
			n = len(b)
			break
		}
		d.bol = i > 0 && b[n+i-1] == '\r' || i == 0 && d.cr
		d.cr = false
		n += i + 1
	}
	flush()
	return n, false
}
