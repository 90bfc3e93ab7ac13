package pop3

import (
	"bytes"
	"errors"
	"io"
	"math"

	"github.com/mailkeel/mailkeel/internal/linewriter"
)

// retr is RETR (RFC 1939, 5).
func (c *conn) retr(args []string) error {
	i, err := c.drop.find(args[0])
	if err != nil {
		return err
	}
	if err := c.send(i, math.MaxInt); err != nil {
		return err
	}
	c.sent++
	c.drop.seen.set(i, len(c.drop.rows))
	return nil
}

// top is TOP (RFC 1939, 7).
func (c *conn) top(args []string) error {
	i, err := c.drop.find(args[0])
	if err != nil {
		return err
	}
	lines, err := number(args[1])
	if err != nil {
		return err
	}
	return c.send(i, lines)
}

// send sends a message: all of it for math.MaxInt, otherwise its header and as many
// lines of its body.
func (c *conn) send(i, lines int) error {
	_, rc, err := c.access.Open(c.ctx, c.drop.box, c.drop.rows[i].uid)
	if err != nil {
		return err
	}
	defer rc.Close()
	c.w.raw("+OK")
	whole := lines == math.MaxInt
	if whole {
		c.w.raw(" ")
		c.w.num(c.drop.size(i))
		c.w.raw(" octets")
	}
	c.w.crlf()
	st := &stuffer{w: &c.w, top: !whole, lines: lines, begin: true, blank: true, last: [2]byte{'\r', '\n'}}
	n, err := st.copy(rc)
	switch {
	case err != nil:
		return err
	case whole && n != c.drop.size(i):
		return errShort
	}
	if st.last != [2]byte{'\r', '\n'} {
		c.w.crlf()
	}
	c.w.dot()
	return c.w.lost()
}

// A stuffer puts a dot before each line that begins with one (RFC 1939, 3), and
// stops where TOP does. Lines end with LF, whatever is before it.
type stuffer struct {
	w     *writer
	begin bool    // at the beginning of a line
	last  [2]byte // the last bytes written

	top   bool
	body  bool // past the header
	blank bool // nothing but CR in this line so far
	lines int  // of the body that are still to come
}

var lineDot = []byte("\n.")

// copy writes r and returns how many of its bytes.
func (s *stuffer) copy(r io.Reader) (n int64, err error) {
	pool := linewriter.Borrow()
	defer linewriter.Return(pool)
	buf := (*pool)[:linewriter.Chunk]
	for {
		k, err := r.Read(buf)
		n += int64(k)
		p, end := buf[:k], false
		if s.top {
			p, end = s.cut(p)
		}
		s.write(p)
		switch {
		case s.w.Err != nil:
			return n, s.w.lost()
		case end || errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

func (s *stuffer) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if len(p) == 1 {
		s.last = [2]byte{s.last[1], p[0]}
	} else {
		s.last = [2]byte(p[len(p)-2:])
	}
	if s.begin && p[0] == '.' {
		s.w.raw(".")
	}
	s.begin = s.last[1] == '\n'
	for {
		i := bytes.Index(p, lineDot)
		if i < 0 {
			s.w.bytes(p)
			return
		}
		s.w.bytes(p[:i+1])
		s.w.raw(".")
		p = p[i+1:]
	}
}

// cut returns the part of p that TOP sends, and whether that was the last.
func (s *stuffer) cut(p []byte) (part []byte, end bool) {
	for i := 0; i < len(p); {
		if s.body && s.lines == 0 {
			return p[:i], true
		}
		k := bytes.IndexByte(p[i:], '\n')
		if k < 0 {
			s.blank = s.blank && onlyCR(p[i:])
			return p, false
		}
		switch {
		case s.body:
			s.lines--
		case s.blank && onlyCR(p[i:i+k]):
			s.body = true
		}
		s.blank = true
		i += k + 1
	}
	return p, s.body && s.lines == 0
}

func onlyCR(p []byte) bool { return len(bytes.TrimLeft(p, "\r")) == 0 }
