package imap

import (
	"net/mail"
	"strings"
	"testing"
	"time"
)

func TestBaseSubject(t *testing.T) {
	for _, tt := range []struct {
		subject, base string
		reply         bool
	}{
		{"", "", false}, {" ", "", false}, {"plain", "plain", false}, {"  two \t words  ", "two words", false}, {"one\r\n\tfolded", "one folded", false},
		// (2) trailers
		{"x (fwd)", "x", true}, {"x (FWD) (fwd) ", "x", true}, {"x(fwd)", "x", true}, {"(fwd)", "", true}, {"x (fwd) y", "x (fwd) y", false}, {"(fwd) x", "(fwd) x", false},
		// (3) leaders
		{"Re: x", "x", true}, {"RE:x", "x", true}, {"re :x", "x", true}, {"re \t : x", "x", true}, {"Fw: x", "x", true}, {"Fwd: x", "x", true}, {"Re: Fwd: re: x", "x", true},
		{"Re[2]: x", "x", true}, {"Re [2] : x", "x", true}, {"Re[2][3]: x", "Re[2][3]: x", false}, {"Re: ", "", true}, {"Re", "Re", false}, {"Reply: x", "Reply: x", false}, {"Rex: y", "Rex: y", false}, {"AW: x", "AW: x", false},
		{"[a] Re: x", "x", true}, {"[a] [b] Re: [c] Re[d] : x", "x", true}, {"Re: [a] x", "x", true}, {"x Re: y", "x Re: y", false}, {"Fwds: x", "Fwds: x", false}, {"f: x", "f: x", false},
		// (4) blobs
		{"[a] x", "x", false}, {"[a][b]x", "x", false}, {"[a] [b]", "[b]", false}, {"[a]", "[a]", false}, {"[a] ", "[a]", false}, {"[]", "[]", false}, {"[] x", "x", false}, {"[a [b] x", "[a [b] x", false}, {"[a x", "[a x", false}, {"]a[ x", "]a[ x", false},
		{"Re: [a]", "[a]", true}, {"[a] Re: [b]", "[b]", true}, {"[a] (fwd)", "[a]", true}, {"[[a]] x", "[[a]] x", false}, {"[ä] x", "x", false},
		// (6) forwards in brackets
		{"[fwd: x]", "x", true}, {"[Fwd: Re: x (fwd)]", "x", true}, {"[fwd: [fwd: x]]", "x", true}, {"[fwd:]", "", true}, {"[fwd: x] y", "y", false}, {"[a] [fwd: x]", "x", true}, {"Re: [fwd: [a] x]", "x", true}, {"[fwd:[a]]", "[a]", true}, {"[fwd: x", "[fwd: x", false}, {"[fwd: x] ", "x", true},
		// (1) encoded words
		{"=?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?=", "Grüße", true}, {"Re: =?iso-8859-1?q?=E4?= =?iso-8859-1?q?=F6?=", "äö", true}, {"=?utf-8?b?UmU6IHg=?= (fwd)", "x", true}, {"=?utf-8?q?a=0D=0Ab?=", "a b", false},
		{"Re: \u00a0x", "\u00a0x", true},
	} {
		base, reply := baseSubject(tt.subject)
		if base != tt.base || reply != tt.reply {
			t.Errorf("%q: %q, %v, want %q, %v", tt.subject, base, reply, tt.base, tt.reply)
		}
	}
}

// A base subject is its own, is no reply, and no part of what it was.
func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{"[fwd: [a] Re[2]: x (fwd)]", "=?utf-8?q?Re=3A?= [[]] x", "re:[]re:[a]", "(fwd)[fwd:]", strings.Repeat("[fwd:", 50) + strings.Repeat("]", 50), strings.Repeat("[a]", 100) + "re"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, _ := baseSubject(s)
		if strings.Contains(base, "=?") {
			return // what was decoded may look encoded
		}
		if again, reply := baseSubject(base); again != base || reply {
			t.Errorf("%q is %q is %q, %v", s, base, again, reply)
		}
		if casemap(casemap(base)) != casemap(base) && !strings.ContainsFunc(base, func(r rune) bool { return r > 127 }) {
			t.Errorf("%q", base)
		}
	})
}

// Subjects that were made to be slow are not: each has the largest size that is kept.
func TestBaseSubjectOfHostileSubjects(t *testing.T) {
	const size = 64 << 10
	for _, s := range []string{"[fwd:", "[a]", "[", "re:", "re[", "[re:", "[a] re:", "[a]re ", " (fwd)", "]", "fwd [a] ", "=?utf-8?q?[a]?= "} {
		text := strings.Repeat(s, size/len(s))
		for _, x := range []string{text, text + "x", text + strings.Repeat("]", size), text + strings.Repeat(" (fwd)]", size/8)} {
			if base, _ := baseSubject(x); len(base) > len(x) {
				t.Error(s)
			}
		}
	}
}

func TestCasemap(t *testing.T) {
	for _, tt := range [][2]string{
		{"abc", "ABC"}, {"aBc1 !", "ABC1 !"}, {"", ""}, {"é", "E\u0301"}, {"É", "E\u0301"}, {"ﬁ", "fi"}, {"ß", "ß"}, {"ǆ", "Dz\u030c"}, {"Ǆ", "Dz\u030c"}, {"ｆ", "F"},
		{"ÅÅ", "A\u030aA\u030a"}, {"ж", "Ж"}, {"²", "2"}, {"\xff", "\ufffd"}, {"ﷺ", "صلى الله عليه وسلم"},
		{"a\u0301\u0323", "A\u0301\u0323"}, // marks stay as they are
	} {
		if got := casemap(tt[0]); got != tt[1] {
			t.Errorf("%q: %q, want %q", tt[0], got, tt[1])
		}
	}
}

func TestSentDate(t *testing.T) {
	for _, tt := range [][2]string{
		{"Sun, 31 Dec 2000 16:01:33 -0800", "2001-01-01T00:01:33Z"}, // RFC 5256, 2.2
		{"31 Dec 2000 16:01 -0800", "2001-01-01T00:01:00Z"},
		{"Mon, 1 Jan 2024 10:00:00 +0130", "2024-01-01T08:30:00Z"},
		{"Mon, 1 Jan 2024 10:00:00 GMT", "2024-01-01T10:00:00Z"},
		{"Mon, 1 Jan 2024 10:00:00 EST", "2024-01-01T15:00:00Z"},
		{"Mon, 1 Jan 2024 10:00:00 PDT (summer (time))", "2024-01-01T17:00:00Z"},
		{"Mon (first), 01 (x) Jan 2024 10:00:00 -0000", "2024-01-01T10:00:00Z"},
		{"1 jan 24 10:00:00 Z", "2024-01-01T10:00:00Z"}, {"1 Jan 99 10:00 UT", "1999-01-01T10:00:00Z"}, {"1 Jan 124 10:00 UT", "2024-01-01T10:00:00Z"}, {"1 January 2024 10:00", "2024-01-01T10:00:00Z"},
		// A zone that is none is UTC, a time that is none is midnight.
		{"1 Jan 2024 10:00:00 LMT", "2024-01-01T10:00:00Z"}, {"1 Jan 2024 10:00:00 +01", "2024-01-01T10:00:00Z"}, {"1 Jan 2024 10:00:00 +0199", "2024-01-01T10:00:00Z"},
		{"1 Jan 2024 25:00:00 +0100", "2024-01-01T00:00:00Z"}, {"1 Jan 2024 noon", "2024-01-01T00:00:00Z"}, {"1 Jan 2024", "2024-01-01T00:00:00Z"}, {"29 Feb 2024", "2024-02-29T00:00:00Z"}, {"31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00Z"},
		{"Mon, 1-Jan-2024 10:00:00 +0000", "2024-01-01T10:00:00Z"}, {"1-Jan-2024 10:00:00 +0000", "2024-01-01T10:00:00Z"},
		{"", ""}, {"nonsense", ""}, {"Mon,", ""}, {"30 Feb 2024 10:00:00 +0000", ""}, {"0 Jan 2024", ""}, {"1 Foo 2024", ""}, {"1 Jan", ""}, {"1 Jan 2", ""}, {"1 Jan 20240", ""}, {"2024-01-01T00:00:00Z", ""}, {"(1 Jan 2024", ""}, {"1--2024", ""}, {"Mon Jan 1 10:00:00 2024", ""},
	} {
		got := ""
		if d, ok := sentDate(tt[0]); ok {
			got = d.UTC().Format(time.RFC3339)
		}
		if got != tt[1] {
			t.Errorf("%q: %s, want %s", tt[0], got, tt[1])
		}
	}
}

// What the standard library reads as a date is that date here.
func FuzzSentDate(f *testing.F) {
	for _, s := range []string{"Mon, 1 Jan 2024 10:00:00 +0100", "1 Jan 24 10:00 GMT (x)", "Mon,1-Jan-2024 1:2:3 EST", "31 Dec 2016 23:59:60 -9999", "1 Jan 2024 (\\)) 10:00:00 A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := sentDate(s)
		want, err := mail.ParseDate(s)
		if err != nil || strings.ContainsAny(s, "\\") {
			return
		}
		if _, offset := want.Zone(); offset%60 != 0 || offset == 0 && !strings.HasSuffix(s, "0000") || want.Year() < 1950 || offset > 23*3600 || offset < -23*3600 {
			return // zones that the library takes for another, or for none
		}
		if !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", s, got, ok, want)
		}
	})
}
