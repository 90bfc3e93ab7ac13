package imap

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailkeel/mailkeel/internal/linewriter"
)

// writes counts calls of Write.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(p []byte) (int, error) { w.n++; return w.Buffer.Write(p) }

func TestStringsAreQuotedOrLiterals(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for s, want := range map[string][2]string{ // without and with UTF-8
		"":       {`""`, `""`},
		"a b":    {`"a b"`, `"a b"`},
		`a"b\c`:  {`"a\"b\\c"`, `"a\"b\\c"`},
		"a\r\nb": {"{4}\r\na\r\nb", "{4}\r\na\r\nb"},
		"a\x00b": {"{3}\r\na?b", "{3}\r\na?b"},
		"ü":      {"{2}\r\nü", `"ü"`},
		"\xff":   {"{1}\r\n\xff", "{1}\r\n\xff"},
		long:     {"{2000}\r\n" + long, "{2000}\r\n" + long},
	} {
		for i, utf8 := range []bool{false, true} {
			var out bytes.Buffer
			w := writer{Writer: linewriter.Writer{W: &out}, utf8: utf8}
			w.string(s)
			w.release()
			if out.String() != want[i] {
				t.Errorf("%.20q with UTF-8 %v: %.50q", s, utf8, out.String())
			}
		}
	}
}

// Small responses leave together; nothing is lost or moved at the edges of the buffer.
func TestResponsesAreCoalesced(t *testing.T) {
	var out writes
	w := writer{Writer: linewriter.Writer{W: &out}}
	var want strings.Builder
	for i := range 5000 {
		switch i % 5 {
		case 0:
			w.linef("* %d EXISTS", i)
			want.WriteString("* ")
			want.WriteString(numString(uint32(i)) + " EXISTS\r\n")
		case 1:
			w.string(strings.Repeat("y", i%900))
			want.WriteString(`"` + strings.Repeat("y", i%900) + `"`)
		case 2:
			w.num(uint64(i))
			w.crlf()
			want.WriteString(numString(uint32(i)) + "\r\n")
		case 3:
			s := strings.Repeat("z", i*7)
			w.raw(s)
			want.WriteString(s)
		case 4:
			s := strings.Repeat("body", i)
			w.literal(int64(len(s)))
			want.WriteString("{" + numString(uint32(len(s))) + "}\r\n" + s + ")\r\n")
			if i%2 == 0 {
				if err := w.copy(iotest.OneByteReader(strings.NewReader(s[:10])), 10, true); err != nil {
					t.Fatal(err)
				}
				s = s[10:]
			}
			if err := w.copy(strings.NewReader(s+"more"), int64(len(s)), true); err != nil {
				t.Fatal(err)
			}
			w.byte(')')
			w.crlf()
		}
	}
	if w.inside() {
		t.Error("a response is open")
	}
	w.release()
	if out.String() != want.String() {
		t.Fatal("what was written is not what was said")
	}
	if most := out.Len()/(linewriter.Chunk/2) + 1; out.n > most {
		t.Errorf("%d writes for %d bytes", out.n, out.Len())
	}
	if w.Holds() {
		t.Error("the buffer was kept")
	}
}

func TestAnUnfinishedResponseIsTakenBack(t *testing.T) {
	var out bytes.Buffer
	w := writer{Writer: linewriter.Writer{W: &out}}
	w.linef("* OK one")
	w.raw("* 1 FETCH (")
	if !w.inside() || !w.abandon() || w.inside() {
		t.Error("it was not taken back")
	}
	w.linef("* OK two")
	w.release()
	if out.String() != "* OK one\r\n* OK two\r\n" {
		t.Errorf("%q", out.String())
	}
	w.raw("* 1 FETCH (BODY[] ")
	w.literal(100_000)
	if err := w.copy(strings.NewReader(strings.Repeat("x", 50_000)), 100_000, true); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if w.abandon() {
		t.Error("half of it has left")
	}
}

// A response that cannot be finished ends the connection: the client must not take
// what comes next for the rest of it.
func TestABrokenResponseEndsTheConnection(t *testing.T) {
	c := &conn{srv: &Server{}, w: writer{Writer: linewriter.Writer{W: io.Discard}}, log: (&Server{}).logger()}
	c.w.raw("* 1 FETCH (BODY[] ")
	c.w.literal(100_000)
	c.w.copy(strings.NewReader(strings.Repeat("x", 50_000)), 100_000, true)
	if err := c.finish(&command{parser: &parser{}, tag: "a"}, errors.New("the disk is gone")); !gone(err) {
		t.Error(err)
	}
}

func TestDatesAreWritten(t *testing.T) {
	for i := range 2000 {
		at := time.Unix(int64(i)*123_456_789%253_402_300_799, 0).In(time.FixedZone("", (i%29-14)*3600+i%4*900))
		w := &writer{}
		w.dateTime(at)
		if want := at.Format("\"_2-Jan-2006 15:04:05 -0700\""); string(w.Buf) != want {
			t.Fatalf("%s, want %s", w.Buf, want)
		}
	}
	w := &writer{}
	w.dateTime(time.Date(-3, 2, 1, 0, 0, 0, 0, time.UTC))
	if got := string(w.Buf); got != `" 1-Feb--0003 00:00:00 +0000"` && got != `" 1-Feb--003 00:00:00 +0000"` {
		t.Error(got)
	}
}
