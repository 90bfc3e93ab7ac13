package accounts_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/accounts"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"Ann@Example.ORG":                       "ann@example.org",
		`"Ann"@example.org`:                     "ann@example.org",
		`"a\"b c"@example.org`:                  `"a\"b c"@example.org`,
		`"a@b"@example.org`:                     `"a@b"@example.org`,
		`"a\@b"@example.org`:                    `"a@b"@example.org`,
		"PostMaster":                            "postmaster",
		"cafe\u0301@b\u00fccher.example":        "caf\u00e9@xn--bcher-kva.example",
		"\u00c9ric@XN--BCHER-KVA.example":       "\u00e9ric@xn--bcher-kva.example",
		"a@[127.0.0.1]":                         "a@[127.0.0.1]",
		"a@[IPv6:2001:DB8::1]":                  "a@[IPv6:2001:db8::1]",
		"a@localhost":                           "a@localhost",
		"a_b@under_score.example":               "a_b@under_score.example",
		strings.Repeat("a", 64) + "@x.org":      strings.Repeat("a", 64) + "@x.org",
		"":                                      "",
		"ann":                                   "",
		"@":                                     "",
		"ann@":                                  "",
		"@x.org":                                "",
		"a b@x.org":                             "",
		"a..b@x.org":                            "",
		".a@x.org":                              "",
		"a.@x.org":                              "",
		"a@b@x.org":                             "",
		"a@x..org":                              "",
		"a@x.org.":                              "",
		"a@.x.org":                              "",
		"a@-x.org":                              "",
		"a@x-.org":                              "",
		"a@x org":                               "",
		"a@[127.0.0.1":                          "",
		"a@[<>]":                                "",
		"a\x00b@x.org":                          "",
		"\"a\nb\"@x.org":                        "",
		"\"a\u0085b\"@x.org":                    "",
		"a\xff@x.org":                           "",
		"a@\xff.org":                            "",
		`"a"b@x.org`:                            "",
		`"a\"@x.org`:                            "",
		`""@x.org`:                              "",
		"<a@x.org>":                             "",
		`"a@b.com> SIZE=1"@c` + "\r\n":          "",
		strings.Repeat("a", 65) + "@x.org":      "",
		"a@" + strings.Repeat("a", 64) + ".org": "",
		"a@" + strings.Repeat("a.", 130):        "",
		strings.Repeat("a@", 1<<20):             "",
		"a@" + strings.Repeat("\u00fc", 1<<20):  "",
	} {
		got, err := accounts.Canonical(in)
		if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, accounts.ErrBadAddress) {
			t.Errorf("Canonical(%.60q): %q, %v, want %q", in, got, err, want)
		}
	}
}

// What was made canonical stays so, is one line, and has one domain.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"Ann@Example.ORG", `"a\"b c"@x.org`, "caf\u0065\u0301@b\u00fccher.example", "\u0130@x.org", "\u212a\u0338@x.org", `"<>"@x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := accounts.Canonical(s)
		if err != nil {
			return
		}
		again, err := accounts.Canonical(c)
		if again != c || err != nil {
			t.Errorf("%q is %q and then %q, %v", s, c, again, err)
		}
		if strings.ContainsAny(c, "\r\n\x00") || c != "postmaster" && !strings.Contains(c, "@") {
			t.Errorf("%q is %q", s, c)
		}
	})
}
