// Package load drives an SMTP server from many sessions, and takes mail in for
// one that relays. It is built so that the client costs little beside the server.
package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SMTP sends messages to a server. A message counts when the server answered 2xx
// to its final dot. Addr, To and one of Messages and For are required.
type SMTP struct {
	Addr     string
	Sessions int           // zero means 1
	Messages int           // zero means as many as For gives time for
	For      time.Duration // none but the first of a session is begun later; zero means any time
	Size     int           // bytes of a message; zero means 10 KiB
	From     string        // empty means sender@example.com
	// To is the recipient; "{u}" in it becomes a number below Users.
	To    string
	Users int // zero means 1
	// PerSession is after how many messages a session ends and another begins;
	// zero means never.
	PerSession int
	Corpus     *Corpus // nil makes one
}

// A Result is what one Run saw.
type Result struct {
	Sent, Failed  int
	Took          time.Duration
	P50, P99, Max time.Duration // from MAIL to the reply to the final dot
	FirstError    string
}

// Rate is messages per second.
func (r *Result) Rate() float64 { return float64(r.Sent) / r.Took.Seconds() }

// distinct is how many bodies are made beforehand; a header field makes every
// message different.
const distinct = 256

// Run sends all messages. It ends early when ctx does.
func (l SMTP) Run(ctx context.Context) Result {
	corpus := l.Corpus
	if corpus == nil {
		corpus = NewCorpus()
	}
	messages := int64(cmp.Or(l.Messages, math.MaxInt))
	bodies := make([][]byte, min(distinct, messages))
	for i := range bodies {
		bodies[i] = corpus.Message(i, cmp.Or(l.Size, 10<<10))
		if bytes.Contains(bodies[i], []byte("\n.")) {
			panic("load: a line of the corpus begins with a dot")
		}
	}
	var (
		next, failed atomic.Int64
		mu           sync.Mutex
		took         []time.Duration
		first        string
		sessions     sync.WaitGroup
	)
	base := time.Now().UnixNano()
	start := time.Now()
	for range cmp.Or(l.Sessions, 1) {
		sessions.Go(func() {
			var mine []time.Duration
			var s *session
			used, errs := 0, 0
			for ctx.Err() == nil && errs < 20 {
				begin := time.Now()
				if l.For > 0 && len(mine)+errs > 0 && begin.Sub(start) >= l.For {
					break
				}
				i := next.Add(1) - 1
				if i >= messages {
					break
				}
				var err error
				if s == nil {
					s, err = l.dial(ctx)
					used = 0
				}
				if err == nil {
					err = s.send(&l, int(i), base+i, bodies[int(i)%len(bodies)])
				}
				if err != nil {
					errs++
					failed.Add(1)
					mu.Lock()
					first = cmp.Or(first, err.Error())
					mu.Unlock()
					if s != nil {
						s.Close()
						s = nil
					}
					continue
				}
				mine = append(mine, time.Since(begin))
				if used++; l.PerSession > 0 && used >= l.PerSession {
					s.quit()
					s = nil
				}
			}
			if s != nil {
				s.quit()
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	sessions.Wait()
	r := Result{Sent: len(took), Failed: int(failed.Load()), Took: time.Since(start), FirstError: first}
	if slices.Sort(took); len(took) > 0 {
		r.P50, r.P99, r.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	}
	return r
}

// session is one connection, after EHLO.
type session struct {
	net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	pipe bool
}

func (l *SMTP) dial(ctx context.Context) (*session, error) {
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	s := &session{Conn: conn, r: bufio.NewReader(conn), w: bufio.NewWriterSize(conn, 64<<10)}
	_, err = s.reply(2)
	if err == nil {
		var offered string
		offered, err = s.cmd(2, "EHLO load.example.com")
		s.pipe = strings.Contains(strings.ToUpper(offered), "PIPELINING")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// reply reads one reply, which must be of a class.
func (s *session) reply(class byte) (string, error) {
	var text strings.Builder
	for {
		l, err := s.r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(l) < 4 {
			return "", fmt.Errorf("load: short reply %q", l)
		}
		text.Write(l[4:])
		if l[3] == '-' {
			continue
		}
		if l[0]-'0' != class {
			return "", fmt.Errorf("load: refused: %q", l)
		}
		return text.String(), nil
	}
}

func (s *session) cmd(class byte, line string) (string, error) {
	s.w.WriteString(line)
	s.w.WriteString("\r\n")
	if err := s.w.Flush(); err != nil {
		return "", err
	}
	return s.reply(class)
}

func (s *session) send(l *SMTP, i int, id int64, body []byte) error {
	if err := s.begin(l, i); err != nil {
		return err
	}
	fmt.Fprintf(s.w, "X-Load-Id: %d\r\n", id)
	s.w.Write(body)
	_, err := s.cmd(2, ".")
	return err
}

// begin gets to where the message is to come.
func (s *session) begin(l *SMTP, i int) error {
	to := strings.ReplaceAll(l.To, "{u}", fmt.Sprint(i%cmp.Or(l.Users, 1)))
	commands := []string{"MAIL FROM:<" + cmp.Or(l.From, "sender@example.com") + ">", "RCPT TO:<" + to + ">", "DATA"}
	if s.pipe {
		for _, c := range commands {
			s.w.WriteString(c)
			s.w.WriteString("\r\n")
		}
		if err := s.w.Flush(); err != nil {
			return err
		}
	}
	for n, c := range commands {
		class := byte(2)
		if n == 2 {
			class = 3
		}
		var err error
		if s.pipe {
			_, err = s.reply(class)
		} else {
			_, err = s.cmd(class, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) quit() {
	s.cmd(2, "QUIT")
	s.Close()
}
