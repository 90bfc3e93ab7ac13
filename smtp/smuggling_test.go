package smtp_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mailkeel/mailkeel/smtp"
)

// T1: what other servers take for the end of content (CVE-2023-51764, -51765,
// -51766 and kin). Each stands between a first line and a whole transaction.
var ends = []struct {
	name, text string
	ends       bool   // it holds CRLF.CRLF, and that ends the content
	reply      string // to the content that holds it
}{
	{"CRLF.CRLF", "\r\n.\r\n", true, "250"},
	{"LF.LF", "\n.\n", false, "550 5.6.0"},
	{"LF.CRLF", "\n.\r\n", false, "550 5.6.0"},
	{"CRLF.LF", "\r\n.\n", false, "550 5.6.0"},
	{"CR.CR", "\r.\r", false, "550 5.6.0"},
	{"CR.CRLF", "\r.\r\n", false, "550 5.6.0"},
	{"CR.LF", "\r.\n", false, "550 5.6.0"},
	{"LF.CR", "\n.\r", false, "550 5.6.0"},
	{"CRLF.CR", "\r\n.\r", false, "550 5.6.0"},
	{"CRLF.CRCRLF", "\r\n.\r\r\n", false, "550 5.6.0"},
	{"CRCRLF.CRLF", "\r\r\n.\r\n", true, "550 5.6.0"},
	{"CRCRLF.CRCRLF", "\r\r\n.\r\r\n", false, "550 5.6.0"},
	{"LFCRLF.CRLF", "\n\r\n.\r\n", true, "550 5.6.0"},
	{"LFCR.LFCR", "\n\r.\n\r", false, "550 5.6.0"},
	{"CRLFLF.CRLF", "\r\n\n.\r\n", false, "550 5.6.0"},
	{"CRLF.NUL", "\r\n.\x00\r\n", false, "550 5.6.0"},
	{"NUL.", "\r\n\x00.\r\n", false, "550 5.6.0"},
	{"NUL before", "\x00\r\n.\r\n", true, "550 5.6.0"},
	{"CRLF.SP", "\r\n. \r\n", false, "250"},
	{"CRLF.TAB", "\r\n.\t\r\n", false, "250"},
	{"SP.", "\r\n .\r\n", false, "250"},
	{"two dots", "\r\n..\r\n", false, "250"},
	{"dot and CRLF in dots", "\r\n..\r\n..\r\n", false, "250"},
	{"VT", "\v.\v", false, "250"},
	{"FF", "\r\n.\f\r\n", false, "250"},
	{"NEL", "\u0085.\u0085", false, "250"},
	{"LS", "\u2028.\u2028", false, "250"},
	{"latin NEL", "\x85.\x85", false, "250"},
	{"backspace", "\r\n.\b\r\n", false, "250"},
	{"dot without a line end before", "x.\r\n", false, "250"},
	{"CRLF.CRLF in halves", "\r\n.\r\n.\r\n", true, "250"},
}

const smuggled = "MAIL FROM:<evil@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nsmuggled\r\n.\r\n"

// talk sends all that follows DATA, cut at i, and returns the replies.
func talk(p *peer, text string, i int) []string {
	p.send(text[:i])
	p.send(text[i:])
	var got []string
	for {
		r := p.reply()
		if r == "EOF" {
			return got
		}
		got = append(got, r)
	}
}

// judge says what is wrong with the outcome of one end.
func judgeEnd(p *peer, i int, head string, replies []string, sink *sink) {
	e := ends[i]
	evil := 0
	for _, m := range sink.all() {
		if m.env.From == "evil@example.net" {
			evil++
		}
	}
	sink.got = nil
	if len(replies) == 0 || !strings.HasPrefix(replies[0], e.reply) {
		p.t.Errorf("%s, %s: got %q, want %s", head, e.name, replies, e.reply)
	}
	// What ends the content makes what follows a transaction of the client's own.
	// The one that is smuggled through a middle is none.
	if want := map[bool]int{true: 1}[e.ends]; evil != want {
		p.t.Errorf("%s, %s: %d messages of the other sender, want %d", head, e.name, evil, want)
	}
}

func TestT1_OnlyOneEndOfData(t *testing.T) {
	if len(ends) < 24 {
		t.Fatal("the table has shrunk")
	}
	for i, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, ln := newPipeRig(t, nil)
				text := "first" + e.text + smuggled + "QUIT\r\n"
				for cut := range len(text) {
					p, _ := ln.dial(t)
					p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
					judgeEnd(p, i, fmt.Sprint("cut at ", cut), talk(p, text, cut), r.sink)
					if t.Failed() {
						return
					}
				}
				// Byte by byte, at the very beginning, and after RSET.
				p, _ := ln.dial(t)
				p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
				for _, b := range []byte(text) {
					p.send(string(b))
				}
				judgeEnd(p, i, "byte by byte", talk(p, "", 0), r.sink)
				p, _ = ln.dial(t)
				p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "RSET", "250",
					"MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
				judgeEnd(p, i, "after RSET", talk(p, text, 0), r.sink)
			})
		})
	}
}

func TestT1_AfterSTARTTLS(t *testing.T) {
	r := newRig(t, nil)
	for i, e := range ends {
		p := dial(t, r.addr).hello().do("STARTTLS", "220")
		p.startTLS()
		p.do("EHLO x", "250", "MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
		judgeEnd(p, i, "TLS", talk(p, "first"+e.text+smuggled+"QUIT\r\n", 3), r.sink)
	}
}

func TestT1_AtTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, nil)
		for _, tt := range []struct{ text, body string }{ // of what is accepted
			{".\r\n", ""},
			{"\r\n.\r\n", "\r\n"},
			{"..\r\n.\r\n", ".\r\n"},
			{"...\r\n.\r\n", "..\r\n"},
			{".a\r\n.\r\n", "a\r\n"},
		} {
			for cut := range len(tt.text) {
				p, _ := ln.dial(t)
				p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
				got := talk(p, tt.text+"QUIT\r\n", cut)
				m := r.sink.all()
				if len(got) != 2 || got[0][:3] != "250" || len(m) != 1 || m[0].body() != tt.body {
					t.Errorf("%q cut at %d: %q %+v", tt.text, cut, got, m)
				}
				r.sink.got = nil
			}
		}
	})
}

// In chunks nothing but their length ends content.
func TestT1_Chunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, nil)
		for _, e := range ends {
			content := "first" + e.text + smuggled
			want := "250"
			if strings.ContainsAny(e.text, "\x00") || strings.HasPrefix(e.reply, "550") {
				want = "550 5.6.0"
			}
			for _, chunk := range []int{1, 7, len(content)} {
				p, _ := ln.dial(t)
				p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
				last := ""
				for rest := content; rest != "" && !strings.HasPrefix(last, "5"); {
					n := min(chunk, len(rest))
					word := ""
					if n == len(rest) {
						word = " LAST"
					}
					p.send(fmt.Sprintf("BDAT %d%s\r\n%s", n, word, rest[:n]))
					rest = rest[n:]
					last = p.reply()
				}
				if !strings.HasPrefix(last, want) {
					t.Errorf("%s in chunks of %d: %q", e.name, chunk, last)
				}
				p.do("NOOP", "250", "QUIT", "221").ended()
				for _, m := range r.sink.all() {
					if m.body() != content || m.env.From != "zoe@example.net" {
						t.Errorf("%s in chunks of %d: %q", e.name, chunk, m.data)
					}
				}
				r.sink.got = nil
			}
		}
	})
}

// DATA and BDAT do not mix within a message, and what is refused leaves no bytes
// to be taken for commands.
func TestT1_MixOfDataAndChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, nil)
		p, _ := ln.dial(t)
		evil := "MAIL FROM:<evil@example.net>\r\n"
		p.hello()
		p.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(evil), evil))
		p.want("503")
		p.do("MAIL FROM:<zoe@example.net>", "250")
		p.send(fmt.Sprintf("BDAT %d\r\n%s", len(evil), evil))
		p.want("503")
		p.do("RCPT TO:<ann@example.org>", "250")
		p.send("BDAT 3\r\na\r\nDATA\r\nMAIL FROM:<x@example.net>\r\nRCPT TO:<bob@example.org>\r\nBDAT 0 LAST\r\n")
		for _, want := range []string{"250", "503", "503", "503", "250 2.0.0 ok: filed"} {
			p.want(want)
		}
		if m := r.sink.all(); len(m) != 1 || m[0].body() != "a\r\n" || len(m[0].env.Rcpts) != 1 {
			t.Errorf("%+v", m)
		}
		p.do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250")
		p.send("BDAT x LAST\r\n" + evil)
		p.want("501")
		p.ended()
	})
}

func TestLooseLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ln := newPipeRig(t, func(s *smtp.Server) { s.LooseLines = true })
		text := "Subject: a\nX: b\r\n\n.\nc\n.d\r\n\ne\r\n.\r\nQUIT\r\n"
		for cut := range len(text) {
			p, _ := ln.dial(t)
			p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
			if got := talk(p, text, cut); len(got) != 2 || got[0][:3] != "250" {
				t.Fatalf("cut at %d: %q", cut, got)
			}
			if got := r.sink.all()[0].body(); got != "Subject: a\r\nX: b\r\n\r\n.\r\nc\r\n.d\r\n\r\ne\r\n" {
				t.Fatalf("cut at %d: %q", cut, got)
			}
			r.sink.got = nil
		}
		p, _ := ln.dial(t)
		p.hello().do("MAIL FROM:<zoe@example.net>", "250", "RCPT TO:<ann@example.org>", "250", "DATA", "354")
		if got := talk(p, "a\rb\r\n.\r\nQUIT\r\n", 0); !strings.HasPrefix(got[0], "550") {
			t.Errorf("a bare CR: %q", got)
		}
	})
}

// T3: what was sent in the clear after STARTTLS is not heard under TLS
// (CVE-2011-0411, CVE-2021-33515).
func TestT3_NothingIsInjectedBeforeTLS(t *testing.T) {
	for _, lmtp := range []bool{false, true} {
		r := newRig(t, func(s *smtp.Server) { s.LMTP = lmtp })
		hello := map[bool]string{false: "EHLO x\r\n", true: "LHLO x\r\n"}[lmtp]
		inject := "MAIL FROM:<evil@example.net>\r\nRCPT TO:<ann@example.org>\r\n"
		for _, more := range []string{inject, "NOOP\r\n", "\r\n", "x", "\x16\x03\x01"} {
			p := dial(t, r.addr)
			p.want("220")
			p.send(hello)
			p.want("250")
			p.send("STARTTLS\r\n" + more)
			p.want("554 5.5.1")
			p.ended()
		}
		// In a segment of its own it is no TLS.
		p := dial(t, r.addr)
		p.want("220")
		p.send(hello)
		p.want("250")
		p.send("STARTTLS\r")
		p.send("\n")
		p.want("220")
		p.send(inject)
		if rest, _ := io.ReadAll(p.r); strings.Contains(string(rest), "250") {
			t.Errorf("answered %q", rest)
		}
		// State from before is gone: sender, greeting and login.
		p = dial(t, r.addr)
		p.want("220")
		p.send(hello)
		p.want("250")
		p.do("MAIL FROM:<evil@example.net>", "250", "STARTTLS", "503 5.5.1", "RSET", "250", "STARTTLS now", "501", "STARTTLS", "220")
		p.startTLS()
		p.do("RCPT TO:<ann@example.org>", "503", "MAIL FROM:<evil@example.net>", "503", "DATA", "503", "BDAT 0 LAST", "503")
	}
}
