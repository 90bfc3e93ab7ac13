package imap

import (
	"bytes"
	"errors"
	"io"
)

const (
	// restBuffer is how much of what a client sends is taken at first. Most
	// commands fit, so that a connection that waits, which is what connections
	// do, holds no more than this.
	restBuffer = 192
	// earlyBuffer is how much is read ahead of who sends more, before login.
	earlyBuffer = 1 << 10
	// inputBuffer is how much it is after login.
	inputBuffer = 4 << 10
)

// errLong is what line says when a line is longer than its buffer.
var errLong = errors.New("imap: the line goes on")

// A readAhead reads lines ahead, in a small buffer that is its own, and in a large one
// while much comes at once. Large ones are not shared between connections: a slice
// that somebody kept too long must not show what another client sent.
type readAhead struct {
	src   io.Reader
	big   []byte // nil at rest
	r, w  int    // what was read and not taken is between
	much  bool   // the last read filled the buffer
	late  bool   // after login
	small [restBuffer]byte
}

func (l *readAhead) buf() []byte {
	if l.big != nil {
		return l.big
	}
	return l.small[:]
}

// size is how much may be read ahead.
func (l *readAhead) size() int {
	if l.late {
		return inputBuffer
	}
	return earlyBuffer
}

// buffered is how many bytes were read ahead.
func (l *readAhead) buffered() int { return l.w - l.r }

// reset drops what was read ahead.
func (l *readAhead) reset() { l.r, l.w, l.much = 0, 0, false }

// fill reads once more. There is room for it, or is none in the large buffer.
func (l *readAhead) fill() error {
	rest := l.buf()[l.r:l.w]
	switch {
	case len(rest) == 0 && !l.much:
		l.big = nil
	case l.big == nil && (l.much || l.w == restBuffer), l.big != nil && len(l.big) < l.size() && len(rest) == len(l.big):
		l.big = make([]byte, l.size())
		copy(l.big, rest)
	case l.r > 0:
		copy(l.buf(), rest)
	}
	l.r, l.w = 0, len(rest)
	b := l.buf()[l.w:]
	n, err := l.src.Read(b)
	l.w += n
	l.much = n == len(b)
	if n > 0 {
		return nil // an error stays, and comes again
	}
	return err
}

// line returns what is read up to the end of a line, which it includes, or with
// errLong as much as the buffer holds. It is valid until the next call.
func (l *readAhead) line() ([]byte, error) {
	for seen := 0; ; {
		have := l.buf()[l.r:l.w]
		if i := bytes.IndexByte(have[seen:], '\n'); i >= 0 {
			l.r += seen + i + 1
			return have[:seen+i+1], nil
		}
		if l.big != nil && len(have) == len(l.big) && len(have) >= l.size() {
			l.r = l.w
			return have, errLong
		}
		seen = len(have)
		if err := l.fill(); err != nil {
			return nil, err
		}
	}
}

// Read gives bytes as they are. Many at a time are not copied twice.
func (l *readAhead) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if l.r == l.w {
		if len(p) >= inputBuffer {
			l.reset()
			l.big = nil
			return l.src.Read(p)
		}
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.buf()[l.r:l.w])
	l.r += n
	return n, nil
}
