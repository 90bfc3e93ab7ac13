package mailview

import (
	"testing"

	"github.com/mailkeel/mailkeel/internal/message"
)

func TestAddressesAreShownAsTheyAre(t *testing.T) {
	for _, tt := range []struct {
		in         string
		name, addr string
		suspicious bool
	}{
		{"Ann Smith <ann@example.org>", "Ann Smith", "ann@example.org", false},
		{"ann@example.org", "", "ann@example.org", false},
		{`"Smith, Ann" <ann@example.org>`, "Smith, Ann", "ann@example.org", false},
		{"=?utf-8?q?J=C3=BCrgen?= <j@example.org>", "Jürgen", "j@example.org", false},
		{"=?utf-8?b?0JzQsNGA0LjRjw==?= <m@example.org>", "Мария", "m@example.org", false},
		{"Мария Smith <m@example.org>", "Мария Smith", "m@example.org", false},
		{"田中 Taro <t@example.org>", "田中 Taro", "t@example.org", false},
		{"µTorrent <t@example.org>", "µTorrent", "t@example.org", false},
		// Scripts that look alike in one word.
		{"PаyPal <a@example.org>", "PаyPal", "a@example.org", true},
		{"Αpple <a@example.org>", "Αpple", "a@example.org", true},
		// Another address.
		{`"ann@bank.example" <evil@example.net>`, "ann@bank.example", "evil@example.net", true},
		{`"Ann (ann＠bank.example)" <evil@example.net>`, "Ann (ann＠bank.example)", "evil@example.net", true},
		{`"Ann <ann@bank.example>" <evil@example.net>`, "Ann <ann@bank.example>", "evil@example.net", true},
		{`=?utf-8?q?ann=40bank=2Eexample?= <evil@example.net>`, "ann@bank.example", "evil@example.net", true},
		{`"ann@example.org" <ann@example.org>`, "", "ann@example.org", false},
		{`"ANN@Example.ORG" <ann@example.org>`, "", "ann@example.org", false},
		{`"Ann @ Work" <ann@example.org>`, "Ann @ Work", "ann@example.org", false},
		// What is not seen, or turns text round.
		{"=?utf-8?b?QW5u4oCuIGVsaW0=?= <a@example.org>", "Ann elim", "a@example.org", true},
		{"An\u200bn <a@example.org>", "Ann", "a@example.org", true},
		{"=?utf-8?q?Ann=0D=0ABcc=3A_x=40y?= <a@example.org>", "Ann Bcc: x@y", "a@example.org", false},
		{"=?utf-8?q?Ann=00?= <a@example.org>", "Ann", "a@example.org", false},
		{"אבג\u200f <a@example.org>", "אבג", "a@example.org", false},
		// Domains.
		{"a@bücher.example", "", "a@bücher.example", false},
		{"a@xn--bcher-kva.example", "", "a@bücher.example", false},
		{"a@xn--pple-43d.com", "", "a@xn--pple-43d.com", true},                 // аpple: Cyrillic а
		{"a@xn--80ak6aa92e.com", "", "a@xn--80ak6aa92e.com", true},             // аррӏе: all Cyrillic
		{"a@пример.рф", "", "a@пример.рф", false},                              // one script
		{"a@例え.example", "", "a@例え.example", false},                            // scripts that go together
		{"a@xn--zzz-not-an-label.com", "", "a@xn--zzz-not-an-label.com", true}, // not one
		{"a@b\u202egro.elpmaxe", "", "a@bgro.elpmaxe", true},                   // turned round
		{"a@EXAMPLE.org", "", "a@EXAMPLE.org", false},
		{"a@[192.0.2.1]", "", "a@[192.0.2.1]", false},
		{`"a b"@example.org`, "", `"a b"@example.org`, false},
		{`"ann@bank.example"@evil.example`, "", `"ann@bank.example"@evil.example`, true},
		{"рaypal@example.org", "", "рaypal@example.org", true},
		// What is no address.
		{"undisclosed-recipients:;", "undisclosed-recipients", "", false},
		{"Ann", "", "Ann", false},
		{"Ann Smith", "Ann Smith", "", false},
	} {
		list := addresses(message.ParseAddresses(tt.in), 10)
		if len(list) != 1 {
			t.Errorf("%q: %+v", tt.in, list)
			continue
		}
		if a := list[0]; a.Name != tt.name || a.Addr != tt.addr || a.Suspicious != tt.suspicious {
			t.Errorf("%q: got %+q %+q %v", tt.in, a.Name, a.Addr, a.Suspicious)
		}
	}
}

func TestAnAddressCanBeTyped(t *testing.T) {
	for _, a := range []Address{
		{Name: "Ann Smith", Addr: "ann@example.org"},
		{Name: "Smith, Ann", Addr: "ann@example.org"},
		{Name: `Ann "the" \ Smith`, Addr: "ann@example.org"},
		{Name: "Dr. Ann; <x>", Addr: "ann@example.org"},
		{Addr: `"a,b"@example.org`},
		{Name: "Jürgen", Addr: "ü@bücher.example"},
	} {
		list, err := parseTyped("x@example.net, " + a.String() + "; y@example.net")
		if err != nil || len(list) != 3 || list[1].name != a.Name {
			t.Errorf("%q: %+v, %v", a.String(), list, err)
		}
	}
	for _, bad := range []string{"ann", "ann@", "@example.org", "<ann@example.org", "ann@example.org>", "a b@example.org", "ann@example.org bob@example.org", "Ann <>", "<<a@b>", "a@b@c", "a@exa mple.org", "ann\x00@example.org", "a\u2028b@example.org"} {
		if list, err := parseTyped(bad); err == nil {
			t.Errorf("%q: %+v", bad, list)
		}
	}
	list, err := parseTyped(" ann@example.org ,, bob@BÜCHER.example;\n <carl@example.org>\r\n")
	if err != nil || len(list) != 3 || list[1].addr != "bob@xn--bcher-kva.example" {
		t.Errorf("%+v, %v", list, err)
	}
}
