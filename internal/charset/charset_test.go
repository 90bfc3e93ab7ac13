package charset

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func Example() {
	fmt.Println(Decode("ISO-8859-1", []byte("Gr\xfc\xdfe")))
	// Output: Grüße
}

var texts = []struct {
	name, in, want string
	known          bool
}{
	{"", "a\xc3\xa4\xe4", "a\u00e4\u00e4", true},
	{"us-ascii", "\x80", "\u20ac", true},
	{"UTF8", "\xf0\x9f\x98\x80", "\U0001f600", true},
	{"utf8mb4", "\xc3\xa4", "\u00e4", true},
	{`"utf-8"`, "\xc3\xa4", "\u00e4", true},
	{"utf-8*en", "\xc3\xa4", "\u00e4", true},
	{"utf-8", "\xf0\x9f\x98", "\u00f0\u0178\u02dc", true},
	{"x-none", "\xe4", "\u00e4", false},
	{strings.Repeat("x", 100), "\xe4", "\u00e4", true}, // as if it said nothing
	{"iso-8859-1", "\x80\xe4", "\u20ac\u00e4", true},
	{"latin1", "\xe4", "\u00e4", true},
	{"ms-ansi", "\xe4", "\u00e4", true},
	{"ISO-8859-15", "\xa4", "\u20ac", true},
	{"iso8859-2", "\xb1", "\u0105", true},
	{"cp1251", "\xe4", "\u0434", true},
	{"windows-1251", "\xe4", "\u0434", true},
	{"koi8-r", "\xe4", "\u0414", true},
	{"cp850", "\x84", "\u00e4", true},
	{"cp932", "\x93\xfa\x96\x7b", "\u65e5\u672c", true},
	{"shift_jis", "\x93\xfa\x96\x7b", "\u65e5\u672c", true},
	{"euc-jp", "\xc6\xfc\xcb\xdc", "\u65e5\u672c", true},
	{"iso-2022-jp", "\x1b$BF|K\\\x1b(B", "\u65e5\u672c", true},
	{"gb2312", "\xd6\xd0", "\u4e2d", true},
	{"gb18030", "\xd6\xd0", "\u4e2d", true},
	{"big5", "\xa4\xa4", "\u4e2d", true},
	{"ks_c_5601-1987", "\xc7\xd1", "\ud55c", true},
	{"iso-8859-8-i", "\xe0", "\u05d0", true},
	{"utf-16", "\xfe\xff\x00\xe4", "\u00e4", true},
	{"utf-16le", "\xe4\x00", "\u00e4", true},
	{"utf-7", "A+AOQ-b", "A\u00e4b", true},
	{"utf-7", "+2D3eAA-", "\U0001f600", true},
	{"utf-7", "+-", "+", true},
	{"utf-7", "+AOQ.", "\u00e4.", true},
	{"utf-7", "+2D0-x", "\ufffdx", true},
	{"utf-7", "+2D0", "\ufffd", true},
	{"utf-7", "+3gA-", "\ufffd", true},
	{"utf-7", "\xe4", "\ufffd", true},
	{"UNICODE-1-1-UTF-7", "Hi Mom -+Jjo--!", "Hi Mom -\u263a-!", true},
}

func TestDecode(t *testing.T) {
	for _, tt := range texts {
		if got := Decode(tt.name, []byte(tt.in)); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.name, tt.in, got, tt.want)
		}
		got, err := io.ReadAll(NewReader(tt.name, iotest.OneByteReader(strings.NewReader(tt.in))))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s %q read: %q, %v; want %q", tt.name, tt.in, got, err, tt.want)
		}
		if Known(tt.name) != tt.known {
			t.Errorf("%s: known %v", tt.name, Known(tt.name))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range texts {
		f.Add(tt.name, []byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		got := Decode(name, b)
		if !utf8.ValidString(got) || len(got) > 10*len(b)+10 {
			t.Errorf("%s %q: %q", name, b, got)
		}
		read, err := io.ReadAll(NewReader(name, iotest.HalfReader(strings.NewReader(string(b)))))
		if err != nil || string(read) != got {
			t.Errorf("%s %q: %q and, read, %q, %v", name, b, got, read, err)
		}
	})
}
