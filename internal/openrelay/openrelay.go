// Package openrelay tries the known ways to make a mail server relay for strangers.
package openrelay

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A Probe says where to try, and as whom.
type Probe struct {
	Addr string // of a door
	// Local is an address that the server receives mail for.
	Local string
	// Hostname is what the server calls itself.
	Hostname string
	// User and Password log in, after STARTTLS.
	User, Password string
	// From is the sender; empty tries several.
	From string
}

// Rcpts returns recipients that are not local, in all forms that servers have
// taken for local ones.
func Rcpts(local, hostname string) []string {
	name, domain, _ := strings.Cut(local, "@")
	far := "victim@far.test"
	v, fd, _ := strings.Cut(far, "@")
	return []string{
		"<" + far + ">",
		"<" + strings.ToUpper(far) + ">",
		"<" + name + "@" + fd + ">",
		"<" + name + "@sub." + domain + ">", "<" + name + "@" + domain + "." + fd + ">", "<" + name + "@" + fd + "." + domain + ">",
		"<" + name + "@x" + domain + ">", "<" + name + "@" + domain + "x>",
		"<" + v + "%" + fd + "@" + domain + ">", "<" + v + "%" + fd + "@" + hostname + ">", "<" + v + "%" + fd + ">",
		"<" + v + "%" + fd + "@[127.0.0.1]>", "<" + v + "%" + fd + "@127.0.0.1>", "<" + v + "%" + fd + "@localhost>",
		"<\"" + far + "\">", "<\"" + v + "%" + fd + "\">", "<\"" + far + "\"@" + domain + ">", "<\"" + v + "%" + fd + "\"@" + domain + ">",
		"<@" + domain + ":" + far + ">", "<@" + hostname + ":" + far + ">", "<@localhost:" + far + ">", "<@[127.0.0.1]:" + far + ">",
		"<@" + domain + ",@" + hostname + ":" + far + ">", "<@" + fd + ":" + v + "@" + fd + ">",
		"<" + fd + "!" + v + ">", "<" + fd + "!" + v + "@" + domain + ">", "<" + fd + "!" + v + "@" + hostname + ">", "<" + fd + "!" + v + "@[127.0.0.1]>", "<" + domain + "!" + fd + "!" + v + ">",
		"<" + far + "@" + domain + ">", "<" + far + "@" + hostname + ">", "<" + far + "@[127.0.0.1]>",
		"<" + v + "@[192.0.2.1]>", "<" + name + "@[127.0.0.1]>", "<" + name + "@[IPv6:::1]>", "<" + name + "@127.0.0.1>", "<" + name + "@localhost>",
		"<" + v + "@>", "<@" + domain + ">", "<" + v + ">", "<>",
		"<" + far + ".>", "<" + v + "@" + fd + "..>", "<" + v + "@." + fd + ">",
		"<" + v + "@" + fd + "\x00@" + domain + ">", "<" + v + "\x00@" + fd + ">", "<" + far + ">\x00",
		"<" + far + ">,<" + local + ">", "<" + local + ">,<" + far + ">", "<" + local + "," + far + ">", "<" + local + "> <" + far + ">", "<" + local + ";" + far + ">",
		"<" + far + "> <" + local + ">", "<" + local + ">" + far,
		far, "mailto:" + far, "SMTP:" + far, "\"" + far + "\"", "(" + local + ")" + far,
		"<" + name + "@ex\u0430mple.test>", "<" + name + "@" + strings.ReplaceAll(domain, ".", "\u3002") + ">x", "<" + v + "@" + strings.ReplaceAll(fd, ".", "\u3002") + ">",
		"<" + name + "@" + strings.ReplaceAll(domain, "e", "\u0435") + ">",
		"<" + v + "@" + fd + " @" + domain + ">", "<" + v + "@" + fd + "\t@" + domain + ">", "<" + v + "@" + fd + "(@" + domain + ")>",
		"<" + v + "@" + fd + "#@" + domain + ">", "<" + v + "@" + fd + "?@" + domain + ">", "<" + v + "@" + fd + "/@" + domain + ">", "<" + v + "@" + fd + "\\@" + domain + ">",
		"<" + v + "=" + fd + "@relay." + fd + ">", "<SRS0=aaaa=bb=" + fd + "=" + v + "@" + fd + ">",
	}
}

// Check reports every recipient of Rcpts that the server accepts although nobody
// may send there: 2xx to RCPT, and then to the content too.
func Check(tb testing.TB, p Probe) {
	tb.Helper()
	froms := []string{p.From}
	if p.From == "" {
		froms = []string{"stranger@far.test", p.Local, ""}
	}
	tried := 0
	for _, from := range froms {
		s := dial(tb, p)
		for _, rcpt := range Rcpts(p.Local, p.Hostname) {
			tried++
			if s == nil || !s.cmd("RSET").ok() {
				s.close()
				if s = dial(tb, p); s == nil {
					continue // refused before the first word
				}
			}
			if !s.cmd("MAIL FROM:<" + from + ">").ok() {
				continue
			}
			r := s.cmd("RCPT TO:" + rcpt)
			if !r.ok() {
				continue
			}
			if s.cmd("DATA") != "354" {
				continue
			}
			if r2 := s.cmd("Subject: relayed\r\n\r\n."); r2.ok() {
				tb.Errorf("open relay: MAIL FROM:<%s>, RCPT TO:%q: accepted", from, rcpt)
			}
		}
		s.close()
	}
	tb.Logf("%d recipients tried", tried)
}

// session is a connection after EHLO.
type session struct {
	nc net.Conn
	r  *bufio.Reader
}

type code string

func (c code) ok() bool { return strings.HasPrefix(string(c), "2") }

// dial returns nil if the server does not let us in.
func dial(tb testing.TB, p Probe) *session {
	tb.Helper()
	nc, err := net.Dial("tcp", p.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	s := &session{nc, bufio.NewReader(nc)}
	if !s.read().ok() || !s.cmd("EHLO stranger.far.test").ok() {
		s.close()
		return nil
	}
	if p.User == "" {
		return s
	}
	if !s.cmd("STARTTLS").ok() {
		tb.Fatal("openrelay: no STARTTLS")
	}
	tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	s.nc, s.r = tc, bufio.NewReader(tc)
	s.cmd("EHLO stranger.far.test")
	word := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "\x00%s\x00%s", p.User, p.Password))
	if c := s.cmd("AUTH PLAIN " + word); !c.ok() {
		tb.Fatalf("openrelay: cannot log in: %s", c)
	}
	return s
}

// cmd sends a line and returns the code of the answer, "" if there is none.
func (s *session) cmd(line string) code {
	if s == nil {
		return ""
	}
	s.nc.SetDeadline(time.Now().Add(time.Minute)) // only if something has gone wrong
	if _, err := io.WriteString(s.nc, line+"\r\n"); err != nil {
		return ""
	}
	return s.read()
}

func (s *session) read() code {
	for {
		l, err := s.r.ReadString('\n')
		if err != nil || len(l) < 4 {
			return ""
		}
		if l[3] != '-' {
			return code(l[:3])
		}
	}
}

func (s *session) close() {
	if s != nil {
		s.nc.Close()
	}
}
