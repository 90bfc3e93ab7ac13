package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves h and returns the path of its socket.
func start(t *testing.T, s *Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve ended with %v", err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the socket is still there")
		}
	})
	return path
}

// echo gives back its command and arguments, n times.
func echo(_ context.Context, command string, args json.RawMessage, emit func(any) error) error {
	var a struct {
		N    int
		Size int
	}
	if err := json.Unmarshal(args, &a); err != nil {
		return Usagef("bad args")
	}
	switch command {
	case "fail":
		return fmt.Errorf("wrapped: %w", &Error{Text: "no such thing", Hint: "look elsewhere"})
	case "plain":
		return errors.New("disk on fire")
	case "panic":
		panic("oh")
	}
	for i := range a.N {
		if err := emit(map[string]any{"i": i, "command": command, "pad": strings.Repeat("x", a.Size)}); err != nil {
			return err
		}
	}
	return nil
}

func TestRowsAndErrorsComeBack(t *testing.T) {
	path := start(t, &Server{Handle: echo})
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v, want mode 0600", fi, err)
	}
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	row := func(json.RawMessage) error { n++; return nil }
	if err := c.Do(t.Context(), "say", map[string]int{"N": 1000, "Size": 100}, row); err != nil || n != 1000 {
		t.Errorf("%d rows, %v", n, err)
	}
	var e *Error
	if err := c.Do(t.Context(), "fail", map[string]int{}, row); !errors.As(err, &e) || e.Text != "no such thing" || e.Hint != "look elsewhere" || e.Usage {
		t.Errorf("fail: %v", err)
	}
	if err := c.Do(t.Context(), "plain", map[string]int{}, row); err == nil || err.Error() != "disk on fire" {
		t.Errorf("plain: %v", err)
	}
	if err := c.Do(t.Context(), "say", "no object", row); !errors.As(err, &e) || !e.Usage {
		t.Errorf("usage: %v", err)
	}
	// A row that is too long is an error, and the connection goes on.
	if err := c.Do(t.Context(), "say", map[string]int{"N": 1, "Size": MaxReply}, row); err == nil {
		t.Error("a row of more than MaxReply came through")
	}
	if err := c.Do(t.Context(), "say", map[string]int{"N": 1}, row); err != nil {
		t.Error(err)
	}
	if err := c.Do(t.Context(), strings.Repeat("x", MaxRequest), nil, row); !errors.Is(err, ErrTooLong) {
		t.Errorf("long request: %v", err)
	}
}

func TestAPanicEndsOnlyItsConnection(t *testing.T) {
	path := start(t, &Server{Handle: echo})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do(t.Context(), "panic", map[string]int{}, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("panic: %v", err)
	}
	d, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Do(t.Context(), "say", map[string]int{}, nil); err != nil {
		t.Error(err)
	}
}

func TestHostileLines(t *testing.T) {
	path := start(t, &Server{Handle: echo})
	for in, want := range map[string]string{
		"{]\n":                                 "not JSON",
		strings.Repeat("x", MaxRequest+1):      "more than",
		"{\"command\":\"say\"" /* then EOF */ : "",
		"{\"command\":\"say\",\"args\":{}}\nx": `{"end":true}`,
		"\n":                                   "not JSON",
	} {
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, in)
		nc.(*net.UnixConn).CloseWrite()
		got, _ := io.ReadAll(nc)
		nc.Close()
		if !strings.Contains(string(got), want) {
			t.Errorf("%.30q: %q, want %q", in, got, want)
		}
	}
}

func TestACommandEndsWithItsClient(t *testing.T) {
	begun, ended := make(chan bool), make(chan error)
	path := start(t, &Server{Handle: func(ctx context.Context, _ string, _ json.RawMessage, _ func(any) error) error {
		begun <- true
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Do(ctx, "wait", nil, nil) }()
	<-begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("client: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("server: %v", err)
	}
}

func TestShutdownLetsCommandsEnd(t *testing.T) {
	begun, goOn := make(chan bool), make(chan bool)
	s := &Server{Handle: func(context.Context, string, json.RawMessage, func(any) error) error {
		begun <- true
		<-goOn
		return nil
	}}
	path := start(t, s)
	idle, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer, down := make(chan error), make(chan error)
	go func() { answer <- c.Do(t.Context(), "x", nil, nil) }()
	<-begun
	go func() { down <- s.Shutdown(t.Context()) }()
	if _, err := idle.r.ReadByte(); err != io.EOF { // idle ones end at once
		t.Errorf("idle: %v", err)
	}
	close(goOn)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestLongPaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "control")
	for range 2 { // the second finds a socket left behind
		ln, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{Handle: echo}
		done := make(chan error)
		go func() { done <- s.Serve(ln) }()
		c, err := Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(t.Context(), "say", map[string]int{}, nil); err != nil {
			t.Error(err)
		}
		c.Close()
		s.Shutdown(t.Context())
		<-done
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add([]byte("{\"command\":\"x\"}\n"), 100)
	f.Add([]byte("no end"), 3)
	f.Add([]byte(strings.Repeat("y", 5000)+"\n\n"), 4999)
	f.Fuzz(func(t *testing.T, in []byte, max int) {
		r := bufio.NewReaderSize(strings.NewReader(string(in)), 16)
		for {
			b, err := readLine(r, max)
			if err != nil {
				return
			}
			if len(b) > max {
				t.Fatalf("%d bytes, allowed %d", len(b), max)
			}
		}
	})
}
