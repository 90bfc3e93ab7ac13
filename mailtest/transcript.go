package mailtest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel/internal/tamper"
)

// Bounds of what is kept of dialogs.
const (
	keptSessions = 200
	keptBytes    = 32 << 10 // of one session
	shownLine    = 200
)

// A Session is what was said on one connection.
type Session struct {
	Door string // "smtp", "imaps"

	mu   sync.Mutex
	said []piece
	size int
}

// A piece was said by one side without the other between.
type piece struct {
	server bool
	text   []byte
}

// sessions are the last of a server.
type sessions struct {
	mu  sync.Mutex
	all []*Session
}

func (ss *sessions) record(doors func(string) []string) func(door, local string) tamper.Recorder {
	return func(door, local string) tamper.Recorder {
		s := &Session{Door: door}
		if names := doors(local); len(names) > 0 {
			s.Door = names[0]
		}
		ss.mu.Lock()
		defer ss.mu.Unlock()
		if ss.all = append(ss.all, s); len(ss.all) > keptSessions {
			ss.all = ss.all[1:]
		}
		return s.note
	}
}

func (s *Session) note(server bool, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = p[:min(len(p), keptBytes-s.size)]
	if len(p) == 0 {
		return
	}
	s.size += len(p)
	if n := len(s.said); n > 0 && s.said[n-1].server == server {
		s.said[n-1].text = append(s.said[n-1].text, p...)
		return
	}
	s.said = append(s.said, piece{server, bytes.Clone(p)})
}

// String is the dialog, with C: and S: before the lines of client and server. Of a
// session that says much only the beginning is kept, 32 KB. Passwords are in it.
func (s *Session) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, p := range s.said {
		who := "C: "
		if p.server {
			who = "S: "
		}
		for line := range strings.Lines(string(p.text)) {
			b.WriteString(who + shorten(strings.TrimRight(line, "\r\n"), shownLine) + "\n")
		}
	}
	if s.size == keptBytes {
		b.WriteString("... and more\n")
	}
	return b.String()
}

// Sessions returns the last 200 connections to the server, of all doors, in the order
// in which they began.
func (s *Server) Sessions() []*Session {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return s.sessions.all[:len(s.sessions.all):len(s.sessions.all)]
}

// dialogs are the last sessions that may have brought mail, for a failure.
func (s *Server) dialogs() string {
	var b strings.Builder
	all := s.Sessions()
	n := 0
	for i := len(all) - 1; i >= 0 && n < 3; i-- {
		switch all[i].Door {
		case "imap", "imaps", "pop3", "pop3s":
			continue
		}
		n++
		text := all[i].String()
		if lines := strings.Split(text, "\n"); len(lines) > 40 {
			text = strings.Join(lines[:20], "\n") + "\n...\n" + strings.Join(lines[len(lines)-20:], "\n")
		}
		fmt.Fprintf(&b, "\n\t%s:\n\t\t%s", all[i].Door, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t\t"))
	}
	return b.String()
}
