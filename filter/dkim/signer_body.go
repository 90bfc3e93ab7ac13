package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash"
	"io"
)

// A lineReader gives a message as it will be sent (internal/smtpclient): a CR or LF
// that stands alone becomes a line end, a NUL a space, and the last line has an end.
// Otherwise the receiver would see another text than was signed.
type lineReader struct {
	r   io.Reader
	err error
	cr  bool // the last byte was a CR, whose line end was given
	lf  bool // the second byte of a line end is to be given
	mid bool // inside a line
	in  []byte
	buf [16 << 10]byte
}

func (l *lineReader) Read(p []byte) (n int, err error) {
	for n == 0 && len(p) > 0 {
		switch {
		case l.lf || len(l.in) > 0:
			n = l.convert(p)
		case l.err == nil:
			n, l.err = l.r.Read(l.buf[:])
			l.in, n = l.buf[:n], 0
		case l.err == io.EOF && l.mid:
			l.mid, l.lf = false, true
			n = copy(p, "\r")
		default:
			return 0, l.err
		}
	}
	return n, nil
}

// convert moves bytes of in to p and returns how many it made.
func (l *lineReader) convert(p []byte) (n int) {
	for n < len(p) {
		if l.lf {
			p[n] = '\n'
			n, l.lf = n+1, false
			continue
		}
		if len(l.in) == 0 {
			break
		}
		if l.cr && l.in[0] == '\n' {
			l.in, l.cr = l.in[1:], false
			continue
		}
		l.cr = false
		text := l.in[:min(len(l.in), len(p)-n)]
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[:i]
		}
		if i := bytes.IndexByte(text, '\r'); i >= 0 {
			text = text[:i]
		}
		if len(text) == 0 {
			l.cr = l.in[0] == '\r'
			l.in = l.in[1:]
			p[n] = '\r'
			n, l.lf, l.mid = n+1, true, false
			continue
		}
		to := p[n : n+copy(p[n:], text)]
		for i := bytes.IndexByte(to, 0); i >= 0; i = bytes.IndexByte(to, 0) {
			to[i], to = ' ', to[i+1:]
			n += i + 1
		}
		l.in, n, l.mid = l.in[len(text):], n+len(to), true
	}
	return n
}

// hashBody returns the SHA-256 of a body in relaxed form (RFC 6376, 3.4.4). Its lines
// end in CRLF.
func hashBody(ctx context.Context, r io.Reader) ([]byte, error) {
	b := bodyHash{h: sha256.New()}
	buf := make([]byte, 32<<10)
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		n, err := r.Read(buf)
		b.write(buf[:n])
		if err == io.EOF {
			return b.sum(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// A bodyHash takes a body in pieces. Spaces and line ends are written only once
// something follows them.
type bodyHash struct {
	h    hash.Hash
	ends int  // line ends not yet written
	gap  bool // spaces not yet written
	some bool // something was written
	out  [4 << 10]byte
	n    int
}

func (b *bodyHash) put(p []byte) {
	for len(p) > 0 {
		if b.n == len(b.out) {
			b.flush()
		}
		m := copy(b.out[b.n:], p)
		b.n, p = b.n+m, p[m:]
	}
}

func (b *bodyHash) flush() {
	b.h.Write(b.out[:b.n])
	b.n = 0
}

var lineEnd = []byte("\r\n")

func (b *bodyHash) write(p []byte) {
	for len(p) > 0 {
		switch p[0] {
		case '\n':
			b.ends++
			b.gap = false // spaces at the end of a line
			p = p[1:]
			continue
		case '\r':
			p = p[1:]
			continue
		case ' ', '\t':
			b.gap = true
			p = p[1:]
			continue
		}
		i := run(p)
		for ; b.ends > 0; b.ends-- {
			b.put(lineEnd)
		}
		if b.gap {
			b.put([]byte{' '})
			b.gap = false
		}
		b.put(p[:i])
		b.some = true
		p = p[i:]
	}
}

// run is how much of p, which begins with a word, goes out as it is: words, and single
// spaces between them.
func run(p []byte) int {
	i := 1
	for i < len(p) {
		switch c := p[i]; {
		case c > ' ':
			i++
		case c == ' ' && i+1 < len(p) && p[i+1] > ' ':
			i += 2
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			return i
		default:
			i++
		}
	}
	return i
}

// sum ends the last line. A body of nothing but line ends is empty.
func (b *bodyHash) sum() []byte {
	if b.some {
		b.put(lineEnd)
	}
	b.flush()
	return b.h.Sum(nil)
}
