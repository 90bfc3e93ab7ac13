package smtp

import (
	"bytes"
	"strings"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store/blob"
)

// spool checks content on its way into a blob, in one pass and with little
// memory. What is wrong with it does not stop the pass, because the client has no
// way to hear of it before the end; but nothing is kept any more then.
type spool struct {
	max    int64 // bytes
	line   int   // longest line
	header int   // longest header
	hops   int   // too many Received fields
	own    string
	loose  bool // a bare LF becomes CRLF

	w   blob.Writer // nil when it failed to begin
	err error       // of w
	bad *mailkeel.Error

	n        int64 // bytes that came, with those that were dropped
	kept     int64 // bytes in w
	inHeader bool
	noHeader bool // a line that is no field came: the size of what follows is free
	head     int  // bytes of the header so far
	received int
	part     []byte // of a header line that is not complete
	held     []byte // of a field whose fate is not clear
	dropping bool   // the field that is being read is dropped
	cr       bool   // the last byte was a CR
	length   int    // of the line so far
	eight    bool   // bytes above 127 came
	eightTop bool   // and in the header
}

// refuse notes what is wrong; the first counts.
func (s *spool) refuse(code int, enhanced [3]int, text string, args ...any) {
	if s.bad == nil {
		s.bad = no(code, enhanced, text, args...)
	}
}

// keep reports whether it makes sense to go on writing.
func (s *spool) keep() bool { return s.bad == nil && s.err == nil && s.w != nil }

// Write takes a piece of content. It reports whether the client may go on: one
// that sends much more than it may is not listened to for long.
func (s *spool) Write(p []byte) bool {
	s.n += int64(len(p))
	if s.n > s.max {
		s.refuse(552, [3]int{5, 3, 4}, "message too large, the limit is %d bytes", s.max)
	}
	if s.keep() {
		s.check(p)
	}
	return s.n <= 2*s.max+spare
}

// spare is how many bytes more than twice the limit are listened to.
const spare = 1 << 20

// check looks at line ends and other forbidden bytes, and passes on.
func (s *spool) check(p []byte) {
	if bytes.IndexByte(p, 0) >= 0 {
		s.refuse(550, [3]int{5, 6, 0}, "message contains a NUL byte")
	}
	s.eight = s.eight || high(p)
	returns := bytes.Count(p, []byte{'\r'})
	if s.cr {
		returns++
	}
	rest := p
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if i > 0 && rest[i-1] == '\r' || i == 0 && s.cr {
			returns--
		} else if !s.loose {
			s.refuse(550, [3]int{5, 6, 0}, "message contains a bare LF")
		} else {
			s.pass(p[:len(p)-len(rest)+i])
			s.pass([]byte("\r\n"))
			p = rest[i+1:]
		}
		if s.length+i > s.line+1 {
			s.tooLong()
		}
		s.length, s.cr = 0, false
		rest = rest[i+1:]
	}
	if len(rest) > 0 {
		s.length += len(rest)
		if s.length > s.line+1 {
			s.tooLong()
		}
		if s.cr = rest[len(rest)-1] == '\r'; s.cr {
			returns--
		}
	}
	if returns > 0 {
		s.refuse(550, [3]int{5, 6, 0}, "message contains a bare CR")
	}
	s.pass(p)
}

func (s *spool) tooLong() {
	s.refuse(550, [3]int{5, 6, 0}, "message contains a line longer than %d bytes", s.line)
}

// high reports whether p has bytes above 127.
func high(p []byte) bool {
	for len(p) >= 8 {
		if (p[0]|p[1]|p[2]|p[3]|p[4]|p[5]|p[6]|p[7])&0x80 != 0 {
			return true
		}
		p = p[8:]
	}
	for _, b := range p {
		if b&0x80 != 0 {
			return true
		}
	}
	return false
}

// pass puts p into the blob, but for header fields that are dropped.
func (s *spool) pass(p []byte) {
	run, at := 0, 0 // p[run:at] is kept and not yet written
	for s.inHeader && at < len(p) && s.bad == nil {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			s.put(p[run:at])
			s.part = append(s.part, p[at:]...)
			s.headBytes(len(p) - at)
			return
		}
		end := at + i + 1
		line := p[at:end]
		if len(s.part) > 0 { // at is 0
			s.part = append(s.part, line...)
			if s.field(s.part) {
				s.put(s.part)
			}
			s.part, run = s.part[:0], end
		} else {
			if line[0]|0x20 == 'a' { // field may put it itself
				s.put(p[run:at])
				run = at
			}
			if !s.field(line) {
				s.put(p[run:at])
				run = end
			}
		}
		s.headBytes(end - at)
		at = end
	}
	s.put(p[run:])
}

func (s *spool) headBytes(n int) {
	if s.head += n; s.head > s.header && s.inHeader && !s.noHeader {
		s.refuse(552, [3]int{5, 3, 4}, "message header too large, the limit is %d bytes", s.header)
	}
}

// field looks at a line of the header and reports whether it is kept. A line that
// is held is put later.
func (s *spool) field(line []byte) bool {
	s.eightTop = s.eightTop || high(line)
	if line[0] == ' ' || line[0] == '\t' {
		switch {
		case s.dropping:
			return false
		case s.held != nil:
			if s.held = append(s.held, line...); len(s.held) >= maxHeld {
				s.judge(false)
			}
			return false
		}
		return true
	}
	s.judge(true)
	s.dropping = false
	name, ok := fieldName(line)
	switch {
	case line[0] == '\r' || line[0] == '\n':
		s.inHeader = false
	case !ok:
		s.noHeader = true // but some readers go on as if nothing was, and so do we
	case is(name, "Received"):
		if s.received++; s.received >= s.hops {
			s.refuse(554, [3]int{5, 4, 6}, "mail loop: too many hops")
		}
	case is(name, "Authentication-Results"):
		s.held = append([]byte(nil), line...)
		s.judge(false)
		return false
	}
	return true
}

// fieldName is what stands before the colon (RFC 5322, 2.2, and 4.5 for spaces).
func fieldName(line []byte) ([]byte, bool) {
	i := bytes.IndexByte(line, ':')
	if i < 1 {
		return nil, false
	}
	name := bytes.TrimRight(line[:i], " \t")
	for _, b := range name {
		if b <= ' ' || b >= 0x7f {
			return nil, false
		}
	}
	return name, len(name) > 0
}

// is reports whether a field has a name, whatever the case of its letters.
func is(field []byte, name string) bool {
	return len(field) == len(name) && strings.EqualFold(string(field), name)
}

// maxHeld is how much of an Authentication-Results field is looked at; one that
// does not say before whose it is, is nobody's.
const maxHeld = 4 << 10

// judge decides about a held field, if it says enough or no more comes. Nobody
// else may speak in our name (RFC 8601, 5).
func (s *spool) judge(complete bool) {
	if s.held == nil {
		return
	}
	id, known := authservID(s.held[bytes.IndexByte(s.held, ':')+1:])
	if !known && !complete && len(s.held) < maxHeld {
		return
	}
	if known && strings.EqualFold(strings.TrimSuffix(id, "."), s.own) || !known && len(s.held) >= maxHeld {
		s.dropping = true
	} else {
		s.put(s.held)
	}
	s.held = nil
}

// authservID reads the authserv-id at the beginning of a field's value (RFC 8601,
// 2.2), and reports whether it is there as a whole.
func authservID(v []byte) (id string, known bool) {
	i := 0
	for depth := 0; i < len(v); i++ {
		switch b := v[i]; {
		case b == '\\' && depth > 0:
			i++
		case b == '(':
			depth++
		case b == ')' && depth > 0:
			depth--
		case depth > 0, b == ' ', b == '\t', b == '\r', b == '\n':
		default:
			goto value
		}
	}
value:
	if i >= len(v) {
		return "", false
	}
	var b strings.Builder
	if v[i] == '"' {
		for i++; i < len(v); i++ {
			switch v[i] {
			case '"':
				return b.String(), true
			case '\\':
				i++
			}
			if i < len(v) {
				b.WriteByte(v[i])
			}
		}
		return "", false
	}
	for ; i < len(v) && !strings.ContainsRune(" \t\r\n;(", rune(v[i])); i++ {
		b.WriteByte(v[i])
	}
	return b.String(), i < len(v)
}

// put writes to the blob.
func (s *spool) put(p []byte) {
	if len(p) > 0 && s.keep() {
		_, s.err = s.w.Write(p)
		s.kept += int64(len(p))
	}
}

// end is called when all has come.
func (s *spool) end() {
	if s.cr && s.err == nil { // else what came next was not looked at
		s.refuse(550, [3]int{5, 6, 0}, "message contains a bare CR")
	}
	if len(s.part) > 0 && s.field(s.part) {
		s.put(s.part)
	}
	s.part = nil
	s.judge(true)
}

// close gives up what was not stored.
func (s *spool) close() {
	if s.w != nil {
		s.w.Close()
	}
}
