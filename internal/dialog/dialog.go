// Package dialog plays conversations of text protocols that are written down in
// files, like those in RFCs, against a server:
//
//	# A comment.
//	S: * OK ready                   this line comes from the server
//	C: a NOOP                       this line goes to it, with CRLF
//	S~ a OK (?P<text>.*)            a line that matches a regular expression
//	S> a (OK|NO) .*                 lines, up to one that matches
//	C: b $text                      with what a group of that name matched
//	S* * 1 EXISTS                   lines of a block of S* come in any order
//	S* * 0 RECENT
//	C= "bytes\x00 as a Go string"   without CRLF
//	S= "bytes"
//	= deliver ann Hello             a function of the test
//	= tls                           TLS begins here
//	S! the server closes the connection
//	C! the client closes it
//
// A number after C, S or "= tls" names a connection, as in "C2:"; each is dialed
// when it first occurs. A "$$" is a dollar sign; in S~ lines a dollar is what it is
// in regular expressions, unless a name in braces follows.
package dialog

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Runner plays files. Dial is required.
type Runner struct {
	Dial func() (net.Conn, error)
	// TLS is for "= tls"; nil trusts any certificate.
	TLS *tls.Config
	// Layers hold what "=" lines put on top of a connection from there on, with
	// its number behind: compression, say.
	Layers map[string]func(net.Conn) net.Conn
	// Do holds the functions that "=" lines call, with the rest of the line.
	Do map[string]func(args string) error
	// Vars are what "$name" stands for; groups of S~ lines are added.
	Vars map[string]string
	// Timeout is how long a line may take; zero means 20 s. It only matters
	// when a test fails.
	Timeout time.Duration
	// Trace, if set, is told every line that goes over the wire.
	Trace func(line string)

	conns map[string]*peer
}

type peer struct {
	net.Conn
	br *bufio.Reader
}

// RunFiles plays each file that matches glob as a sub-test of its own, with a
// Runner that start makes for it.
func RunFiles(t *testing.T, glob string, start func(t *testing.T) *Runner) {
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", glob, err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := start(t).Play(string(b)); err != nil {
				t.Fatalf("%s:%v", f, err)
			}
		})
	}
}

var stepForm = regexp.MustCompile(`^([CS])([0-9]*)([:~>*=!])(?: (.*))?$`)

// Play plays a dialog. Its error begins with the number of a line.
func (r *Runner) Play(script string) error {
	r.conns = map[string]*peer{}
	if r.Vars == nil {
		r.Vars = map[string]string{}
	}
	defer func() {
		for _, c := range r.conns {
			c.Close()
		}
	}()
	lines := strings.Split(script, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSuffix(lines[i], "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		n := i + 1
		var err error
		if rest, ok := strings.CutPrefix(line, "= "); ok {
			err = r.call(rest)
		} else if m := stepForm.FindStringSubmatch(line); m != nil {
			block := []string{m[4]}
			for m[3] == "*" && i+1 < len(lines) {
				next := stepForm.FindStringSubmatch(lines[i+1])
				if next == nil || next[1] != m[1] || next[2] != m[2] || next[3] != "*" {
					break
				}
				block = append(block, next[4])
				i++
			}
			err = r.step(m[1]+m[3], m[2], block)
		} else {
			err = fmt.Errorf("not a step: %q", line)
		}
		if err != nil {
			return fmt.Errorf("%d: %w", n, err)
		}
	}
	return nil
}

func (r *Runner) call(line string) error {
	name, args, _ := strings.Cut(line, " ")
	args = r.expand(args)
	if name == "tls" {
		return r.startTLS(args)
	}
	if wrap := r.Layers[name]; wrap != nil {
		p, err := r.conn(args)
		if err != nil {
			return err
		}
		c := wrap(readAhead{p.Conn, p.br})
		r.conns[args] = &peer{c, bufio.NewReader(c)}
		return nil
	}
	do := r.Do[name]
	if do == nil {
		return fmt.Errorf("no function %q", name)
	}
	return do(args)
}

// readAhead is a connection of which some bytes were read already.
type readAhead struct {
	net.Conn
	r io.Reader
}

func (c readAhead) Read(p []byte) (int, error) { return c.r.Read(p) }

func (r *Runner) startTLS(id string) error {
	p, err := r.conn(id)
	if err != nil {
		return err
	}
	cfg := r.TLS
	if cfg == nil {
		cfg = &tls.Config{InsecureSkipVerify: true}
	}
	if p.br.Buffered() > 0 {
		return errors.New("the server said something before TLS")
	}
	c := tls.Client(p.Conn, cfg)
	c.SetDeadline(time.Now().Add(r.timeout()))
	if err := c.Handshake(); err != nil {
		return err
	}
	r.conns[id] = &peer{c, bufio.NewReader(c)}
	return nil
}

func (r *Runner) timeout() time.Duration {
	if r.Timeout > 0 {
		return r.Timeout
	}
	return 20 * time.Second
}

// conn returns a connection, dialed if it is new.
func (r *Runner) conn(id string) (*peer, error) {
	p := r.conns[id]
	if p == nil {
		c, err := r.Dial()
		if err != nil {
			return nil, err
		}
		p = &peer{c, bufio.NewReader(c)}
		r.conns[id] = p
	}
	p.SetDeadline(time.Now().Add(r.timeout())) // a closed one says so when it is used
	return p, nil
}

func (r *Runner) trace(who, id, text string) {
	if r.Trace != nil {
		r.Trace(who + id + ": " + text)
	}
}

func (r *Runner) step(kind, id string, block []string) error {
	p, err := r.conn(id)
	if err != nil {
		return err
	}
	text := block[0]
	switch kind {
	case "C:":
		text = r.expand(text)
		r.trace("C", id, text)
		_, err = io.WriteString(p, text+"\r\n")
		return err
	case "C=":
		b, err := strconv.Unquote(text)
		if err == nil {
			r.trace("C", id, text)
			_, err = io.WriteString(p, b)
		}
		return err
	case "C!":
		return p.Close()
	case "S!":
		b, err := io.ReadAll(io.LimitReader(p.br, 1000))
		var ne net.Error
		if len(b) > 0 || errors.As(err, &ne) && ne.Timeout() {
			return fmt.Errorf("the connection is not closed: %q, %v", b, err)
		}
		return nil
	case "S=":
		want, err := strconv.Unquote(text)
		if err != nil {
			return err
		}
		got := make([]byte, len(want))
		if n, err := io.ReadFull(p.br, got); err != nil {
			return fmt.Errorf("got %q, want %q: %w", got[:n], want, err)
		}
		r.trace("S", id, text)
		if !bytes.Equal(got, []byte(want)) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	case "S:", "S*":
		for range block {
			got, err := r.line(p, id)
			if err != nil {
				return fmt.Errorf("want %q: %w", r.expand(block[0]), err)
			}
			found := false
			for i, want := range block {
				if found = r.expand(want) == got; found {
					block = append(block[:i:i], block[i+1:]...)
					break
				}
			}
			if !found {
				return fmt.Errorf("got  %q\nwant %q", got, r.expandAll(block))
			}
		}
		return nil
	case "S~", "S>":
		re, err := regexp.Compile("^(?:" + r.expandBraced(text) + ")$")
		if err != nil {
			return err
		}
		got, err := r.line(p, id)
		for kind == "S>" && err == nil && !re.MatchString(got) {
			got, err = r.line(p, id)
		}
		if err != nil {
			return fmt.Errorf("want %q: %w", text, err)
		}
		m := re.FindStringSubmatch(got)
		if m == nil {
			return fmt.Errorf("got  %q\nwant %v", got, re)
		}
		for i, name := range re.SubexpNames() {
			if name != "" {
				r.Vars[name] = m[i]
			}
		}
		return nil
	}
	return fmt.Errorf("no step of the form %q", kind)
}

func (r *Runner) line(p *peer, id string) (string, error) {
	s, err := p.br.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%w (after %q)", err, s)
	}
	s, ok := strings.CutSuffix(s, "\r\n")
	if !ok {
		return "", fmt.Errorf("a line without CRLF: %q", s)
	}
	r.trace("S", id, s)
	return s, nil
}

var (
	variable = regexp.MustCompile(`\$(\$|[a-z][a-z0-9]*|\{[a-z][a-z0-9]*\})`)
	braced   = regexp.MustCompile(`\$\{[a-z][a-z0-9]*\}`)
)

// expand puts in what variables stand for. Unknown ones stay as they are: "$" also
// begins words of protocols.
func (r *Runner) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(v string) string {
		if v == "$$" {
			return "$"
		}
		if x, ok := r.Vars[strings.Trim(v, "${}")]; ok {
			return x
		}
		return v
	})
}

func (r *Runner) expandBraced(s string) string {
	return braced.ReplaceAllStringFunc(s, func(v string) string {
		return regexp.QuoteMeta(r.Vars[strings.Trim(v, "${}")])
	})
}

func (r *Runner) expandAll(block []string) []string {
	out := make([]string, len(block))
	for i, s := range block {
		out[i] = r.expand(s)
	}
	return out
}
