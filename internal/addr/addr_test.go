package addr

import (
	"errors"
	"strings"
	"testing"
)

// What may stand left and right of the @, and what it means. An empty meaning is a
// refusal.
var locals = [][2]string{
	{"a", "a"}, {"A.b", "A.b"}, {"a+tag", "a+tag"}, {"a=b=c", "a=b=c"}, {"#$%&'*/?^_`{|}~!-", "#$%&'*/?^_`{|}~!-"},
	{"a%b", "a%b"}, {"h!u", "h!u"}, {`"a b"`, "a b"}, {`"a"`, "a"}, {`"a.b"`, "a.b"}, {`"a@b"`, "a@b"}, {`"a\"b"`, `a"b`},
	{`"a\\"`, `a\`}, {`"\a"`, "a"}, {`"a>b"`, "a>b"}, {`"<>"`, "<>"}, {`"a@b.com> SIZE=1"`, "a@b.com> SIZE=1"}, {`"."`, "."}, {`".a"`, ".a"},
	{`" "`, " "}, {"\u00e4", "\u00e4"}, {"\u7528\u6237", "\u7528\u6237"}, {`"ü b"`, "ü b"}, {strings.Repeat("a", 64), strings.Repeat("a", 64)},
	{"", ""}, {".", ""}, {".a", ""}, {"a.", ""}, {"a..b", ""}, {"a b", ""}, {"a\tb", ""}, {" a", ""}, {"a ", ""}, {"a\x00b", ""}, {"a\r\nb", ""},
	{"a\nb", ""}, {"a\x7f", ""}, {"a<b", ""}, {"a>b", ""}, {"<a", ""}, {"a,b", ""}, {"a;b", ""}, {"a:b", ""}, {"a(b)", ""}, {"(c)a", ""}, {"a[b]", ""},
	{`a\b`, ""}, {`a"b"`, ""}, {`"a"b`, ""}, {`"a".b`, ""}, {`"a`, ""}, {`a"`, ""}, {`""`, ""}, {`"a` + "\x00" + `b"`, ""}, {`"a` + "\r\n" + `b"`, ""}, {`"a\` + "\n" + `"`, ""},
	{`"a\"`, ""}, {"\xff", ""}, {"\xc3", ""}, {`"` + "\xff" + `"`, ""}, {"a\u0085b", ""}, {"a\u2028b", ""}, {"a\u202eb", ""}, {"a\u00a0b", ""}, {"\ufffd", ""},
	{strings.Repeat("a", 65), ""}, {`"` + strings.Repeat("a ", 32) + `"`, ""}, {"a@b", ""}, {"a@", ""},
}

var domains = [][2]string{
	{"example.com", "example.com"}, {"EXAMPLE.Com", "example.com"}, {"localhost", "localhost"}, {"a-b.c_d.e1", "a-b.c_d.e1"},
	{"[192.0.2.1]", "[192.0.2.1]"}, {"[IPv6:2001:DB8::1]", "[IPv6:2001:db8::1]"}, {"[ipv6:::1]", "[IPv6:::1]"},
	{"b\u00fccher.example", "xn--bcher-kva.example"}, {"B\u00dcCHER.example", "xn--bcher-kva.example"}, {"xn--bcher-kva.example", "xn--bcher-kva.example"},
	{"\u4f8b\u3048.jp", "xn--r8jz45g.jp"}, {"stra\u00dfe.de", "xn--strae-oqa.de"},
	{"", ""}, {".", ""}, {".com", ""}, {"example.", ""}, {"example.com.", ""}, {"a..b", ""}, {"-a.com", ""}, {"a-.com", ""}, {"a b", ""}, {"a\tb", ""},
	{"a\x00b", ""}, {"a\r\nb", ""}, {"a>b", ""}, {"a@b", ""}, {"a,b", ""}, {"a;b", ""}, {"a(b)", ""}, {`"a"`, ""}, {"192.0.2.1", ""}, {"1", ""}, {"a.1", ""},
	{"[]", ""}, {"[192.0.2.1", ""}, {"192.0.2.1]", ""}, {"[192.0.2.256]", ""}, {"[192.0.2]", ""}, {"[::1]", ""}, {"[IPv6:192.0.2.1]", ""}, {"[IPv6:fe80::1%eth0]", ""},
	{"[tag:x]", ""}, {"[192.0.2.1]x", ""}, {"[ 192.0.2.1]", ""}, {"[192.0.2.1\r\n]", ""}, {"a%b", ""}, {"a/b", ""}, {"a:25", ""},
	{"\uff45xample.com", ""}, {"example\u3002com", ""}, {"ex\u00adample.com", ""}, {"a\uff20b.com", ""}, {"xn--a.com", ""}, {"xn--.com", ""}, {"\xff.com", ""}, {"\u200bexample.com", ""},
	{strings.Repeat("a", 64) + ".com", ""}, {strings.Repeat("a.", 127) + "com", ""}, {"a com> SIZE=1", ""}, {"exam>ple.com", ""}, {"example.com\u2028", ""},
}

func TestEveryLocalPartWithEveryDomain(t *testing.T) {
	n := 0
	for _, l := range locals {
		for _, d := range domains {
			n++
			check(t, l[0]+"@"+d[0], Mailbox{l[1], d[0]}, d[1], l[1] != "" && d[1] != "")
		}
	}
	if n < 300 {
		t.Errorf("only %d addresses", n)
	}
}

func check(t *testing.T, s string, want Mailbox, canonical string, ok bool) {
	t.Helper()
	m, err := Parse(s, true)
	if (err == nil) != ok {
		t.Errorf("Parse(%q): %v, want ok %v", s, err, ok)
	}
	if err != nil {
		if m != (Mailbox{}) {
			t.Errorf("Parse(%q) returns %+v and an error", s, m)
		}
		return
	}
	if m != want {
		t.Errorf("Parse(%q) = %+v, want %+v", s, m, want)
	}
	if d, err := Domain(m.Domain); err != nil || d != canonical {
		t.Errorf("Domain(%q) = %q, %v; want %q", m.Domain, d, err, canonical)
	}
	safe(t, m)
	_, err = Parse(s, false)
	if m.ASCII() && err != nil || !m.ASCII() && !errors.Is(err, ErrUTF8) {
		t.Errorf("Parse(%q) without SMTPUTF8: %v", s, err)
	}
}

// safe checks that a mailbox on the wire means itself and nothing more.
func safe(t testing.TB, m Mailbox) {
	t.Helper()
	path := m.Path()
	if end := pathEnd(path + " SIZE=1"); end != len(path) {
		t.Errorf("%q ends after %d bytes", path, end)
	}
	if strings.ContainsAny(path, "\r\n\x00") {
		t.Errorf("%q has control characters", path)
	}
	again, err := Parse(path, true)
	if err != nil || again != m {
		t.Errorf("Parse(%q) = %+v, %v; want %+v", path, again, err, m)
	}
	if local, domain := Split(m.String()); local != Quote(m.Local) || domain != m.Domain {
		t.Errorf("Split(%q) = %q, %q", m, local, domain)
	}
}

// pathEnd returns where a server ends the path at the beginning of s: at the first
// > that is not quoted.
func pathEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i + 1
		}
	}
	return -1
}

func TestWholePaths(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"<a@b.example>", "<a@b.example>", nil},
		{"a@b.example", "<a@b.example>", nil},
		{`"a"@b.example`, "<a@b.example>", nil},
		{"<@x.example,@y.example:a@b.example>", "<a@b.example>", nil},
		{"@x.example:a@b.example", "<a@b.example>", nil},
		{"", "<>", nil},
		{"<>", "<>", nil},
		{"postmaster", "", ErrNoDomain},
		{"<postmaster>", "", ErrNoDomain},
		{`"postmaster"`, "", ErrNoDomain},
		{"<a@b.example", "", ErrSyntax},
		{"a@b.example>", "", ErrSyntax},
		{"<<a@b.example>>", "", ErrSyntax},
		{"<a@b.example> SIZE=1", "", ErrSyntax},
		{"<a@b.example>,<c@d.example>", "", ErrSyntax},
		{" <a@b.example>", "", ErrSyntax},
		{"Name <a@b.example>", "", ErrSyntax},
		{"@x.example", "", ErrSyntax},
		{"@x.example:", "", ErrNoDomain},
		{"@:a@b.example", "", ErrSyntax},
		{"@x.example,y.example:a@b.example", "", ErrSyntax},
		{"@x.example,:a@b.example", "", ErrSyntax},
		{"@x.example:@y.example:a@b.example", "", ErrSyntax},
		{"@[192.0.2.1]:a@b.example", "", ErrSyntax},
		{"@x y:a@b.example", "", ErrSyntax},
		{"a@b@c.example", "", ErrSyntax},
		{strings.Repeat("@x.example,", 1000) + "@x.example:a@b.example", "", ErrLength},
		{"a@" + strings.Repeat("a.", 126) + "b", "", ErrLength},
		{strings.Repeat("a", 1<<20), "", ErrLength},
	} {
		got, err := Path(tt.in, true)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Path(%.80q) = %q, %v; want %q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestEqual(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a@example.com", "a@EXAMPLE.com", true},
		{"a@example.com", "A@example.com", false},
		{`"a"@example.com`, "a@example.com", true},
		{"a@b\u00fccher.example", "a@XN--BCHER-KVA.example", true},
		{"a@[IPv6:0:0::1]", "a@[ipv6:::1]", true},
		{"a@example.com", "a@example.org", false},
	} {
		a, err := Parse(tt.a, true)
		b, err2 := Parse(tt.b, true)
		if err != nil || err2 != nil || a.Equal(b) != tt.want {
			t.Errorf("%q and %q: %v, %v, %v; want %v", tt.a, tt.b, a.Equal(b), err, err2, tt.want)
		}
	}
}

// A Mailbox that nobody parsed cannot break a line either.
func TestHandMadeMailboxIsHarmless(t *testing.T) {
	m := Mailbox{"a\r\nRCPT TO:<x@y>", "b\r\nDATA"}
	if got, want := m.Path(), `<"aRCPT TO:<x@y>"@bDATA>`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, l := range locals {
		f.Add(l[0] + "@example.com")
	}
	for _, d := range domains {
		f.Add("<@x.example:a@" + d[0] + ">")
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Parse(s, true)
		if err != nil {
			return
		}
		safe(t, m)
		d, err := Domain(m.Domain)
		if err != nil || !ascii(d) {
			t.Fatalf("Domain(%q) = %q, %v", m.Domain, d, err)
		}
		if again, err := Domain(d); err != nil || again != d {
			t.Fatalf("Domain(%q) = %q, %v", d, again, err)
		}
	})
}
