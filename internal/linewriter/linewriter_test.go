package linewriter

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// writes counts calls of Write.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(p []byte) (int, error) { w.n++; return w.Buffer.Write(p) }

// Whatever the sizes, what was said is written, in few calls, and no buffer is kept.
func TestSmallWritesLeaveTogether(t *testing.T) {
	for step := 1; step < 3*Chunk; step = step*3/2 + 1 {
		var out writes
		var want strings.Builder
		w := Writer{W: &out, Small: step%2 == 0}
		for i := 0; want.Len() < 20*Chunk; i++ {
			s := strings.Repeat(string(rune('a'+i%26)), step)
			switch i % 3 {
			case 0:
				w.Raw(s)
			case 1:
				w.Bytes([]byte(s))
			case 2:
				if err := w.Copy(iotest.HalfReader(strings.NewReader(s+"more")), int64(step)); err != nil {
					t.Fatal(err)
				}
			}
			want.WriteString(s)
			w.Byte(' ')
			w.Num(uint64(i))
			w.End()
			want.WriteString(" ")
			want.WriteString(itoa(i))
			want.WriteString("\r\n")
			if w.Small && i%5 == 4 { // a login
				w.Release()
				w.Small = false
			}
			if len(w.Buf) > w.most {
				t.Fatalf("%d bytes in the buffer", len(w.Buf))
			}
		}
		if w.Inside() {
			t.Error("a response is open")
		}
		if err := w.Release(); err != nil || w.Holds() {
			t.Error(err, w.Holds())
		}
		if out.String() != want.String() {
			t.Fatalf("in steps of %d: what was written is not what was said", step)
		}
		most := out.Len()/(Chunk/2) + 1
		if step%2 == 0 { // the first five responses were of a small one
			most += 5*(step+64)/(SmallChunk/2) + 5
		}
		if out.n > most {
			t.Errorf("in steps of %d: %d writes for %d bytes", step, out.n, out.Len())
		}
	}
}

func itoa(n int) string {
	w := Writer{}
	w.Num(uint64(n))
	return string(w.Buf)
}

func TestUnfinishedIsTakenBackUntilItHasLeft(t *testing.T) {
	var out bytes.Buffer
	w := Writer{W: &out}
	w.Raw("one")
	w.End()
	w.Raw("two")
	if !w.Inside() || !w.Abandon() || w.Inside() {
		t.Error("it was not taken back")
	}
	w.Release()
	if out.String() != "one\r\n" {
		t.Errorf("%q", out.String())
	}
	w.Raw("three")
	if w.Release(); !w.Holds() || w.Abandon() {
		t.Error("half of it has left")
	}
}

func TestTooFewBytesAreAnError(t *testing.T) {
	w := Writer{W: io.Discard}
	if err := w.Copy(strings.NewReader("abc"), 4); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// The first error sticks, and nothing is written after it.
func TestErrorsStick(t *testing.T) {
	gone := errors.New("gone")
	r, pw := io.Pipe()
	r.CloseWithError(gone)
	w := Writer{W: pw}
	w.Raw(strings.Repeat("x", 3*Chunk))
	w.Bytes(make([]byte, 3*Chunk))
	if err := w.Copy(strings.NewReader(strings.Repeat("y", 3*Chunk)), 3*Chunk); !errors.Is(err, gone) {
		t.Error(err)
	}
	w.W = nil // a panic if it were used
	if err := w.Release(); !errors.Is(err, gone) || !errors.Is(w.Err, gone) {
		t.Error(err)
	}
}
