package smtp_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/addr"
	"github.com/mailkeel/mailkeel/smtp"
)

// kinds of recipients.
const (
	here    = "here"    // an address of ours
	unknown = "unknown" // ours, but nobody's
	far     = "far"     // somewhere else: only for who has logged in
	bad     = "bad"     // no address at all
)

var recipients = []struct{ path, kind string }{
	{"<ann@example.org>", here},
	{"<ANN@EXAMPLE.ORG>", here},
	{"<Ann@Example.Org>", here},
	{"ann@example.org", here}, // without brackets
	{"<ann+folder@example.org>", here},
	{`<"ann"@example.org>`, here},
	{`<"a b"@example.org>`, here},
	{"<both@example.org>", here},
	{"<away@example.org>", here}, // an alias of ours to elsewhere
	{"<postmaster@example.org>", here},
	{"<postmaster>", here},
	{"<postmaster@mx.example.org>", here},
	{"<@relay.example:ann@example.org>", here},
	{"<@a.example,@b.example:ann@example.org>", here},
	{"<nobody@example.org>", unknown},
	{"<x%elsewhere.example@example.org>", unknown},
	{"<x%elsewhere.example%other.example@example.org>", unknown},
	{"<elsewhere.example!x@example.org>", unknown},
	{"<a!b!x%elsewhere.example@example.org>", unknown},
	{`<"x@elsewhere.example"@example.org>`, unknown},
	{`<"x@elsewhere.example>"@example.org>`, unknown},
	{`<"x%elsewhere.example"@example.org>`, unknown},
	{`<"@elsewhere.example:x"@example.org>`, unknown},
	{"<@elsewhere.example:x@example.org>", unknown},
	{"<MAILER-DAEMON@example.org>", unknown},
	{"<|/bin/sh@example.org>", unknown},
	{"</etc/passwd@example.org>", unknown},
	{"<x@elsewhere.example>", far},
	{"<X@ELSEWHERE.EXAMPLE>", far},
	{"<ann@sub.example.org>", far},
	{"<ann@notexample.org>", far},
	{"<ann@example.org.elsewhere.example>", far},
	{"<ann@example.com>", far},
	{"<ann@org>", far},
	{"<ann%example.org@elsewhere.example>", far},
	{"<example.org!ann@elsewhere.example>", far},
	{`<"ann@example.org"@elsewhere.example>`, far},
	{"<@example.org:x@elsewhere.example>", far},
	{"<@example.org,@example.org:x@elsewhere.example>", far},
	{"<ann@[127.0.0.1]>", far},
	{"<ann@[192.0.2.1]>", far},
	{"<ann@[IPv6:::1]>", far},
	{"<ann@localhost>", far},
	{"<ann@xn--exmple-cua.org>", far}, // exämple.org
	{"<postmaster@elsewhere.example>", far},
	{"<ann@example.org.>", bad},
	{"<ann@example..org>", bad},
	{"<ann@.example.org>", bad},
	{"<ann@>", bad},
	{"<ann>", bad},
	{"<@example.org>", bad},
	{"<>", bad},
	{"<@>", bad},
	{"<ann@example.org@elsewhere.example>", bad},
	{"<x@elsewhere.example@example.org>", bad},
	{"<ann@elsewhere.example,ann@example.org>", bad},
	{"<x@elsewhere.example >", bad},
	{"<x@elsewhere.example><ann@example.org>", bad},
	{"<ann@example.org> <x@elsewhere.example>", bad},
	{"<ann@[example.org]>", bad},
	{"<ann@[127.0.0.1>", bad},
	{"<ann@127.0.0.1>", bad},
	{"<ann@exаmple.org>", bad}, // a Cyrillic letter, without SMTPUTF8
	{"<ann@example\u3002org>", bad},
	{"<ann@example.org\x00>", bad},
	{"<ann@example.org\x00@elsewhere.example>", bad},
	{"<ann\x00@example.org>", bad},
	{"<ann@example.org\r>", bad},
	{"<ann @example.org>", bad},
	{"<ann..x@example.org>", bad},
	{"<(comment)ann@example.org>", bad},
	{"<ann@example.org(comment)>", bad},
	{`<"ann@example.org>`, bad},
	{"<" + strings.Repeat("x", 65) + "@example.org>", bad},
	{"<x@" + strings.Repeat("x.", 130) + "example>", bad},
}

// T4: nobody relays who has not logged in, and nothing is taken for ours that is
// not.
func TestT4_NoOpenRelay(t *testing.T) {
	rows := 0
	for _, who := range []string{"stranger", "trusted", "logged in", "stranger at the submission door", "LMTP"} {
		t.Run(who, func(t *testing.T) {
			r := newRig(t, func(s *smtp.Server) {
				s.Auth, s.InsecureAuth = users(), true
				s.MaxBadRcpts = 1000
				s.LMTP = who == "LMTP"
				s.Submission = who == "stranger at the submission door"
				if who == "trusted" {
					s.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})
			p := dial(t, r.addr)
			p.want("220")
			if who == "LMTP" {
				p.do("LHLO x", "250")
			} else {
				p.do("EHLO x", "250")
			}
			from := "zoe@example.net"
			if who == "logged in" {
				p.login("ann@example.org", "secret-a1")
				from = "ann@example.org"
			}
			if r.Submission {
				p.do("MAIL FROM:<"+from+">", "530", "RCPT TO:<ann@example.org>", "503")
				return
			}
			for _, rc := range recipients {
				rows++
				p.do("RSET", "250", "MAIL FROM:<"+from+">", "250")
				p.send("RCPT TO:" + rc.path + "\r\n")
				got := p.reply()
				want := map[string]string{here: "250 2.1.5", unknown: "550 5.1.1", far: "550 5.7.1", bad: "5"}[rc.kind]
				if rc.kind == far && who == "logged in" {
					want = "250 2.1.5"
				}
				if !strings.HasPrefix(got, want) || rc.kind == bad && strings.HasPrefix(got, "550 5.7.1") {
					t.Errorf("%q: %s, want %s", rc.path, got, want)
				}
				if got[:3] != "250" {
					continue
				}
				p.do("DATA", "354").send(".\r\n")
				p.want("250")
				for _, m := range r.sink.all() {
					for _, e := range m.env.Rcpts {
						_, domain := addr.Split(e.Addr)
						if e.Account == "" && rc.kind != far && rc.path != "<away@example.org>" || e.Account != "" && !strings.EqualFold(domain, "example.org") {
							t.Errorf("%q was sent on as %+v", rc.path, e)
						}
					}
				}
				r.sink.got = nil
			}
		})
	}
	if rows < 150 {
		t.Errorf("%d rows", rows)
	}
}

// The zero configuration accepts nothing.
func TestT4_NoDirectoryAcceptsNobody(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Directory = nil })
	p := dial(t, r.addr).hello().do("MAIL FROM:<zoe@example.net>", "250")
	for _, a := range []string{"ann@example.org", "x@elsewhere.example", "postmaster", "root@mx.example.org"} {
		p.do("RCPT TO:<"+a+">", "550 5.7.1")
	}
}

// T5: who has logged in sends as itself, also where mail from elsewhere comes in.
func TestT5_NoSpoofedSender(t *testing.T) {
	for _, submission := range []bool{true, false} {
		r := newRig(t, func(s *smtp.Server) { s.Auth, s.InsecureAuth, s.Submission = users(), true, submission })
		p := dial(t, r.addr).hello().login("ann@example.org", "secret-a1")
		for _, from := range []string{"bob@example.org", "zoe@example.net", "ann@example.com", `"ann@example.org"@example.net`} {
			p.do("MAIL FROM:<"+from+">", "553 5.7.1")
		}
		p.do("MAIL FROM:<Ann@Example.org>", "250", "RSET", "250", "MAIL FROM:<ann+x@example.org>", "250", "RSET", "250", "MAIL FROM:<>", "250")
	}
}

// T6: no password in the clear.
func TestT6_NoAuthBeforeTLS(t *testing.T) {
	r := newRig(t, func(s *smtp.Server) { s.Auth, s.Submission = users(), true })
	p := dial(t, r.addr)
	p.want("220")
	p.send("EHLO x\r\n")
	if got := p.reply(); strings.Contains(got, "AUTH") {
		t.Error(got)
	}
	for _, mech := range []string{"PLAIN", "PLAIN AGEAYg==", "LOGIN", "SCRAM-SHA-256", "plain"} {
		p.do("AUTH "+mech, "538 5.7.11")
	}
	p.do("AUTH CRAM-MD5", "504", "AUTH", "501", "NOOP", "250")
}
