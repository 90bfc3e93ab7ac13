package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// A Handler carries out a command. It calls emit for each row of the answer, and
// ends at the first error of emit: the client has gone, and ctx is done too. An
// Error is passed on as it is; of any other the text is.
type Handler func(ctx context.Context, command string, args json.RawMessage, emit func(row any) error) error

// A Server answers clients. Handle is required. A panic in it ends that
// connection only.
type Server struct {
	Handle Handler
	// MaxConns is how many clients may be connected; zero means 20. More wait.
	MaxConns int
	// Timeout is how long a client may take to send a request, or to take a
	// line of an answer; zero means 30 s.
	Timeout time.Duration
	Logger  *slog.Logger // nil means discard

	mu     sync.Mutex
	closed bool
	lns    map[net.Listener]struct{}
	conns  map[net.Conn]bool // true while a command runs
	done   sync.WaitGroup
}

// ErrClosed is what Serve returns after Shutdown or Close.
var ErrClosed = errors.New("control: server closed")

// acceptPause is how long Serve waits after an Accept that failed.
const acceptPause = 100 * time.Millisecond

// Serve answers those who connect to ln until Shutdown or Close.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		ln.Close()
		return ErrClosed
	}
	if s.lns == nil {
		s.lns = map[net.Listener]struct{}{}
		s.conns = map[net.Conn]bool{}
	}
	s.lns[ln] = struct{}{}
	s.mu.Unlock()
	n := s.MaxConns
	if n <= 0 {
		n = 20
	}
	slots := make(chan struct{}, n)
	for {
		slots <- struct{}{}
		conn, err := ln.Accept()
		if err != nil {
			if s.isClosed() {
				return ErrClosed
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("control: %w", err)
			}
			// Out of files, most likely: that passes.
			s.logger().Warn("control: accept failed", "err", err)
			time.Sleep(acceptPause)
			<-slots
			continue
		}
		if !s.add(conn) {
			conn.Close()
			return ErrClosed
		}
		go func() {
			defer func() { <-slots }()
			defer s.remove(conn)
			s.serve(conn)
		}()
	}
}

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = false
	s.done.Add(1)
	return true
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.done.Done()
}

// busy notes that a command runs on c, or ended. It reports false when the server
// closes and c should end.
func (s *Server) busy(c net.Conn, on bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = on
	return !s.closed
}

func (s *Server) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return 30 * time.Second
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// serve answers the requests of one connection.
func (s *Server) serve(c net.Conn) {
	defer func() {
		if p := recover(); p != nil {
			s.logger().Error("control: command panicked", "panic", fmt.Sprint(p))
		}
	}()
	r := bufio.NewReaderSize(c, 4096)
	for {
		c.SetReadDeadline(time.Now().Add(s.timeout()))
		b, err := readLine(r, MaxRequest)
		if err != nil {
			if errors.Is(err, ErrTooLong) {
				s.send(c, reply{End: true, Error: Usagef("the request has more than %d bytes", MaxRequest)})
			}
			return
		}
		var req request
		if err := json.Unmarshal(b, &req); err != nil {
			s.send(c, reply{End: true, Error: Usagef("the request is not JSON: %v", err)})
			return
		}
		if !s.busy(c, true) {
			return
		}
		ok := s.one(c, r, req)
		if !s.busy(c, false) || !ok {
			return
		}
	}
}

// one carries out a request. It reports whether the connection can go on.
func (s *Server) one(c net.Conn, r *bufio.Reader, req request) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// A client that goes away ends its command. One that sends ahead is
	// not waited for: that byte stays in r.
	c.SetReadDeadline(time.Time{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if _, err := r.Peek(1); err != nil && !isTimeout(err) {
			cancel()
		}
	}()
	err := s.Handle(ctx, req.Command, req.Args, func(row any) error {
		b, err := json.Marshal(row)
		if err == nil {
			err = s.send(c, reply{Row: b})
		}
		return err
	})
	c.SetReadDeadline(time.Unix(1, 0)) // wakes the Peek
	<-watched
	end := reply{End: true}
	var e *Error
	switch {
	case errors.As(err, &e):
		end.Error = e
	case err != nil:
		end.Error = &Error{Text: err.Error()}
	}
	return s.send(c, end) == nil
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (s *Server) send(c net.Conn, r reply) error {
	b, err := line(r, MaxReply)
	if err != nil {
		return err
	}
	c.SetWriteDeadline(time.Now().Add(s.timeout()))
	_, err = c.Write(b)
	return err
}

// Shutdown stops listening, ends idle connections and lets running commands end
// until ctx is done; then it ends them too and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.stop(false)
	done := make(chan struct{})
	go func() {
		s.done.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		s.stop(true)
		<-done
		return ctx.Err()
	}
}

// Close ends all connections at once and waits for the commands to notice.
func (s *Server) Close() error {
	err := s.stop(true)
	s.done.Wait()
	return err
}

func (s *Server) stop(all bool) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for ln := range s.lns {
		if e := ln.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = e
		}
		delete(s.lns, ln)
	}
	for c, busy := range s.conns {
		if all || !busy {
			c.Close()
		}
	}
	return err
}

var _ io.Closer = (*Server)(nil)
