package imap

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// glob is the definition, without regard for time.
func glob(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*' || p[0] == '%':
		if glob(p[1:], s) {
			return true
		}
		return s != "" && (p[0] == '*' || s[0] != '/') && glob(p, s[1:])
	}
	return s != "" && p[0] == s[0] && glob(p[1:], s[1:])
}

func TestPatternsMatchWhatTheyMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab/*%]{0,12}`).Draw(t, "pattern")
		for range 10 {
			s := rapid.StringMatching(`[ab/]{0,12}`).Draw(t, "name")
			if got := newPattern(p).match(s); got != glob(p, s) {
				t.Fatalf("%q on %q: %v", p, s, got)
			}
		}
	})
	long := strings.Repeat("ab/c", 200)
	for p, want := range map[string]bool{long: true, "*" + long: true, long[:700] + "*": true, long[:699] + "%": false, long + "x": false, "%" + long[1:]: true, long[1:]: false} {
		if newPattern(p).match(long) != want {
			t.Errorf("%.20q... on a long name is not %v", p, want)
		}
	}
}

func TestInboxHasNoCase(t *testing.T) {
	for p, want := range map[string]bool{"inbox": true, "INBOX": true, "iNb%": true, "inbox/x": false, "*x": true, "inbo": false, "i*": true} {
		if newPattern(p).match("INBOX") != want {
			t.Errorf("%q", p)
		}
	}
	for p, want := range map[string]bool{"inbox/Work": true, "inbox/work": false, "InBox/%": true} {
		if newPattern(p).match("INBOX/Work") != want {
			t.Errorf("%q", p)
		}
	}
	if newPattern("inboxes").match("INBOXES") {
		t.Error("INBOXES has a case")
	}
}

// T16: a pattern made to be tried again and again takes linear time.
func TestPatternsTakeLinearTime(t *testing.T) {
	steps := func(n int, unit, end string) int {
		p := newPattern(strings.Repeat(unit, n) + end)
		name := strings.Repeat("a", 30*n)
		p.match(name)
		return p.steps
	}
	for _, unit := range []string{"*a", "%a", "*%a", "a*%*"} {
		// Twice as long a name under the same pattern: twice the steps.
		p := newPattern(strings.Repeat(unit, 30) + "b")
		p.match(strings.Repeat("a", 500))
		once := p.steps
		p.steps = 0
		p.match(strings.Repeat("a", 1000))
		if p.steps > 2*once {
			t.Errorf("%q: %d steps, then %d", unit, once, p.steps)
		}
		// The longest there are.
		if got := steps(33, unit, "b"); got > 1000*(maxPattern/64+1) {
			t.Errorf("%q: %d steps", unit, got)
		}
	}
	if p := newPattern(strings.Repeat("a", maxPattern+1) + "*"); !p.never || p.match("a") {
		t.Error("a pattern longer than any name matches nothing")
	}
}

func TestUTF7(t *testing.T) {
	for utf8, utf7 := range map[string]string{
		"":                   "",
		"plain":              "plain",
		"R&D":                "R&-D",
		"&&":                 "&-&-",
		"~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"ü":                  "&APw-",
		"a😀b":                "a&2D3eAA-b",
		"tab\t":              "tab&AAk-",
	} {
		if got := encodeUTF7(utf8); got != utf7 {
			t.Errorf("%q is encoded as %q", utf8, got)
		}
		if got, ok := decodeUTF7(utf7); !ok || got != utf8 {
			t.Errorf("%q is decoded as %q, %v", utf7, got, ok)
		}
	}
	for _, bad := range []string{"&", "&Jjo", "&Jjo!", "&AGE-", "&U,BTFw-&ZeVnLIqe-", "&2D0-", "&3gA-", "&AA-", "&AP-", "&APx-", "&AP w-", "&AP/w-"} {
		if got, ok := decodeUTF7(bad); ok {
			t.Errorf("%q is decoded as %q", bad, got)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	f.Add("R&-D")
	f.Add("&U,BTFw-/&ZeVnLIqe-")
	f.Add("&2D3eAA-")
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := decodeUTF7(s); ok && isASCII(s) {
			if e := encodeUTF7(d); e != s {
				t.Fatalf("%q is decoded as %q, which is encoded as %q", s, d, e)
			}
		}
		if strings.ToValidUTF8(s, "") != s {
			return
		}
		if d, ok := decodeUTF7(encodeUTF7(s)); !ok || d != s {
			t.Fatalf("%q comes back as %q, %v", s, d, ok)
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
