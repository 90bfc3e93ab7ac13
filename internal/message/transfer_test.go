package message

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

func TestTransferEncodings(t *testing.T) {
	for _, tt := range []struct{ encoding, in, want string }{
		{"7bit", "a=41\r\n", "a=41\r\n"},
		{"x-unknown", "a=41\r\n", "a=41\r\n"},
		{"base64", "aGVsbG8=", "hello"},
		{"base64", "aGVs\r\nbG8=\r\n", "hello"},
		{"base64", "aGVsbG8", "hello"},
		{"base64", "aGVsbG8gd29ybGQ", "hello world"},
		{"base64", "aGVsbG8=aGVsbG8=", "hellohello"},
		{"base64", "*a G\x00V.s\xffbG8=", "hello"},
		{"base64", "a", ""},
		{"base64", "=====", ""},
		{"base64", "", ""},
		{"quoted-printable", "a=3Db", "a=b"},
		{"quoted-printable", "a=3db", "a=b"},
		{"quoted-printable", "a=\r\nb", "ab"},
		{"quoted-printable", "a=\nb", "ab"},
		{"quoted-printable", "a= \t\r\nb", "ab"},
		{"quoted-printable", "a \t\r\nb", "a\r\nb"},
		{"quoted-printable", "a \nb", "a\nb"},
		{"quoted-printable", "a =\r\nb", "a b"},
		{"quoted-printable", "a  b", "a  b"},
		{"quoted-printable", "a  ", "a"},
		{"quoted-printable", "a=20\r\n", "a \r\n"},
		{"quoted-printable", "a=ZZb", "a=ZZb"},
		{"quoted-printable", "a=4", "a=4"},
		{"quoted-printable", "a=4\r\n", "a=4\r\n"},
		{"quoted-printable", "a==41", "a=A"},
		{"quoted-printable", "a=", "a"},
		{"quoted-printable", "a= b", "a= b"},
		{"quoted-printable", "a\rb", "a\rb"},
		{"quoted-printable", "a\r\r\n", "a\r\r\n"},
		{"quoted-printable", "a=\rb", "ab"},
		{"quoted-printable", "a=\r\r\nb", "a\r\nb"},
		{"quoted-printable", "\xc3\xa4", "\xc3\xa4"},
		{"quoted-printable", strings.Repeat(" ", 5000) + "x", strings.Repeat(" ", 5000) + "x"},
	} {
		p := Part{Type: "text", Subtype: "plain", Encoding: tt.encoding}
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			got, err := io.ReadAll(p.Reader(r))
			if err != nil || string(got) != tt.want {
				t.Errorf("%s %q: %q, %v; want %q", tt.encoding, tt.in, got, err, tt.want)
			}
		}
		if p.KnownEncoding() == (tt.encoding == "x-unknown") {
			t.Errorf("%s: known %v", tt.encoding, p.KnownEncoding())
		}
	}
}

func TestReaderReturnsTheErrorOfTheBody(t *testing.T) {
	for _, e := range []string{"base64", "quoted-printable", "7bit"} {
		p := Part{Encoding: e}
		got, err := io.ReadAll(p.Reader(io.MultiReader(strings.NewReader("aGVs"), iotest.ErrReader(io.ErrUnexpectedEOF))))
		if err != io.ErrUnexpectedEOF || len(got) == 0 {
			t.Errorf("%s: %q, %v", e, got, err)
		}
	}
}

func TestMultipartsAreNotDecoded(t *testing.T) {
	p := Part{Type: "multipart", Encoding: "base64", Parts: []Part{{}}}
	if got, _ := io.ReadAll(p.Reader(strings.NewReader("aGVsbG8="))); string(got) != "aGVsbG8=" {
		t.Errorf("%q", got)
	}
}

func TestTextIsUTF8(t *testing.T) {
	p := Part{Type: "text", Subtype: "plain", Encoding: "quoted-printable", Params: []Param{{"charset", "iso-8859-1"}}}
	if got, _ := io.ReadAll(p.Text(strings.NewReader("=E4"))); string(got) != "\u00e4" {
		t.Errorf("%q", got)
	}
}

// What the standard library writes is read as it reads it.
func FuzzQuotedPrintable(f *testing.F) {
	f.Add([]byte("a = b\r\n \r\n\xff\x00"))
	f.Add([]byte(strings.Repeat("x ", 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var w bytes.Buffer
		q := quotedprintable.NewWriter(&w)
		q.Binary = true
		q.Write(b)
		q.Close()
		p := Part{Encoding: "quoted-printable"}
		got, err := io.ReadAll(p.Reader(iotest.HalfReader(&w)))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%q, %v; want %q", got, err, b)
		}
		if got, err := io.ReadAll(p.Reader(bytes.NewReader(b))); err != nil || len(got) > len(b) {
			t.Errorf("%q decodes to %q, %v", b, got, err)
		}
	})
}
