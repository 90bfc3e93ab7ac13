package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// A Client speaks to a Server, from one goroutine.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to the socket at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return &Client{conn, bufio.NewReaderSize(conn, 4096)}, nil
}

// Do sends a command and calls row for each row of the answer. The error is the
// Error of the server, one of row, or one of the connection.
func (c *Client) Do(ctx context.Context, command string, args any, row func(json.RawMessage) error) error {
	req := request{Command: command}
	if args != nil {
		b, err := json.Marshal(args)
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		req.Args = b
	}
	b, err := line(req, MaxRequest)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.conn.Close() })()
	if _, err := c.conn.Write(b); err != nil {
		return c.failed(ctx, err)
	}
	for {
		b, err := readLine(c.r, MaxReply)
		if err != nil {
			return c.failed(ctx, err)
		}
		var r reply
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("control: bad answer: %w", err)
		}
		switch {
		case r.Error != nil:
			return r.Error
		case r.End:
			return nil
		case r.Row != nil:
			if err := row(r.Row); err != nil {
				return err
			}
		}
	}
}

func (c *Client) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("control: the server ended before it answered: %w", err)
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }
