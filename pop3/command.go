package pop3

import (
	"bytes"
	"unicode/utf8"
)

// The states of a session (RFC 1939, 3). UPDATE is inside QUIT.
const (
	authorization = 1 << iota
	transaction
)

func (c *conn) now() int {
	if c.access == nil {
		return authorization
	}
	return transaction
}

// A command is one of the table below.
type command struct {
	name        string
	when        int // the states in which it is allowed
	least, most int // how many arguments it has
	rest        bool
	do          func(c *conn, args []string) error
}

// rest: all after the name is one argument, whatever it holds.
func lookup(name string) command {
	const both = authorization | transaction
	switch name {
	case "CAPA":
		return command{name, both, 0, 0, false, (*conn).capa}
	case "QUIT":
		return command{name, both, 0, 0, false, (*conn).quit}
	case "USER":
		return command{name, authorization, 1, 1, true, (*conn).userName}
	case "PASS":
		return command{name, authorization, 1, 1, true, (*conn).pass}
	case "AUTH":
		return command{name, authorization, 0, 2, false, (*conn).auth}
	case "STLS":
		return command{name, authorization, 0, 0, false, (*conn).stls}
	case "UTF8":
		return command{name, authorization, 0, 0, false, (*conn).enableUTF8}
	case "STAT":
		return command{name, transaction, 0, 0, false, (*conn).stat}
	case "LIST":
		return command{name, transaction, 0, 1, false, (*conn).list}
	case "UIDL":
		return command{name, transaction, 0, 1, false, (*conn).uidl}
	case "RETR":
		return command{name, transaction, 1, 1, false, (*conn).retr}
	case "TOP":
		return command{name, transaction, 2, 2, false, (*conn).top}
	case "DELE":
		return command{name, transaction, 1, 1, false, (*conn).dele}
	case "RSET":
		return command{name, transaction, 0, 0, false, (*conn).rset}
	case "NOOP":
		return command{name, transaction, 0, 0, false, (*conn).noop}
	}
	return command{}
}

// parse takes a line apart: a keyword of three or four letters in any case, and
// arguments after single spaces (RFC 2449, 3).
func parse(line []byte) (cmd command, args []string, err error) {
	word, rest, more := bytes.Cut(line, []byte{' '})
	if len(word) < 3 || len(word) > 4 {
		return command{}, nil, bad("Unknown command")
	}
	cmd = lookup(string(bytes.ToUpper(word)))
	if cmd.do == nil {
		return command{}, nil, bad("Unknown command")
	}
	for _, b := range rest {
		if b < ' ' || b == 0x7f {
			return cmd, nil, bad("Control characters are not allowed")
		}
	}
	if !utf8.Valid(rest) {
		return cmd, nil, bad("That is not UTF-8")
	}
	if !more {
		return cmd, nil, nil
	}
	if cmd.rest {
		return cmd, []string{string(rest)}, nil
	}
	for word := range bytes.SplitSeq(rest, []byte{' '}) {
		if len(word) == 0 { // a client that adds a space at the end has said nothing wrong
			continue
		}
		if len(args) > cmd.most {
			break
		}
		args = append(args, string(word))
	}
	return cmd, args, nil
}

// number reads what may be the number of a message, or of lines.
func number(s string) (int, error) {
	n := 0
	for _, r := range []byte(s) {
		if r < '0' || r > '9' || len(s) > 10 {
			return 0, bad("That is no number")
		}
		n = 10*n + int(r-'0')
	}
	return n, nil
}

func (c *conn) noop([]string) error {
	c.w.line("+OK")
	return nil
}
