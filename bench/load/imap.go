package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"time"
)

// IMAP is one session, used by one goroutine. It counts responses and keeps none,
// so that it costs little beside the server.
type IMAP struct {
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

// DialIMAP connects without TLS and logs in.
func DialIMAP(ctx context.Context, addr, user, password string) (*IMAP, error) {
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	c := &IMAP{conn: conn, r: bufio.NewReader(conn)}
	line, err := c.r.ReadSlice('\n')
	if err == nil && !bytes.HasPrefix(line, []byte("* OK")) {
		err = fmt.Errorf("load: greeting %q", line)
	}
	if err == nil {
		_, err = c.Do(fmt.Sprintf("LOGIN %s \"%s\"", user, password))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Do sends a command without literals, and returns how many FETCH responses came
// before its OK.
func (c *IMAP) Do(command string) (fetched int, err error) {
	c.tag++
	tag := fmt.Sprintf("a%d ", c.tag)
	if _, err := fmt.Fprintf(c.conn, "%s%s\r\n", tag, command); err != nil {
		return 0, err
	}
	return c.until(tag)
}

// until reads up to the response that begins with tag.
func (c *IMAP) until(tag string) (fetched int, err error) {
	for {
		line, err := c.r.ReadSlice('\n')
		for more := line; err == bufio.ErrBufferFull; { // the rest of a long one
			more, err = c.r.ReadSlice('\n')
			_ = more
		}
		switch {
		case err != nil:
			return fetched, err
		case bytes.HasPrefix(line, []byte(tag)):
			if rest := line[len(tag):]; tag[0] != '+' && !bytes.HasPrefix(rest, []byte("OK")) {
				return fetched, fmt.Errorf("load: %q", line)
			}
			return fetched, nil
		case bytes.Contains(line, []byte(" FETCH (")):
			fetched++
		}
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

// Close cuts the session off.
func (c *IMAP) Close() error { return c.conn.Close() }
