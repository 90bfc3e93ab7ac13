package smtpclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel"
)

// Limits of a reply: RFC 5321, 4.5.3.1.5 has 512 bytes for a line.
const (
	maxLine  = readBuffer
	maxLines = 100
	maxReply = 32 << 10
)

// A Reply is what a peer answered. Its lines are UTF-8 without control characters
// and without the codes.
type Reply struct {
	Code     int
	Enhanced [3]int // zero if there is none
	Lines    []string
}

// String is the reply on one line, with its codes.
func (r Reply) String() string {
	s := fmt.Sprint(r.Code)
	if r.Enhanced != [3]int{} {
		s += fmt.Sprintf(" %d.%d.%d", r.Enhanced[0], r.Enhanced[1], r.Enhanced[2])
	}
	if t := r.Text(); t != "" {
		s += " " + t
	}
	return s
}

// Text is the reply's words on one line, at most 500 bytes.
func (r Reply) Text() string {
	s := strings.TrimSpace(strings.Join(r.Lines, " "))
	for len(s) > 500 {
		_, n := utf8.DecodeLastRuneInString(s[:501])
		s = s[:501-n]
	}
	return s
}

// refusal is the reply as an error. One that has no class of failure, such as a
// 2xx where 354 was to come, counts as temporary.
func refusal(r Reply, want int) error {
	class := r.Code / 100
	if class != 4 && class != 5 {
		return fmt.Errorf("%w: %s instead of %d", ErrProtocol, r, want)
	}
	e := &mailkeel.Error{Code: r.Code, Enhanced: r.Enhanced, Message: r.Text()}
	if e.Enhanced[0] != class {
		e.Enhanced = [3]int{class, 0, 0}
	}
	return e
}

// read sends what is buffered and reads one reply. A 421 ends the session.
func (c *Client) read(ctx context.Context, d time.Duration) (Reply, error) {
	if err := c.Broken(); err != nil {
		return Reply{}, err
	}
	defer c.limit(d)()
	if err := c.w.Flush(); err != nil {
		return Reply{}, c.fail(c.why(ctx, err))
	}
	r, err := readReply(c.r)
	if err != nil {
		return Reply{}, c.fail(c.why(ctx, err))
	}
	c.due = max(c.due-1, 0)
	if r.Code/100 == 3 && !c.asked { // what does it wait for now?
		return r, c.fail(refusal(r, 250))
	}
	if r.Code == 421 {
		return r, c.fail(refusal(r, 250))
	}
	return r, nil
}

// why prefers the reason of the caller to that of the connection.
func (c *Client) why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// readReply reads one reply of any number of lines (RFC 5321, 4.2).
func readReply(r *bufio.Reader) (Reply, error) {
	var reply Reply
	total := 0
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return Reply{}, fmt.Errorf("%w: reply line too long", ErrProtocol)
		} else if err != nil {
			return Reply{}, err
		}
		if total += len(line); total > maxReply || len(reply.Lines) == maxLines {
			return Reply{}, fmt.Errorf("%w: reply too long", ErrProtocol)
		}
		code, last, text, ok := parseLine(line)
		if !ok || reply.Code != 0 && code != reply.Code {
			return Reply{}, fmt.Errorf("%w: bad reply %.80q", ErrProtocol, line)
		}
		reply.Code = code
		enhanced, text := cutEnhanced(code, text)
		if len(reply.Lines) == 0 {
			reply.Enhanced = enhanced
		}
		reply.Lines = append(reply.Lines, text)
		if last {
			return reply, nil
		}
	}
}

// parseLine takes a line of a reply apart.
func parseLine(line []byte) (code int, last bool, text string, ok bool) {
	s := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	if len(s) < 3 || s[0] < '2' || s[0] > '5' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0, false, "", false
	}
	code = int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	if s = s[3:]; s == "" {
		return code, true, "", true
	}
	if s[0] != ' ' && s[0] != '-' {
		return 0, false, "", false
	}
	return code, s[0] == ' ', Clean(s[1:]), true
}

// cutEnhanced takes the code of RFC 2034 off a text, if it fits the reply code.
func cutEnhanced(code int, text string) (e [3]int, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || int(parts[0][0]-'0') != code/100 {
		return [3]int{}, text
	}
	for i, p := range parts {
		if p == "" || len(p) > 3 {
			return [3]int{}, text
		}
		for _, d := range []byte(p) {
			if d < '0' || d > '9' {
				return [3]int{}, text
			}
			e[i] = e[i]*10 + int(d-'0')
		}
	}
	return e, rest
}

// Clean returns s as UTF-8 on one line: control characters are spaces, and so is
// what may be taken for a line break.
func Clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c < ' ', c >= 0x7f && c < 0xa0, c == '\u2028', c == '\u2029':
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}
