package pop3

import (
	"bufio"
	"slices"

	"github.com/mailkeel/mailkeel/accounts/sasl"
)

const (
	// inputBuffer is how much of what a client sends is read ahead.
	inputBuffer = 1 << 10
	// maxHeld is how much of a line is held before login: the longest response of
	// an exchange that could be right, in base64, with "AUTH" before it. What is
	// longer is read, as RFC 5034 asks, and refused.
	maxHeld = (sasl.MaxResponse+2)/3*4 + maxCommand
)

// An input reads the lines of one client. Before it waits for the client, what was
// written leaves.
type input struct {
	br   *bufio.Reader
	long []byte // a line that did not fit into br
}

func newInput(c *conn) input {
	return input{br: bufio.NewReaderSize(source{c}, inputBuffer)}
}

// reset drops what was read ahead: what a client sends before TLS is not taken for
// something that came under its protection (RFC 2595, 4).
func (in *input) reset(c *conn) { in.br.Reset(source{c}) }

// pending reports whether the client has sent more already.
func (in *input) pending() bool { return in.br.Buffered() > 0 }

// source reads from the network for input.br.
type source struct{ c *conn }

// Read waits for the client. A Shutdown may interrupt that.
func (s source) Read(p []byte) (int, error) {
	c := s.c
	if err := c.w.release(); err != nil {
		return 0, lost{err}
	}
	c.low.Busy(false)
	n, err := c.net.Read(p)
	c.rec.Note(false, p[:n])
	c.low.Busy(true)
	if err != nil {
		return n, lost{err}
	}
	return n, nil
}

// readLine reads a line and takes its CRLF off; a bare LF will do. Of a line of more
// than limit bytes it returns the beginning and cut, and skips the rest, up to most
// bytes in all. The line is valid until the next read.
func (in *input) readLine(limit, most int) (line []byte, cut bool, err error) {
	in.long = nil // one long line does not cost memory for ever
	total := 0
	for {
		b, err := in.br.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, false, err
		}
		whole := err == nil
		if total += len(b); total > most {
			return nil, false, bye("Line is too long")
		}
		if whole && total == len(b) && len(b) <= limit { // the usual case: no copy
			return trimCRLF(b), false, nil
		}
		if k := min(limit-len(in.long), len(b)); k > 0 {
			in.long = append(slices.Grow(in.long, k), b[:k]...)
		}
		if whole {
			if total > limit {
				return in.long, true, nil
			}
			return trimCRLF(in.long), false, nil
		}
	}
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
