package mailauth

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

var space = []byte(" ")

// A bodyHash is the SHA-256 of a body as it is signed (RFC 6376, 3.4.3 and 3.4.4). It
// keeps counts of what it must hold back, not the bytes.
type bodyHash struct {
	relaxed bool
	sha     hash.Hash
	out     []byte // not yet hashed
	some    bool   // there was more than empty lines

	lines int  // ends of lines that are held back, for they may be the last
	space bool // so are spaces
	cr    bool // so is a CR, for a LF may follow
}

func newBodyHash(relaxed bool) *bodyHash {
	return &bodyHash{relaxed: relaxed, sha: sha256.New(), out: make([]byte, 0, 4<<10)}
}

func (b *bodyHash) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if b.cr && p[0] != '\n' {
			b.cr = false
			b.text(crlf[:1])
		}
		switch c := p[0]; {
		case c == '\n':
			b.lines++
			b.cr, b.space = false, false
			p = p[1:]
			continue
		case c == '\r':
			b.cr = true
			p = p[1:]
			continue
		case b.relaxed && (c == ' ' || c == '\t'):
			b.space = true
			p = p[1:]
			continue
		}
		end := b.run(p)
		b.text(p[:end])
		p = p[end:]
	}
	return n, nil
}

// run is how much of p goes out as it is. It begins with something that does.
func (b *bodyHash) run(p []byte) int {
	if !b.relaxed {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			end = len(p)
		}
		if i := bytes.IndexByte(p[:end], '\r'); i >= 0 {
			end = i
		}
		return end
	}
	for i, c := range p {
		if c <= ' ' && (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			return i
		}
	}
	return len(p)
}

// text puts out what was held back, and text.
func (b *bodyHash) text(p []byte) {
	for ; b.lines > 0; b.lines-- {
		b.put(crlf)
	}
	if b.space {
		b.put(space)
		b.space = false
	}
	b.some = true
	b.put(p)
}

func (b *bodyHash) put(p []byte) {
	if len(b.out)+len(p) > cap(b.out) {
		b.sha.Write(b.out)
		b.out = b.out[:0]
		if len(p) > cap(b.out)/2 {
			b.sha.Write(p)
			return
		}
	}
	b.out = append(b.out, p...)
}

// sum ends the body. An empty one is one line in the simple form and nothing in the
// relaxed.
func (b *bodyHash) sum() []byte {
	if b.cr {
		b.cr = false
		b.text(crlf[:1])
	}
	if b.some || !b.relaxed {
		b.put(crlf)
	}
	b.sha.Write(b.out)
	b.out = b.out[:0]
	return b.sha.Sum(nil)
}
