package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

var headers = []struct{ in, want string }{
	{"", ""},
	{"plain", "plain"},
	{"=?utf-8?q?=C3=A4?=", "\u00e4"},
	{"=?UTF-8?B?w6Q=?=", "\u00e4"},
	{"=?utf-8?b?w6Q?=", "\u00e4"},
	{"=?utf-8?b? w6 Q= ?=", "\u00e4"},
	{"=?iso-8859-1?Q?=E4_b?=", "\u00e4 b"},
	{"=?iso-8859-1?q?a b?=", "a b"},
	{"a =?utf-8?q?b?= c", "a b c"},
	{"a=?utf-8?q?b?=c", "abc"},
	{"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
	{"=?utf-8?q?a?=  \t =?iso-8859-1?q?=E4?=", "a\u00e4"},
	{"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"},
	{"=?utf-8?q?a?==?utf-8?q?b?=", "ab"},
	{"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "\u00e4"},
	{"=?utf-8*en?q?a?=", "a"},
	{"=?utf-8?q??=", ""},
	{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\u65e5\u672c"},
	{"=?gb2312?B?1tDOxA==?=", "\u4e2d\u6587"},
	{"=?cp932?B?k/qWew==?=", "\u65e5\u672c"},
	{"=?ks_c_5601-1987?B?x9GxuQ==?=", "\ud55c\uad6d"},
	{"=?koi8-r?B?98/Q0s/T?=", "\u0412\u043e\u043f\u0440\u043e\u0441"},
	{"=?utf-7?Q?+AOQ-?=", "\u00e4"},
	{"=?unknown?q?=E4?=", "\u00e4"},
	{"=?unknown?q?=C3=A4?=", "\u00e4"},
	{"=?utf-8?q?=ZZ=4?=", "=ZZ=4"},
	{"=?utf-8?q?a=0D=0AX:_y=00?=", "a  X: y "},
	{"=?utf-8?q?a=E2=80=A8b?=", "a b"},
	{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
	{"=?utf-8?q?a", "=?utf-8?q?a"},
	{"=?utf-8?q?a?", "=?utf-8?q?a?"},
	{"=?utf-8?q?a?b?=", "=?utf-8?q?a?b?="},
	{"=?utf-8?q", "=?utf-8?q"},
	{"=?utf-8", "=?utf-8"},
	{"=?", "=?"},
	{"=??q?a?=", "=??q?a?="},
	{"=?a b?q?a?=", "=?a b?q?a?="},
	{"=?=?utf-8?q?a?=", "=?a"},
	{"=?x?=?utf-8?q?a?= =?utf-8?q?b?=", "=?x?ab"},
	{"\xc3\xa4", "\u00e4"},
	{"\xe4", "\u00e4"},
	{"\xe4 =?utf-8?q?a?=", "\u00e4 a"},
	{"a\tb\r\nc\x00d", "a b  c d"},
	{"1 = ? 2", "1 = ? 2"},
}

func TestDecodeHeader(t *testing.T) {
	for _, tt := range headers {
		if got := DecodeHeader(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzDecodeHeader(f *testing.F) {
	for _, tt := range headers {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := DecodeHeader(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q: %q", s, got)
		}
		if len(got) > 4*len(s) {
			t.Errorf("%d bytes became %d", len(s), len(got))
		}
	})
}
