package packblob

import (
	"io"
	"slices"
)

// readAhead is how much is read at once for who reads one blob after the other, as they
// lie: who looks for a word in all messages of a mailbox.
const readAhead = 64 << 10

// A stretch is a part of a segment that was read. Records do not change where they are.
type stretch struct {
	g    *segment
	off  int64
	buf  []byte
	next int64 // where the record ends that was asked for last
}

// stretch returns one, for one user: most likely that which the same goroutine used before.
func (s *Store) stretch() *stretch {
	if w, ok := s.stretches.Get().(*stretch); ok {
		return w
	}
	return new(stretch)
}

// payload checks a record, and returns its payload, which is valid until the next call.
// The caller holds the segment.
func (w *stretch) payload(f io.ReaderAt, g *segment, h hash, p place) ([]byte, error) {
	// A batch begins with a block of its own.
	ahead := w.g == g && p.off() >= w.next && p.off()-w.next < blockSize
	w.next = p.off() + p.record
	if at := p.off() - w.off; w.g == g && at >= 0 && at+p.record <= int64(len(w.buf)) {
		if b, err := check(w.buf[at:at+p.record], g.tag, h, p); err == nil {
			return b, nil
		}
		ahead = false // what there is now says what is wrong
	}
	n := p.record
	if ahead && n < readAhead {
		g.s.mu.Lock()
		n = max(n, min(readAhead, g.end-p.off()))
		g.s.mu.Unlock()
	}
	w.g, w.off, w.buf = g, p.off(), slices.Grow(w.buf[:0], int(n))[:n]
	if err := readFull(f, w.buf, p.off()); err != nil {
		w.g = nil
		if n > p.record { // one of the others, perhaps
			return w.payload(f, g, h, p)
		}
		if eofIsNil(err) == nil {
			err = errWrong
		}
		return nil, err
	}
	b, err := check(w.buf[:p.record], g.tag, h, p)
	if err != nil {
		w.g = nil
	}
	return b, err
}

// check returns the payload of a whole record, if it is as it was written.
func check(b []byte, t tag, h hash, p place) ([]byte, error) {
	rec, ok := decodeRecord(b, t)
	if !ok || !rec.at(h, p) {
		return nil, errWrong
	}
	payload := b[headerSize:][:rec.length]
	if checksum(payload) != rec.sum {
		return nil, errWrong
	}
	return payload, nil
}
