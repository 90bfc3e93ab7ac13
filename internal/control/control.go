// Package control carries commands to a running server over a Unix socket in its
// directory.
//
// It is one JSON value a line in both directions. A client sends a request,
//
//	{"command":"account list","args":{"domain":"example.test"}}
//
// and gets any number of rows and then one end, with or without an error:
//
//	{"row":{"address":"ann@example.test"}}
//	{"end":true}
//	{"end":true,"error":{"text":"no such account","hint":"see account list"}}
//
// Then it may send another. What a line may hold is bounded, and so is the time
// that either side waits in the middle of one. The socket is for whoever may enter
// the directory; it asks for no password.
package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxRequest is how many bytes a request may have, with its line end.
	MaxRequest = 64 << 10
	// MaxReply is how many bytes one line of an answer may have. A row of the
	// queue holds a header of a message at most.
	MaxReply = 1 << 20
)

// ErrTooLong means that a line has more bytes than it may.
var ErrTooLong = errors.New("control: line too long")

// An Error is a failure that a person is told about, with what to do.
type Error struct {
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"` // what to do; may be empty
	// Usage says that the command was not understood, and nothing was tried.
	Usage bool `json:"usage,omitempty"`
	// Code is the exit code of the program that was asked; zero means 1, or 2
	// if Usage is set.
	Code int `json:"code,omitempty"`
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + " (" + e.Hint + ")"
}

// Usagef returns an Error for a command that makes no sense.
func Usagef(format string, args ...any) *Error {
	return &Error{Text: fmt.Sprintf(format, args...), Usage: true}
}

type request struct {
	Command string          `json:"command"`
	Args    json.RawMessage `json:"args,omitempty"`
}

// reply is one line of an answer: a row or the end.
type reply struct {
	Row   json.RawMessage `json:"row,omitempty"`
	End   bool            `json:"end,omitempty"`
	Error *Error          `json:"error,omitempty"`
}

// readLine reads one line of at most max bytes. It returns io.EOF only between
// lines.
func readLine(r *bufio.Reader, max int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > max {
			return nil, ErrTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSpace(line), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// line encodes v for the wire.
func line(v any, max int) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) >= max {
		return nil, ErrTooLong
	}
	return append(b, '\n'), nil
}
