package smtp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/internal/tamper"
)

// wire is the connection that the engine sees. It lies above TLS, so that it sees
// what is said, and gives the engine one command line for each Read. The engine
// therefore never has bytes that nobody has looked at, and this layer can do what
// the engine does badly or not at all:
//
//   - DATA and BDAT (data.go), after which the engine is told RSET;
//   - STARTTLS, after which a fresh engine session begins;
//   - refuse lines with control characters, too long lines and floods;
//   - add EHLO keywords and mend replies (replies.go).
//
// One goroutine reads. Writes may come from another one at the same time.
type wire struct {
	c *conn

	mu  sync.Mutex
	top net.Conn // TLS or not; nil during a handshake

	// For the one that reads.
	buf   []byte
	small []byte // buf while that is a large one
	r, w  int    // unread bytes are buf[r:w]
	give  []byte // part of buf that the engine gets before anything else
	line  []byte // the command that is being handled, without line end
	own   []byte // a line that we made

	cont     bool // the next line answers a SASL challenge
	esmtp    bool
	upgraded bool // TLS has begun; a new engine session takes over
	greeted  bool
	hush     bool // the next reply of the engine is not for the client
	closed   bool
	junk     int   // lines since something useful was done
	wasted   int64 // bytes of chunks that nobody wanted, likewise
	errors   int
	rec      tamper.Recorder
}

const (
	smallBuf = 4 << 10
	dataBuf  = 16 << 10
	// maxCommand is more than RFC 5321, 4.5.3.1.4, has with all extensions here.
	maxCommand = smallBuf - 512
	// maxAuth is the line of RFC 4954, 4, with AUTH and a name before it.
	maxAuth = 12288 + 64
	// maxJunk is how many commands may come without a message between them.
	maxJunk = 200
	// maxErrors is how many broken lines may come.
	maxErrors = 10
)

var (
	// cancel is what a client says to end a SASL exchange (RFC 4954, 4).
	cancel = []byte("*\r\n")
	// nonsense is no base64 for the engine either.
	nonsense = []byte("!\r\n")
	// rset is what the engine is told after a message.
	rset = []byte("RSET\r\n")
)

var _ net.Conn = (*wire)(nil)

func (w *wire) LocalAddr() net.Addr              { return w.c.g.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr             { return w.c.g.RemoteAddr() }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) conn() net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.top
}

func (w *wire) setConn(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.top = c
}

// say sends a reply of ours.
func (w *wire) say(line string) {
	if top := w.conn(); top != nil {
		line += "\r\n"
		w.rec.Note(true, []byte(line))
		io.WriteString(top, line)
	}
}

// last sends the last replies and ends the connection: nothing that was or is
// sent by the client has an effect any more, and nothing else is answered.
func (w *wire) last(lines ...string) {
	if !w.c.g.Poisoned() {
		w.say(strings.Join(lines, "\r\n"))
		w.c.g.Poison()
	}
}

// Read gives the engine the rest of a line, or the next one.
func (w *wire) Read(p []byte) (n int, err error) {
	defer func() { // the engine only catches what panics in a command
		if r := recover(); r != nil {
			w.c.log().Error("smtp: panic", "panic", r, "stack", string(debug.Stack()))
			w.last("421 4.3.0 internal error")
			n, err = 0, io.EOF
		}
	}()
	if len(w.give) == 0 {
		if w.upgraded || w.c.g.Poisoned() {
			return 0, io.EOF
		}
		if err := w.next(); err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return 0, err // which the engine answers
			}
			return 0, io.EOF
		}
	}
	n = copy(p, w.give)
	w.give = w.give[n:]
	return n, nil
}

// next finds the next line for the engine and handles those that are not for it.
func (w *wire) next() error {
	for {
		line, err := w.readLine()
		if err != nil {
			return err
		}
		if w.junk++; w.junk > maxJunk {
			w.last("421 4.7.0 " + w.c.s.Hostname + " too many commands without a message")
			return io.EOF
		}
		cont := w.cont
		w.cont = false
		w.line = bytes.TrimRight(line, "\r\n")
		if cont {
			switch w.give = line; {
			case !clean(w.line):
				w.give = cancel
			case len(w.line) == 1 && w.line[0] == '*':
				if w.c.canceled(); w.c.g.Poisoned() {
					return io.EOF
				}
			case !strict(w.line):
				w.give = nonsense
			}
			return nil
		} else if !clean(w.line) {
			w.broken("500 5.5.2 control characters in a command")
		} else if w.tampered(verbOf(w.line), 1, 0) {
			w.junk-- // a test may go on for long
		} else if give, err := w.command(line); err != nil {
			return err
		} else if give != nil {
			w.give = give
			return nil
		}
		if w.upgraded || w.c.g.Poisoned() {
			return io.EOF
		}
	}
}

// broken counts a line that is not understood.
func (w *wire) broken(reply string) {
	if w.errors++; w.errors > maxErrors {
		w.last(reply, "421 4.7.0 "+w.c.s.Hostname+" too many errors")
		return
	}
	w.say(reply)
}

// command looks at a line and returns what the engine gets, if anything.
func (w *wire) command(line []byte) ([]byte, error) {
	switch verb := verbOf(w.line); verb {
	case "EHLO", "LHLO", "HELO":
		w.esmtp = verb != "HELO"
	case "STARTTLS":
		return nil, w.startTLS()
	case "RCPT":
		if rest, ok := cutBare(w.line); ok {
			w.own = append(w.own[:0], "RCPT TO:<postmaster@"+w.c.s.Hostname+">"...)
			w.own = append(append(w.own, rest...), "\r\n"...)
			w.line = w.own[:len(w.own)-2]
			return w.own, nil
		}
	case "DATA":
		if len(bytes.TrimSpace(w.line)) == len("DATA") {
			return w.data()
		}
	case "BDAT":
		return w.chunk()
	case "AUTH":
		if f := bytes.Fields(w.line); len(f) > 3 || len(f) == 3 && string(f[2]) != "=" && !strict(f[2]) {
			w.broken("501 5.5.2 invalid base64")
			return nil, nil
		}
	}
	return line, nil
}

// verbOf is the first word of a command in upper case, if it is short.
func verbOf(line []byte) string {
	word, _, _ := bytes.Cut(line, []byte(" "))
	if len(word) > 8 {
		return ""
	}
	return strings.ToUpper(string(word))
}

// cutBare finds what follows "RCPT TO:<postmaster>" (RFC 5321, 4.1.1.3).
func cutBare(line []byte) (rest []byte, ok bool) {
	const path = "TO:<postmaster>"
	arg := bytes.TrimLeft(line[4:], " ")
	if len(arg) < len(path) || !strings.EqualFold(string(arg[:len(path)]), path) {
		return nil, false
	}
	return arg[len(path):], true
}

// startTLS answers STARTTLS (RFC 3207). What a client sent after it in the clear
// was never protected, and must not be taken for something that was.
func (w *wire) startTLS() error {
	switch s := w.c.s; {
	case w.c.tls != nil:
		w.say("503 5.5.1 TLS is active already")
	case s.tls == nil || s.NoSTARTTLS:
		w.say("502 5.5.1 TLS is not available")
	case len(w.line) != len("STARTTLS"):
		w.broken("501 5.5.4 STARTTLS has no arguments")
	case w.c.busy:
		w.say("503 5.5.1 STARTTLS within a transaction")
	case w.r != w.w:
		w.last("554 5.5.1 text after STARTTLS, closing connection")
	default:
		w.say("220 2.0.0 ready to start TLS")
		w.setConn(nil)
		t := tls.Server(w.c.g, s.tls)
		if err := t.Handshake(); err != nil {
			w.c.log().Debug("smtp: no TLS", "err", err)
			w.c.g.Poison()
			return io.EOF
		}
		w.setConn(t)
		w.c.setTLS(t)
		w.upgraded = true
	}
	return nil
}

// readLine reads a line, with its end. It stays valid until the next read.
func (w *wire) readLine() ([]byte, error) {
	w.c.g.SetLimit(time.Now().Add(w.c.s.commandTimeout()))
	w.shrink()
	seen := 0
	for {
		b := w.buf[w.r:w.w]
		i := bytes.IndexByte(b[seen:], '\n')
		limit := maxCommand
		if w.cont || len(b) > 5 && strings.EqualFold(string(b[:5]), "AUTH ") {
			limit = maxAuth
		}
		switch {
		case i >= 0 && seen+i <= limit:
			w.r += seen + i + 1
			return b[:seen+i+1], nil
		case i >= 0 || len(b) > limit:
			if err := w.skipLine(); err != nil {
				return nil, err
			}
			if w.cont {
				return cancel, nil
			}
			w.broken("500 5.5.2 line too long")
			if w.c.g.Poisoned() {
				return nil, io.EOF
			}
			seen = 0
			continue
		}
		seen = len(b)
		if err := w.fill(); err != nil {
			return nil, err // half a command is none
		}
	}
}

// skipLine throws a line away.
func (w *wire) skipLine() error {
	for n := 0; n < 1<<20; n += w.w {
		if i := bytes.IndexByte(w.buf[w.r:w.w], '\n'); i >= 0 {
			w.r += i + 1
			return nil
		}
		w.r, w.w = 0, 0
		if err := w.fill(); err != nil {
			return err
		}
	}
	w.last("500 5.5.2 line too long, closing connection")
	return io.EOF
}

// fill reads more bytes behind the unread ones, and makes room for them.
func (w *wire) fill() error {
	if w.r > 0 {
		w.w = copy(w.buf, w.buf[w.r:w.w])
		w.r = 0
	}
	if w.w == len(w.buf) {
		w.buf = append(w.buf, make([]byte, max(smallBuf, len(w.buf)))...)
	}
	top := w.conn()
	for range 100 {
		n, err := top.Read(w.buf[w.w:])
		w.rec.Note(false, w.buf[w.w:w.w+n])
		w.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// grow puts the unread bytes into a large buffer, for content.
func (w *wire) grow() {
	if len(w.buf) >= dataBuf {
		return
	}
	b, _ := w.c.s.bufs.Get().(*[dataBuf]byte)
	if b == nil {
		b = new([dataBuf]byte)
	}
	if len(w.buf) == smallBuf {
		w.small = w.buf
	}
	w.w = copy(b[:], w.buf[w.r:w.w])
	w.r, w.buf = 0, b[:]
}

// shrink gives a large buffer back when the unread bytes fit in a small one.
func (w *wire) shrink() {
	if len(w.buf) <= smallBuf && w.buf != nil || w.w-w.r > smallBuf/2 {
		return
	}
	if w.small == nil {
		w.small = make([]byte, smallBuf)
	}
	n := copy(w.small, w.buf[w.r:w.w])
	if len(w.buf) == dataBuf {
		w.c.s.bufs.Put((*[dataBuf]byte)(w.buf))
	}
	w.buf, w.small, w.r, w.w = w.small, nil, 0, n
}

// Write mends a reply of the engine and sends it.
func (w *wire) Write(p []byte) (int, error) {
	top := w.conn()
	if top == nil {
		return 0, net.ErrClosed
	}
	if w.hush {
		w.hush = false
		return len(p), nil
	}
	if !w.greeted {
		w.greeted = true
		if w.c.restarted {
			return len(p), nil // STARTTLS is not greeted again
		}
	}
	mended := w.mend(p)
	w.rec.Note(true, mended)
	if _, err := top.Write(mended); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the connection, or the engine's session before TLS.
func (w *wire) Close() error {
	if w.upgraded {
		w.upgraded = false
		return w.c.restart()
	}
	if w.closed {
		return nil
	}
	w.closed = true
	if len(w.buf) == dataBuf {
		w.c.s.bufs.Put((*[dataBuf]byte)(w.buf))
	}
	w.buf, w.small = nil, nil
	w.r, w.w, w.give = 0, 0, nil
	return w.c.close()
}

// clean reports whether a command has no control characters but tabs.
func clean(line []byte) bool {
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}
