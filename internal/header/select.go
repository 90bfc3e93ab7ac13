package header

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Select returns a reader of those fields of the header in r whose name keep returns
// true for, as they came, and then of a blank line. It needs little memory however
// long the header is. keep must not hold on to name.
func Select(r io.Reader, keep func(name []byte) bool) io.Reader {
	return &selector{r: bufio.NewReader(r), keep: keep}
}

// AppendSelected appends what Select reads from a header that is in memory. to may be
// the beginning of h itself, which is then lost.
func AppendSelected(to, h []byte, keep func(name []byte) bool) []byte {
	to, _ = AppendFields(to, h, keep)
	return append(to, '\r', '\n')
}

// AppendFields is AppendSelected without the blank line. It reports whether h is nothing
// but whole fields, so that the first field of a header that follows it is one, too.
func AppendFields(to, h []byte, keep func(name []byte) bool) (_ []byte, whole bool) {
	field, kept, lf := false, false, false
	whole = len(h) == 0 || h[len(h)-1] == '\n'
	for first := true; len(h) > 0; first = false {
		line := h
		if i := bytes.IndexByte(h, '\n'); i >= 0 {
			line = h[:i+1]
		}
		if Blank(line) {
			whole = false
			break
		}
		if !field || !Folded(line) {
			i := Colon(line)
			if i < 0 && !(first && Mbox(line)) {
				whole = false
				break
			}
			kept = false
			if i >= 0 {
				field, kept = true, keep(Field{line, i}.name())
			}
		}
		h = h[len(line):]
		if kept {
			lf = line[len(line)-1] == '\n'
			to = append(to, line...)
		}
	}
	if kept && !lf {
		to = append(to, '\r', '\n')
	}
	return to, whole
}

type selector struct {
	r    *bufio.Reader
	keep func([]byte) bool
	out  []byte
	err  error

	started bool // something was read
	field   bool // a field was read
	kept    bool // the field at hand is kept
	mid     bool // its line goes on
	lf      bool // what was kept ends a line
}

func (s *selector) Read(b []byte) (int, error) {
	for len(s.out) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.next()
	}
	n := copy(b, s.out)
	s.out = s.out[n:]
	return n, nil
}

func (s *selector) next() {
	line, err := s.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
		s.err = err
		return
	}
	first := !s.started
	s.started = true
	switch {
	case s.mid && len(line) > 0:
	case Blank(line) || len(line) == 0:
		s.end()
		return
	case s.field && Folded(line):
	default:
		i := Colon(line)
		if i < 0 {
			if !(first && Mbox(line)) {
				s.end()
				return
			}
			s.kept = false
			break
		}
		name := Field{line, i}.name()
		s.field, s.kept = true, s.keep(name)
	}
	s.mid = errors.Is(err, bufio.ErrBufferFull)
	if s.kept {
		s.out = line
		s.lf = line[len(line)-1] == '\n'
	}
}

// end writes the blank line, after a line end if the last field has none.
func (s *selector) end() {
	s.err = io.EOF
	if s.out = []byte("\r\n"); s.kept && !s.lf {
		s.out = []byte("\r\n\r\n")
	}
}
