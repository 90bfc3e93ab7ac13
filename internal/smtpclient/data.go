package smtpclient

import (
	"bytes"
	"io"
)

// A dotWriter writes a content as DATA wants it (RFC 5321, 4.5.2): every line
// ends in CRLF and a dot that begins one is doubled. A CR or LF that stands alone
// becomes a line end, and a NUL a space, so that nothing in it can be taken for
// the end of the content, by any peer.
type dotWriter struct {
	w   io.Writer // buffered
	cr  bool      // the last byte was a CR, not yet written
	mid bool      // inside a line
	err error
}

var crlf = []byte("\r\n")

func (d *dotWriter) out(p []byte) {
	if d.err == nil && len(p) > 0 {
		_, d.err = d.w.Write(p)
	}
}

func (d *dotWriter) newline() {
	d.out(crlf)
	d.cr, d.mid = false, false
}

// text writes part of a line.
func (d *dotWriter) text(p []byte) {
	if len(p) == 0 {
		return
	}
	if !d.mid && p[0] == '.' {
		d.out([]byte("."))
	}
	d.mid = true
	for {
		i := bytes.IndexByte(p, 0)
		if i < 0 {
			d.out(p)
			return
		}
		d.out(p[:i])
		d.out([]byte(" "))
		p = p[i+1:]
	}
}

func (d *dotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if d.cr {
			if p[0] == '\n' {
				p = p[1:]
			}
			d.newline()
			continue
		}
		line, rest, lf := p, []byte(nil), false
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line, rest, lf = p[:i], p[i+1:], true
		}
		if i := bytes.IndexByte(line, '\r'); i >= 0 {
			d.text(line[:i])
			d.cr = true
			p = p[i+1:]
			continue
		}
		d.text(line)
		if lf {
			d.newline()
		}
		p = rest
	}
	return n, d.err
}

// Close ends the last line and the content.
func (d *dotWriter) Close() error {
	if d.cr || d.mid {
		d.newline()
	}
	d.out([]byte(".\r\n"))
	return d.err
}
