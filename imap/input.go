package imap

import (
	"errors"

	"github.com/mailkeel/mailkeel/internal/guard"
)

// An input reads what one client sends. Before it waits for the client, what was
// written leaves.
type input struct {
	c      *conn
	w      *writer
	br     readAhead
	long   []byte // a line that did not fit into br
	authed bool   // the limits after login hold
	// inside is set from when a literal was accepted until the line after it was
	// read. A command that ends between leaves bytes that are no commands.
	inside bool
}

func newInput(c *conn, w *writer) *input {
	in := &input{c: c, w: w}
	in.br.src = source{in}
	return in
}

// Read gives bytes as they are, for literals.
func (in *input) Read(p []byte) (int, error) { return in.br.Read(p) }

// reset drops what was read ahead: what a client sends before TLS is not taken for
// something that came under its protection (RFC 9051, 6.2.1).
func (in *input) reset() { in.br.reset() }

// pending reports whether the client has sent more already.
func (in *input) pending() bool { return in.br.buffered() > 0 }

// source reads from the network for input.br.
type source struct{ in *input }

// Read waits for the client. Others may wake it, for what conn.woken does.
func (s source) Read(p []byte) (int, error) {
	c := s.in.c
	for {
		if err := s.in.w.release(); err != nil {
			return 0, lost{err}
		}
		c.waiting()
		n, err := c.net.Read(p)
		c.rec.Note(false, p[:n])
		c.working()
		switch {
		case err == nil:
			return n, nil
		case !errors.Is(err, guard.ErrWoken):
			return n, lost{err}
		case n > 0:
			return n, nil
		}
		if err := c.woken(); err != nil {
			return 0, err
		}
	}
}

// readLine reads a line and takes its CRLF off; a bare LF will do. Of a line of
// more than limit bytes it returns the beginning and cut, and skips the rest, but
// still says which literal it announced. The line is valid until the next read.
func (in *input) readLine(limit int) (line []byte, lit literal, cut bool, err error) {
	if in.inside && !in.pending() {
		// Many clients send what follows a literal by itself.
		in.c.low.QuickAck()
	}
	if cap(in.long) > inputBuffer {
		in.long = nil // one long command does not cost memory for ever
	}
	in.long, in.inside = in.long[:0], false
	var end [64]byte // of what is skipped
	tail := end[:0]
	skipped := 0
	for {
		b, err := in.br.line()
		if err != nil && err != errLong {
			return nil, literal{}, false, err
		}
		whole := err == nil
		if whole && len(in.long) == 0 && skipped == 0 { // the usual case: no copy
			b = trimCRLF(b)
			if len(b) <= limit {
				return b, findLiteral(b), false, nil
			}
		}
		room := max(0, limit-len(in.long))
		if k := min(room, len(b)); k > 0 {
			if need := len(in.long) + k; need > cap(in.long) {
				in.long = append(make([]byte, 0, min(limit, max(need, 2*cap(in.long)))), in.long...)
			}
			in.long = append(in.long, b[:k]...)
		}
		if len(b) > room {
			cut = true
			skipped += len(b) - room
			tail = append(end[:0], keepLast(tail, b, len(end))...)
		}
		if skipped > maxSkip {
			return nil, literal{}, true, bye("", "Command line is too long")
		}
		if !whole {
			continue
		}
		if cut {
			tail = trimCRLF(tail)
			lit = findLiteral(tail)
			lit.mark = -1 // its announcement is not part of the line
			return in.long, lit, true, nil
		}
		line = trimCRLF(in.long)
		return line, findLiteral(line), false, nil
	}
}

// keepLast returns the last n bytes of a and b together.
func keepLast(a, b []byte, n int) []byte {
	if len(b) >= n {
		return b[len(b)-n:]
	}
	a = a[max(0, len(a)+len(b)-n):]
	return append(a[:len(a):len(a)], b...)
}

func trimCRLF(b []byte) []byte {
	n := len(b)
	if n > 0 && b[n-1] == '\n' {
		n--
		if n > 0 && b[n-1] == '\r' {
			n--
		}
	}
	return b[:n]
}

// lost is an error of the connection itself. After one nothing can be said.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// gone reports whether err ends the connection without a word.
func gone(err error) bool {
	var l lost
	return errors.As(err, &l) || errors.Is(err, errClosed)
}
