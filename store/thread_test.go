package store

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/message"
)

func TestBaseSubject(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"Hello":                        "hello",
		"Re: Hello":                    "hello",
		"RE:re: Fwd:FW: hello":         "hello",
		"Re[2]: AW(3): hello":          "hello",
		"[list] Re: [list] Hello":      "hello",
		"[list]":                       "[list]",
		"Re: [list]":                   "[list]",
		"Hello (fwd) (Fwd)":            "hello",
		"回复：你好":                        "你好",
		"Odp: hello":                   "hello",
		"Hello\r\n\tyou ":              "helloyou",
		"=?utf-8?b?UmU6IEjDpGxsbw==?=": "hällo",
		"Re:":                          "",
		"Release: 1.0":                 "release:1.0",
		"Re[: x":                       "re[:x",
		"Re[2: x":                      "re[2:x",
		"[open":                        "[open",
		"\xff\xfe":                     baseSubject("\xff\xfe"),
		strings.Repeat("re:", 5000):    "",
		strings.Repeat("[a]", 5000):    "[a]",
		strings.Repeat("(fwd)", 3276):  "",
		strings.Repeat("[", 20_000):    strings.Repeat("[", maxSubject),
	} {
		if got := baseSubject(in); got != want {
			t.Errorf("%.60q becomes %.60q, want %.60q", in, got, want)
		}
	}
}

func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{"Re: hi", "[x] Re: [x] y (fwd)", "Re[2]: =?utf-8?q?x?=", "回复：你好", "\xff: (fwd)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := baseSubject(s)
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q becomes %q", s, got)
		}
		if again := baseSubject("Re: " + s); len(s) < maxSubject-10 && again != got && !strings.Contains(s, "=?") {
			t.Errorf("%q becomes %q, and with Re: %q", s, got, again)
		}
	})
}

func TestThreadKeysAreFewAndNearestFirst(t *testing.T) {
	e := &message.Envelope{Subject: "Re: x", MessageID: "<me@x>", InReplyTo: " <c@x> (your mail) <d @x>", References: []string{"a@x", "b@x", "c@x"}}
	want := []ThreadKey{hashThread("c@x", "x"), hashThread("me@x", "x"), hashThread("d@x", "x"), hashThread("b@x", "x"), hashThread("a@x", "x")}
	if got := threadKeys(e); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	for i := range 500 {
		e.References = append(e.References, strings.Repeat("x", i))
	}
	got := threadKeys(e)
	if len(got) > threadLook || got[len(got)-1] != hashThread("a@x", "x") {
		t.Errorf("%d keys, without the root", len(got))
	}
	if got := threadKeys(&message.Envelope{Subject: "x"}); len(got) != 0 {
		t.Errorf("a message without IDs has keys %x", got)
	}
	if got := threadKeys(&message.Envelope{MessageID: "not in brackets"}); len(got) != 1 {
		t.Errorf("an odd ID gives keys %x", got)
	}
	if got := messageIDs("<> < > <a", 5); !slices.Equal(got, []string{"<> < > <a"}) {
		t.Errorf("got %q", got)
	}
}
