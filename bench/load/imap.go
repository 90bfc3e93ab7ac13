package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// IMAP is one session, used by one goroutine. It counts what comes and keeps
// nothing of it, so that it costs little beside the server.
type IMAP struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	tag  int
	caps string
	long []byte // a response that is larger than the buffer of r
}

// A Reply is what came before the OK of a command.
type Reply struct {
	Fetched  int   // FETCH responses
	Exists   int   // messages, as the last EXISTS said
	Hits     int   // numbers of SEARCH, or the COUNT of ESEARCH
	Literals int64 // bytes of literals
}

// DialIMAP connects without TLS and logs in. A patient session waits more than it
// reads, and has small buffers.
func DialIMAP(ctx context.Context, addr, user, password string, patient bool) (*IMAP, error) {
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	size := 256 << 10
	if patient {
		size = 4 << 10
	}
	c := &IMAP{conn: conn, r: bufio.NewReaderSize(conn, size), w: bufio.NewWriterSize(conn, min(size, 64<<10))}
	line, err := c.r.ReadSlice('\n')
	if err == nil && !bytes.HasPrefix(line, []byte("* OK")) {
		err = fmt.Errorf("load: greeting %q", line)
	}
	if err == nil {
		c.caps = "" // those of before are fewer
		_, err = c.Do(fmt.Sprintf("LOGIN %s \"%s\"", user, password))
	}
	if err == nil && c.caps == "" {
		_, err = c.Do("CAPABILITY")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Has reports whether the server offers a capability.
func (c *IMAP) Has(capability string) bool { return strings.Contains(c.caps, " "+capability+" ") }

// note keeps capabilities that a response lists.
func (c *IMAP) note(line []byte) {
	if i := bytes.Index(line, []byte("CAPABILITY ")); i >= 0 {
		list, _, _ := strings.Cut(string(line[i+len("CAPABILITY "):]), "]")
		c.caps = " " + strings.TrimSpace(list) + " "
	}
}

// Do sends a command without literals, and returns what came before its OK.
func (c *IMAP) Do(command string) (Reply, error) {
	tag := c.begin()
	c.w.WriteString(command)
	r, err := c.end(tag)
	if err != nil {
		err = fmt.Errorf("%.40s: %w", command, err)
	}
	return r, err
}

// begin writes the tag of a command and returns it.
func (c *IMAP) begin() string {
	c.tag++
	tag := fmt.Sprintf("a%d ", c.tag)
	c.w.WriteString(tag)
	return tag
}

// end ends a command and waits for its OK.
func (c *IMAP) end(tag string) (Reply, error) {
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return Reply{}, err
	}
	return c.until(tag)
}

// Append puts messages into a mailbox, several at once if the server takes them so.
func (c *IMAP) Append(mailbox string, messages ...[]byte) error {
	if len(messages) > 1 && !c.Has("MULTIAPPEND") {
		for _, m := range messages {
			if err := c.Append(mailbox, m); err != nil {
				return err
			}
		}
		return nil
	}
	tag := c.begin()
	fmt.Fprintf(c.w, "APPEND %s", mailbox)
	for _, m := range messages {
		if c.Has("LITERAL+") || c.Has("LITERAL-") && len(m) <= 4096 {
			fmt.Fprintf(c.w, " {%d+}\r\n", len(m))
		} else {
			fmt.Fprintf(c.w, " {%d}\r\n", len(m))
			if err := c.w.Flush(); err != nil {
				return err
			}
			if _, err := c.until("+"); err != nil {
				return err
			}
		}
		c.w.Write(m)
	}
	_, err := c.end(tag)
	return err
}

// line reads a line, however long. It holds until the next one is read.
func (c *IMAP) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	for c.long = c.long[:0]; err == bufio.ErrBufferFull; line, err = c.r.ReadSlice('\n') {
		c.long = append(c.long, line...)
	}
	c.long = append(c.long, line...)
	return c.long, err
}

// until reads up to the response that begins with tag.
func (c *IMAP) until(tag string) (r Reply, err error) {
	inside := false // behind a literal
	for {
		line, err := c.line()
		if err != nil {
			return r, err
		}
		if !inside {
			switch {
			case bytes.HasPrefix(line, []byte("* ")):
				c.untagged(&r, line)
			case bytes.HasPrefix(line, []byte(tag)):
				rest := line[len(tag):]
				if tag[0] != '+' && !bytes.HasPrefix(rest, []byte("OK")) {
					return r, fmt.Errorf("load: %q", line)
				}
				c.note(rest)
				return r, nil
			case tag[0] == '+' && line[0] != '+':
				return r, fmt.Errorf("load: %q", line)
			}
		}
		n := literal(line)
		if inside = n >= 0; inside {
			if _, err := c.r.Discard(n); err != nil {
				return r, err
			}
			r.Literals += int64(n)
		}
	}
}

// literal returns the size of the literal that a line announces, or -1.
func literal(line []byte) int {
	if !bytes.HasSuffix(line, []byte("}\r\n")) {
		return -1
	}
	n, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, '{')+1 : len(line)-3]))
	if err != nil {
		return -1
	}
	return n
}

func (c *IMAP) untagged(r *Reply, line []byte) {
	rest := line[2:]
	word := rest
	if i := bytes.IndexByte(rest, ' '); i > 0 && rest[0] >= '0' && rest[0] <= '9' {
		word = rest[i+1:]
		if bytes.HasPrefix(word, []byte("EXISTS")) {
			r.Exists, _ = strconv.Atoi(string(rest[:i]))
			return
		}
	}
	switch {
	case bytes.HasPrefix(word, []byte("FETCH ")):
		r.Fetched++
	case bytes.HasPrefix(word, []byte("SEARCH")):
		r.Hits += bytes.Count(bytes.TrimSpace(word), []byte(" "))
	case bytes.HasPrefix(word, []byte("ESEARCH")):
		if _, n, ok := bytes.Cut(word, []byte(" COUNT ")); ok {
			n, _, _ = bytes.Cut(bytes.TrimSpace(n), []byte(" "))
			r.Hits, _ = strconv.Atoi(string(n))
		}
	case bytes.HasPrefix(word, []byte("CAPABILITY ")):
		c.note(word)
	}
}

// Idle begins to wait for news, and leaves the session there.
func (c *IMAP) Idle() error {
	if _, err := c.conn.Write([]byte("z IDLE\r\n")); err != nil {
		return err
	}
	_, err := c.until("+")
	return err
}

// News returns when a session in IDLE is told of new messages.
func (c *IMAP) News() error {
	for {
		line, err := c.line()
		if err != nil || bytes.HasSuffix(line, []byte(" EXISTS\r\n")) {
			return err
		}
	}
}

// Close cuts the session off.
func (c *IMAP) Close() error { return c.conn.Close() }
