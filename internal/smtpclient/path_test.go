package smtpclient

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/smtpsink"
)

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		utf8     bool
	}{
		{"ann@x.test", "ann@x.test", false},
		{"Ann+tag@X.Test", "Ann+tag@x.test", false},
		{"", "", false},
		{"postmaster", "postmaster", false},
		{`"a b"@x.test`, `"a b"@x.test`, false},
		{`"ann"@x.test`, "ann@x.test", false},
		{`"a\"b\\c"@x.test`, `"a\"b\\c"@x.test`, false},
		{"b\u00f6b@x.test", "b\u00f6b@x.test", true},
		{"bob@b\u00fccher.test", "bob@xn--bcher-kva.test", false},
		{"b\u00f6b@xn--bcher-kva.test", "b\u00f6b@xn--bcher-kva.test", true},
		{"a@[127.0.0.1]", "a@[127.0.0.1]", false},
		{"a@[IPv6:::1]", "a@[IPv6:::1]", false},
		{"a@x_y.test", "a@x_y.test", false},
	} {
		got, utf8, err := Path(tt.in)
		if err != nil || got != tt.want || utf8 != tt.utf8 {
			t.Errorf("%q is %q, %v, %v; want %q", tt.in, got, utf8, err, tt.want)
		}
	}
	for _, bad := range []string{
		"ann", "@x.test", "ann@", "a@x..test", "a@-x.test", "a@x-.test", "a@x.test> SIZE=1", "a@x.test\r\nRSET", "a\r\nb@x.test",
		"a\x00b@x.test", "\"a\r\n\"@x.test", `"a@x.test`, `"a"b"@x.test`, `"a\"@x.test`, "a@[x]", "a@[1.2.3.4", "a@[IPv6:fe80::1%eth0]", "a@1.2.3.4",
		"a\xff@x.test", "a\u2028@x.test", "a\u0085@x.test", "a@x test", "a@" + strings.Repeat("x", 64) + ".test", strings.Repeat("a", 600) + "@x.test",
		"a@\u2028.test", "a b@x.test", "a@b@c.test", "a..b@x.test", "a@x.test.", "a@x/y", "a@<x>",
	} {
		if got, _, err := Path(bad); err == nil {
			t.Errorf("%q is %q, want an error", bad, got)
		}
	}
}

// hostile are addresses made of pieces that have fooled others (T10).
func hostile() (all []string) {
	pieces := []string{"a", "b>", "<c", " SIZE=1", "> SIZE=1", "\r\nDATA", "\n", "\x00", `"`, `\`, "@", "..", "(x)", ",", ":", ";", "[", "\u2028", "%", "!", "\t"}
	for _, p := range pieces {
		for _, q := range pieces {
			all = append(all, p+q+"@x.test", "a@"+p+q, `"`+p+q+`"@x.test`)
		}
	}
	return all
}

func TestHostileAddressesOnTheWire(t *testing.T) {
	s := smtpsink.Start(t, &smtpsink.Server{})
	c := start(t, s)
	sent := 0
	for _, a := range hostile() {
		env := envelope(a)
		env.From, env.Rcpts[0].Orcpt, env.EnvelopeID = a, "rfc822;"+a, a
		before := len(s.Messages())
		r := c.Deliver(t.Context(), env, message)[0]
		ms := s.Messages()[before:]
		if r.Err != nil {
			if !mailkeel.Permanent(r.Err) || len(ms) != 0 {
				t.Errorf("%q: %v", a, r.Err)
			}
			continue
		}
		sent++
		if len(ms) != 1 {
			t.Fatalf("%q: %d messages", a, len(ms))
		}
		for _, path := range []string{ms[0].From, ms[0].Rcpts[0]} {
			if err := onePath(path); err != nil {
				t.Errorf("%q went out as %q: %v", a, path, err)
			}
		}
	}
	if sent < 100 {
		t.Errorf("only %d of %d addresses went out at all", sent, len(hostile()))
	}
	for _, cmd := range s.Commands() {
		if verb, _, _ := strings.Cut(cmd, " "); !strings.Contains("EHLO MAIL RCPT DATA RSET", verb) || verb == "" {
			t.Errorf("the peer got the command %q", cmd)
		}
	}
}

// onePath checks that s is one path and parameters that we sent.
func onePath(s string) error {
	if !strings.HasPrefix(s, "<") {
		return fmt.Errorf("no path")
	}
	i, quoted := 1, false
	for ; i < len(s) && (quoted || s[i] != '>'); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && (s[i] == ' ' || s[i] == '<'):
			return fmt.Errorf("%q outside quotes", s[i])
		}
	}
	for _, p := range strings.Fields(s[min(i+1, len(s)):]) {
		key, _, _ := strings.Cut(p, "=")
		if p == "SMTPUTF8" || key == "BODY" || key == "SIZE" && p == fmt.Sprintf("SIZE=%d", len(message)) || key == "ENVID" || key == "ORCPT" {
			continue
		}
		return fmt.Errorf("parameter %q", p)
	}
	return nil
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"ann@x.test", `"a b"@x.test`, "b\u00f6b@b\u00fccher.test", "a@[127.0.0.1]", "a@b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, u, err := Path(s)
		if err != nil || p == "" {
			return
		}
		if err := onePath("<" + p + ">"); err != nil || strings.ContainsAny(p, "\r\n\x00") {
			t.Fatalf("%q is %q: %v", s, p, err)
		}
		again, u2, err := Path(p)
		if err != nil || again != p || u != u2 {
			t.Fatalf("%q is %q, and that is %q: %v", s, p, again, err)
		}
		if x := xtext(s); !isXtext(x) {
			t.Fatalf("xtext of %q is %q", s, x)
		}
	})
}
