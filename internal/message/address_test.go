package message

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// short writes a list as "name|mailbox|host".
func short(list []Address) string {
	var s []string
	for _, a := range list {
		s = append(s, fmt.Sprintf("%s|%s|%s", a.Name, a.Mailbox, a.Host))
	}
	return strings.Join(s, ", ")
}

var addressLists = []struct{ in, want string }{
	{"", ""},
	{" , ,, ", ""},
	{"a@b", "|a|b"},
	{"<a@b>", "|a|b"},
	{"A B <a@b>", "A B|a|b"},
	{"a@b, c@d", "|a|b, |c|d"},
	{"a@b; c@d;", "|a|b, |c|d"},
	{`"B, A" <a@b>`, "B, A|a|b"},
	{`"A \"B\" \\C" <a@b>`, `A "B" \C|a|b`},
	{`A "B" C<a@b>`, "A B C|a|b"},
	{"=?utf-8?q?=C3=A4?= =?utf-8?q?b?= <a@b>", "=?utf-8?q?=C3=A4?= =?utf-8?q?b?=|a|b"},
	{"\xc3\xa4 <a@b>", "\xc3\xa4|a|b"},
	{"a@b (A B)", "A B|a|b"},
	{"(A B) a@b", "A B|a|b"},
	{"(one) A <a@b> (two)", "A|a|b"},
	{"(one) <a@b> (two)", "one|a|b"},
	{"(a (nested) comment) <a@b>", "a (nested) comment|a|b"},
	{`(a \) b) <a@b>`, "a ) b|a|b"},
	{"a (one) @ (two) b (three) . (four) c", "four|a|b.c"},
	{"a . b @ c . d", "|a.b|c.d"},
	{`"a b"@c`, "|a b|c"},
	{`"a@b"@c`, "|a@b|c"},
	{`"a"."b"@c`, "|a.b|c"},
	{`<"a b"@c>`, "|a b|c"},
	{"a@[192.0.2.1]", "|a|[192.0.2.1]"},
	{"<a@[IPv6:2001:db8::1]>", "|a|[IPv6:2001:db8::1]"},
	{"a@[IPv6:2001:db8::1], c@d", "|a|[IPv6:2001:db8::1], |c|d"},
	{"<@x,@y:a@b>", "|a|b"},
	{"<@x:a@b>", "|a|b"},
	{"<@b>", "|MISSING_MAILBOX|b"},
	{"a@b@c", "|a@b|c"},
	{"<a@b@c>", "|a@b|c"},
	{"undisclosed-recipients:;", "|undisclosed-recipients|, ||"},
	{"undisclosed-recipients: ;, a@b", "|undisclosed-recipients|, ||, |a|b"},
	{"G H: a@b, C <c@d>; e@f", "|G H|, |a|b, C|c|d, ||, |e|f"},
	{`"G, H": a@b`, "|G, H|, |a|b, ||"},
	{"A:B:a@b;", "|A|, ||, |B|, |a|b, ||"},
	{": a@b;", "|a|b"},
	{"G:;H:;", "|G|, ||, |H|, ||"},
	{"root", "|root|MISSING_DOMAIN"},
	{"<root>", "|root|MISSING_DOMAIN"},
	{"Admin <root>", "Admin|root|MISSING_DOMAIN"},
	{"a@", "|a|MISSING_DOMAIN"},
	{"@b", "|MISSING_MAILBOX|b"},
	{"<>", "|MISSING_MAILBOX|MISSING_DOMAIN"},
	{"A <>", "A|MISSING_MAILBOX|MISSING_DOMAIN"},
	{"A B C", "A B C|MISSING_MAILBOX|MISSING_DOMAIN"},
	{`"A"`, "A|MISSING_MAILBOX|MISSING_DOMAIN"},
	{"A B a@b", "A B|a|b"},
	{"a@b A B", "A B|a|b"},
	{"A B a@b, C D, e@f", "A B|a|b, C D|MISSING_MAILBOX|MISSING_DOMAIN, |e|f"},
	{"A <a@b", "A|a|b"},
	{"A <a@b, C <c@d>", "A|a|b, C|c|d"},
	{"<a@b <c@d>", "|a|b, |c|d"},
	{"A <a@b> B, c@d", "A|a|b, |c|d"},
	{"<a@b><c@d>", "|a|b, |c|d"},
	{`"A <a@b>, c@d`, `"A|a|b, |c|d`},
	{`A" <a@b>, c@d`, `A"|a|b, |c|d`},
	{"(A <a@b>, c@d", "(A|a|b, |c|d"},
	{"A) <a@b>", "A)|a|b"},
	{"a@b)", "|a|b)"},
	{"a..b@c.", "|a..b|c."},
	{"mailto:a@b", "|mailto|, |a|b, ||"},
	{"[a] <a@b>", "[a]|a|b"},
	{"\\", `|\|MISSING_DOMAIN`},
	{"a\\@b", `|a\|b`},
	{`"`, `|"|MISSING_DOMAIN`},
	{`""`, `|MISSING_MAILBOX|MISSING_DOMAIN`},
	{`"" <a@b>`, "|a|b"},
	{"'a@b' <a@b>", "'a@b'|a|b"},
	{"a@b <a@b>", "a@b|a|b"},
	{"<a b@c d>", "|ab|cd"},
	{"\t a@b\t ", "|a|b"},
}

func TestAddressLists(t *testing.T) {
	for _, tt := range addressLists {
		if got := short(ParseAddresses(tt.in)); got != tt.want {
			t.Errorf("%q\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func TestAddressListIsBounded(t *testing.T) {
	list := ParseAddresses("g: " + strings.Repeat("a@b,", 2*maxAddrs))
	if len(list) != maxAddrs || list[len(list)-1] != (Address{}) {
		t.Errorf("%d addresses, the last %+v", len(list), list[len(list)-1])
	}
}

// groupsPair checks that what begins a group is ended.
func groupsPair(t testing.TB, in string, list []Address) {
	t.Helper()
	group := false
	for _, a := range list {
		if a.Host != "" {
			if a.Mailbox == "" {
				t.Errorf("%q: no mailbox in %s", in, short(list))
			}
			continue
		}
		if (a.Mailbox != "") == group {
			t.Errorf("%q: groups do not pair in %s", in, short(list))
		}
		group = !group
	}
	if group {
		t.Errorf("%q: a group does not end in %s", in, short(list))
	}
}

func FuzzAddresses(f *testing.F) {
	for _, tt := range addressLists {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var steps int64
		list := parseAddresses(s, &steps)
		groupsPair(t, s, list)
		if steps > 10*int64(len(s))+10 {
			t.Errorf("%d steps for %d bytes", steps, len(s))
		}
	})
}

func TestMessageIDs(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"<a@b>", []string{"a@b"}},
		{" <a@b>\t<c@d>", []string{"a@b", "c@d"}},
		{"<a@b><c@d>", []string{"a@b", "c@d"}},
		{"a@b", nil},
		{"Your mail of today <a@b>", []string{"a@b"}},
		{"<a@\t b>", []string{"a@b"}},
		{"<cut <a@b>", []string{"a@b"}},
		{"<a@b> <cut", []string{"a@b"}},
		{"<>< >", nil},
	} {
		if got := MessageIDs(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestReferencesKeepTheRootAndTheNearest(t *testing.T) {
	var refs strings.Builder
	for i := range 300 {
		fmt.Fprintf(&refs, " <%d>\n", i)
	}
	m := parse(t, "References:"+refs.String()+"\n")
	got := m.Envelope.References
	if len(got) != 100 || got[0] != "0" || got[1] != "201" || got[99] != "299" {
		t.Errorf("%d references: %q", len(got), got)
	}
}
