package smtp

import (
	"bytes"
	"io"
	"time"
)

// eod is the end of content that the engine waits for after we have read it.
var eod = []byte(".\r\n")

// content reads the content of DATA up to CRLF.CRLF, and nothing but that ends
// it (RFC 5321, 4.1.1.4 and 4.5.2). sink gets the bytes without the stuffed dots,
// in pieces that are only valid during the call. When sink returns false reading
// ends in io.ErrShortWrite.
//
// The engine, which is told that data follow and finds their end at once, reads
// none of it.
func (w *wire) content(sink func([]byte) bool) error {
	g := w.c.g
	g.SetIdle(w.c.s.dataTimeout())
	g.SetLimit(time.Now().Add(w.c.s.messageTimeout()))
	defer g.SetIdle(w.c.s.commandTimeout())
	w.grow()
	d := dots{bol: true}
	for {
		n, end := d.next(w.buf[w.r:w.w], &sink)
		w.r += n
		switch {
		case sink == nil:
			return io.ErrShortWrite
		case end:
			w.give = eod
			return nil
		}
		if err := w.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
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
