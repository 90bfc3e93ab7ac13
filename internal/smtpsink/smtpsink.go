// Package smtpsink is a small scriptable SMTP and LMTP server for tests of what
// sends mail. It keeps what it receives byte for byte, and misbehaves as asked.
package smtpsink

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What a script may answer instead of a reply.
const (
	Drop = "drop" // close the connection without a word
	Hang = "hang" // say nothing until the peer goes away
	Raw  = "raw:" // what follows is sent as it is
)

// A Server receives mail. Set its fields before Start.
type Server struct {
	// Ext are the EHLO keywords; nil means DefaultExt. STARTTLS is added when
	// TLS is set and not on.
	Ext      []string
	LMTP     bool
	TLS      *tls.Config
	Implicit bool // TLS from the first byte
	// Reply, if it returns something, answers a command instead of the usual
	// reply. It gets "CONNECT", the command line, or "." at the end of the
	// content; for LMTP ". <address>" for each recipient.
	Reply func(cmd string) string
	// Naive accepts every end of data that broken servers do: a lone dot
	// between any of CRLF, LF and CR, with NULs passed over.
	Naive bool
	// Auth checks AUTH PLAIN and LOGIN when it is set.
	Auth func(user, password string) bool
	// SCRAM are passwords by user, for SCRAM-SHA-256.
	SCRAM map[string]string

	// Addr is where it listens.
	Addr string

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	all      []Message
	commands []string
	sessions int
	most     int
}

// DefaultExt is what a modern server offers.
var DefaultExt = []string{"PIPELINING", "SIZE 10000000", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN", "CHUNKING"}

// A Message is one that was accepted.
type Message struct {
	From  string   // what MAIL FROM: had, with < > and parameters
	Rcpts []string // likewise, of RCPT TO:
	// Data is the content with dots unstuffed, as it came otherwise.
	Data    string
	Session int
	TLS     bool
	User    string
}

// Start makes s listen on loopback until the end of the test, and returns it.
func Start(t testing.TB, s *Server) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(t, ln)
	return s
}

// Serve accepts connections from ln until the end of the test.
func (s *Server) Serve(t testing.TB, ln net.Listener) {
	s.Addr = ln.Addr().String()
	s.conns = map[net.Conn]struct{}{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.sessions++
			n := s.sessions
			s.conns[c] = struct{}{}
			s.most = max(s.most, len(s.conns))
			s.mu.Unlock()
			wg.Go(func() {
				s.session(c, n)
				c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.CloseConns()
		wg.Wait()
	})
}

// CloseConns cuts all connections.
func (s *Server) CloseConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Messages returns what was accepted so far.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// Commands returns the command lines of all sessions, in the order they came.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Sessions returns how many connections there were, and how many at most at once.
func (s *Server) Sessions() (all, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions, s.most
}

// session is one connection.
type session struct {
	*Server
	conn   net.Conn
	r      *bufio.Reader
	n      int
	tls    bool
	user   string
	m      Message
	mailed bool
}

func (s *Server) session(c net.Conn, n int) {
	x := &session{Server: s, conn: c, n: n}
	if s.Implicit {
		if !x.startTLS() {
			return
		}
		defer func() { x.conn.Close() }()
	}
	x.r = bufio.NewReaderSize(x.conn, 64<<10)
	if !x.say("CONNECT", "220 sink.test ESMTP") {
		return
	}
	for {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return
		}
		cmd := strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.commands = append(s.commands, cmd)
		s.mu.Unlock()
		if !x.command(cmd) {
			return
		}
	}
}

func (x *session) startTLS() bool {
	c := tls.Server(x.conn, x.TLS)
	if c.Handshake() != nil {
		return false
	}
	x.conn, x.tls = c, true
	x.r = bufio.NewReaderSize(c, 64<<10)
	return true
}

// say answers cmd by the script or with the usual reply. It reports whether the
// session goes on.
func (x *session) say(cmd, usual string) bool {
	_, ok := x.reply(cmd, usual)
	return ok
}

// choose returns what to answer.
func (x *session) choose(cmd, usual string) string {
	if x.Reply != nil {
		if r := x.Reply(cmd); r != "" {
			return r
		}
	}
	return usual
}

// reply also returns what was said.
func (x *session) reply(cmd, usual string) (said string, ok bool) {
	said = x.choose(cmd, usual)
	return said, x.send(said)
}

func (x *session) send(said string) bool {
	switch {
	case said == Drop:
		return false
	case said == Hang:
		io.Copy(io.Discard, x.r)
		return false
	case strings.HasPrefix(said, Raw):
		_, err := io.WriteString(x.conn, strings.TrimPrefix(said, Raw))
		return err == nil
	}
	_, err := io.WriteString(x.conn, strings.ReplaceAll(said, "\n", "\r\n")+"\r\n")
	return err == nil
}

func (x *session) command(cmd string) bool {
	verb, arg, _ := strings.Cut(cmd, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "LHLO":
		return x.say(cmd, x.hello())
	case "HELO":
		return x.say(cmd, "250 sink.test")
	case "STARTTLS":
		said, ok := x.reply(cmd, "220 2.0.0 go ahead")
		return ok && (!strings.HasPrefix(said, "220") && !strings.HasPrefix(said, Raw+"220") || x.startTLS())
	case "AUTH":
		return x.auth(cmd, arg)
	case "MAIL":
		said, ok := x.reply(cmd, "250 2.1.0 ok")
		if strings.HasPrefix(said, "2") {
			x.m, x.mailed = Message{From: arg[len("FROM:"):], Session: x.n, TLS: x.tls, User: x.user}, true
		}
		return ok
	case "RCPT":
		usual := "250 2.1.5 ok"
		if !x.mailed {
			usual = "503 5.5.1 MAIL first"
		}
		said, ok := x.reply(cmd, usual)
		if strings.HasPrefix(said, "2") {
			x.m.Rcpts = append(x.m.Rcpts, arg[len("TO:"):])
		}
		return ok
	case "DATA":
		usual := "354 go ahead"
		if len(x.m.Rcpts) == 0 {
			usual = "554 5.5.1 no valid recipients"
		}
		said, ok := x.reply(cmd, usual)
		return ok && (!strings.HasPrefix(said, "354") || x.data())
	case "RSET":
		x.m, x.mailed = Message{}, false
		return x.say(cmd, "250 2.0.0 ok")
	case "NOOP":
		return x.say(cmd, "250 2.0.0 ok")
	case "QUIT":
		x.say(cmd, "221 2.0.0 bye")
		return false
	}
	return x.say(cmd, "500 5.5.2 what?")
}

func (x *session) hello() string {
	ext := x.Ext
	if ext == nil {
		ext = DefaultExt
	}
	lines := append([]string{"sink.test"}, ext...)
	if x.TLS != nil && !x.tls {
		lines = append(lines, "STARTTLS")
	}
	if x.SCRAM != nil {
		lines = append(lines, "AUTH SCRAM-SHA-256 PLAIN")
	} else if x.Auth != nil && !slices.ContainsFunc(ext, func(e string) bool { return strings.HasPrefix(e, "AUTH") }) {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	return "250-" + strings.Join(lines[:len(lines)-1], "\n250-") + "\n250 " + lines[len(lines)-1]
}

// data reads a content and answers it.
func (x *session) data() bool {
	data, err := x.read()
	if err != nil {
		return false
	}
	m := x.m
	m.Data = data
	x.m, x.mailed = Message{}, false
	if !x.LMTP {
		said := x.choose(".", "250 2.0.0 queued")
		x.keep(m, strings.HasPrefix(said, "2"))
		return x.send(said)
	}
	var took, said []string
	for _, r := range m.Rcpts {
		s := x.choose(". "+r, fmt.Sprintf("250 2.1.5 %s ok", r))
		said = append(said, s)
		if strings.HasPrefix(s, "2") {
			took = append(took, r)
		}
	}
	m.Rcpts = took
	x.keep(m, len(took) > 0)
	for _, s := range said {
		if !x.send(s) {
			return false
		}
	}
	return true
}

// keep notes a message, before the peer hears of it.
func (x *session) keep(m Message, yes bool) {
	if !yes {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, m)
}

// read returns a content, with dots unstuffed.
func (x *session) read() (string, error) {
	var b bytes.Buffer
	if x.Naive {
		return x.readNaive()
	}
	for {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" {
			return b.String(), nil
		}
		for !strings.HasSuffix(line, "\r\n") { // only CRLF ends a line
			more, err := x.r.ReadString('\n')
			if err != nil {
				return "", err
			}
			line += more
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

// readNaive takes for a line's end whatever any server ever did.
func (x *session) readNaive() (string, error) {
	var b, line []byte
	for {
		c, err := x.r.ReadByte()
		if err != nil {
			return "", err
		}
		b = append(b, c)
		switch c {
		default:
			line = append(line, c)
		case 0:
		case '\r', '\n':
			if string(line) == "." {
				if c == '\r' {
					if next, err := x.r.Peek(1); err == nil && next[0] == '\n' {
						x.r.ReadByte()
					}
				}
				lines := strings.SplitAfter(string(b[:len(b)-2]), "\r\n")
				for i, l := range lines {
					lines[i] = strings.TrimPrefix(l, ".")
				}
				return strings.Join(lines, ""), nil
			}
			line = line[:0]
		}
	}
}
