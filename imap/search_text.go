package imap

import (
	"bytes"
	"io"

	"github.com/mailkeel/mailkeel/internal/header"
	"github.com/mailkeel/mailkeel/internal/searchtext"
	"github.com/mailkeel/mailkeel/internal/textfold"
)

// A textSearch looks for the needles of a query in one message. It is a
// searchtext.Sink for the texts below the header.
type textSearch struct {
	q    *query
	f    *facts
	news bool // something was found since Done was asked

	fold    textfold.Folder
	in, buf []byte
}

var _ searchtext.Sink = (*textSearch)(nil)

// Done reports whether the message matches, or does not, whatever else it says.
func (s *textSearch) Done() bool {
	if !s.news {
		return false
	}
	s.news = false
	return s.q.ask(s.q.matcher, s.f) != unknown
}

// looksFor reports whether a needle is still looked for, in the message's header or
// below it.
func (s *textSearch) looksFor(i int, header bool) bool {
	return s.f.text[i] == unknown && (!header || s.q.needles[i].header)
}

// look looks into folded text.
func (s *textSearch) look(text []byte, header bool) {
	for i := range s.q.needles {
		if s.looksFor(i, header) && s.q.needles[i].In(text) {
			s.f.text[i], s.news = holds, true
		}
	}
}

func (s *textSearch) lookRaw(text []byte, header bool) {
	for i := range s.q.needles {
		if s.looksFor(i, header) && s.q.needles[i].InASCII(text) {
			s.f.text[i], s.news = holds, true
		}
	}
}

// Text looks into a whole text.
func (s *textSearch) Text(text []byte, ascii bool) { s.whole(text, ascii, false) }

func (s *textSearch) whole(text []byte, ascii, header bool) {
	if ascii || textfold.ASCII(text) {
		s.lookRaw(text, header)
		return
	}
	s.buf = s.fold.Append(s.buf[:0], text)
	s.look(s.buf, header)
}

// header looks into each field of the header of the message.
func (s *textSearch) header(h *header.Header) {
	wanted := false
	for i := range s.q.needles {
		wanted = wanted || s.looksFor(i, true)
	}
	if !wanted {
		return
	}
	for x := range h.Fields() {
		s.whole([]byte(searchtext.LineText(x)), false, true)
	}
}

// notInHeader reports whether a raw header surely has nothing of what is still looked
// for in it. Fields are not told apart, so a needle with a colon is not decided, nor
// what words in another charset say.
func (s *textSearch) notInHeader(raw []byte) bool {
	if raw == nil || bytes.Contains(raw, []byte("=?")) || !textfold.ASCII(raw) {
		return false
	}
	for i := range s.q.headers {
		if k := &s.q.headers[i]; s.f.header[i] == unknown && k.needle.InASCII(raw) {
			return false
		}
	}
	for i := range s.q.needles {
		if n := &s.q.needles[i]; s.looksFor(i, true) && (bytes.IndexByte(n.Text(), ':') >= 0 || n.InASCII(raw)) {
			return false
		}
	}
	for i, v := range s.f.header {
		if v == unknown {
			s.f.header[i] = fails
		}
	}
	return true
}

// Stream looks into a text that may be long.
func (s *textSearch) Stream(r io.Reader) error {
	longest := 1
	for i := range s.q.needles {
		longest = max(longest, len(s.q.needles[i].Text()))
	}
	if s.in == nil {
		s.in = make([]byte, 8<<10)
	}
	left := 0 // bytes of in that may belong with what follows
	s.buf = s.buf[:0]
	for {
		n, err := r.Read(s.in[left:])
		n += left
		whole := n
		if err == nil {
			whole = textfold.Closed(s.in[:n])
		}
		s.buf = s.fold.Append(s.buf, s.in[:whole])
		s.look(s.buf, false)
		if s.Done() {
			return nil
		}
		left = copy(s.in, s.in[whole:n])
		// Keep what may be the beginning of a needle.
		if len(s.buf) > longest {
			s.buf = s.buf[:copy(s.buf, s.buf[len(s.buf)-longest:])]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
