package load

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync/atomic"
)

// A Sink is an SMTP server that accepts everything and keeps nothing.
type Sink struct {
	ln    net.Listener
	count atomic.Int64
	wake  chan struct{}
}

// NewSink listens on a port of 127.0.0.1.
func NewSink() (*Sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Sink{ln: ln, wake: make(chan struct{}, 1)}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s, nil
}

// Addr is "127.0.0.1:port".
func (s *Sink) Addr() string { return s.ln.Addr().String() }

// Close stops listening.
func (s *Sink) Close() error { return s.ln.Close() }

// Count is how many recipients got a message so far.
func (s *Sink) Count() int64 { return s.count.Load() }

// Wait returns when Count has reached n.
func (s *Sink) Wait(ctx context.Context, n int64) error {
	for s.Count() < n {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *Sink) serve(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 16<<10), bufio.NewWriter(conn)
	say := func(line string) {
		w.WriteString(line)
		if r.Buffered() == 0 {
			w.Flush()
		}
	}
	say("220 sink ESMTP\r\n")
	rcpts := int64(0)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(string(line[:min(4, len(line))]))
		switch verb {
		case "EHLO":
			say("250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0\r\n")
		case "RCPT":
			rcpts++
			say("250 2.1.5 yes\r\n")
		case "DATA":
			say("354 go\r\n")
			for {
				line, err := r.ReadSlice('\n')
				if err != nil && err != bufio.ErrBufferFull {
					return
				}
				if string(line) == ".\r\n" {
					break
				}
			}
			s.count.Add(rcpts)
			rcpts = 0
			select {
			case s.wake <- struct{}{}:
			default:
			}
			say("250 2.0.0 gone\r\n")
		case "QUIT":
			say("221 bye\r\n")
			w.Flush()
			return
		case "RSET", "MAIL":
			rcpts = 0
			say("250 2.0.0 ok\r\n")
		default:
			say("250 2.0.0 ok\r\n")
		}
	}
}
