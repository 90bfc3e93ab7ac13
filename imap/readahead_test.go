package imap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// few gives what it has in random pieces.
type few struct {
	r io.Reader
	n *rand.Rand
}

func (f few) Read(p []byte) (int, error) {
	if f.n.IntN(3) > 0 {
		p = p[:1+f.n.IntN(len(p))]
	}
	return f.r.Read(p)
}

// Lines and bytes come as from a bufio.Reader, in whatever pieces they arrive.
func TestLinesAreReadWhole(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var text bytes.Buffer
		for range 30 {
			n := []int{r.IntN(50), r.IntN(restBuffer + 10), r.IntN(3 * inputBuffer), restBuffer, inputBuffer, inputBuffer - 1, earlyBuffer, earlyBuffer - 1, earlyBuffer - 2}[r.IntN(9)]
			fmt.Fprintf(&text, "%s\r\n", strings.Repeat(string(rune('a'+r.IntN(26))), n))
		}
		l := &readAhead{src: few{bytes.NewReader(text.Bytes()), r}}
		want := bufio.NewReader(bytes.NewReader(text.Bytes()))
		for done := false; !done; {
			if r.IntN(4) == 0 { // a login, or its end
				l.late = !l.late
			}
			if r.IntN(4) == 0 { // a literal
				n := []int{1 + r.IntN(20), r.IntN(2 * inputBuffer), inputBuffer}[r.IntN(3)]
				got, exp := make([]byte, n), make([]byte, n)
				a, err := io.ReadFull(l, got)
				b, werr := io.ReadFull(want, exp)
				if a != b || (err == nil) != (werr == nil) || !bytes.Equal(got[:a], exp[:b]) {
					t.Fatalf("seed %d: %d bytes (%v), want %d (%v)", seed, a, err, b, werr)
				}
				done = err != nil
				continue
			}
			var got []byte
			err := errLong
			for err == errLong {
				var b []byte
				b, err = l.line()
				got = append(got, b...)
			}
			exp, werr := want.ReadBytes('\n')
			if werr == io.EOF && len(exp) == 0 || werr != nil {
				done = true
				if err == nil {
					t.Fatalf("seed %d: %q after the end", seed, got)
				}
			} else if !bytes.Equal(got, exp) {
				t.Fatalf("seed %d: %d bytes, want %d", seed, len(got), len(exp))
			}
		}
	}
}

// A connection that waits holds the small buffer alone, whatever came before.
func TestLinesHoldLittleAtRest(t *testing.T) {
	l := &readAhead{late: true, src: strings.NewReader(strings.Repeat("x", 3000) + "\n" + "a NOOP\r\n")}
	for {
		if _, err := l.line(); err != nil {
			break
		}
	}
	if l.big != nil {
		t.Error("the large buffer was kept")
	}
}
