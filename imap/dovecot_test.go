package imap

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/message"
)

// Messages about which two servers ought to say the same. (About broken ones they
// differ: we keep more of them.)
var sober = []string{
	"Subject: plain\nFrom: Ann <ann@example.org>\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <1@x>\n\nbody\nof lines\n",
	"From: ann@example.org (Ann A.)\nSender: \"S, T\" <s@example.org>\nReply-To: r@example.org\nTo: g: a@x, B <b@x>;, c@x\nCc: undisclosed-recipients:;\nBcc: d@x\nIn-Reply-To: <1@x> <2@x>\nSubject: folded\n subject\n\nx\n",
	"Subject: =?utf-8?q?J=C3=B6rg?= =?utf-8?q?_x?=\nFrom: =?utf-8?b?SsO2cmc=?= <j@x>, root, \"a b\"@x\n\nx\n",
	"Content-Type: text/html; charset=utf-8; format=flowed\nContent-Transfer-Encoding: base64\nContent-ID: <id>\nContent-Description: words in a row\nContent-Disposition: inline; filename=\"a b.html\"\nContent-Language: de\nContent-Location: http://x/\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n\nPGI+\n",
	"Content-Type: multipart/mixed; boundary=A\n\npreamble\n--A\n\none\n--A\nContent-Type: text/html\n\n<p>\n\n--A--\nepilogue\n",
	"Content-Type: multipart/mixed; boundary=\"A B\"\n\n--A B\nContent-Type: multipart/alternative; boundary=\"=_B\"\n\n--=_B\n\none\n--=_B\nContent-Type: text/html\n\ntwo\n--=_B--\n\n--A B\nContent-Type: image/png; name=x.png\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=x.png; size=3\n\nYWJj\n--A B--\n",
	"Content-Type: multipart/mixed; boundary=A\n\n--A\nContent-Type: message/rfc822\n\nSubject: inner\nFrom: i@x\nContent-Type: multipart/mixed; boundary=B\n\n--B\n\none\n--B\nContent-Type: message/rfc822\n\nSubject: innermost\n\ntwo\n--B--\n\n--A\n\nthree\n--A--\n",
	"Content-Type: message/rfc822\n\nSubject: inner\n\nbody\n",
	"Content-Type: multipart/digest; boundary=A\n\n--A\n\nSubject: 1\n\none\n--A\n\nSubject: 2\n\ntwo\n--A--\n",
	"Content-Type: multipart/report; report-type=delivery-status; boundary=A\n\n--A\n\nfailed\n--A\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nAction: failed\n--A\nContent-Type: text/rfc822-headers\n\nSubject: x\n--A--\n",
	"Content-Type: multipart/mixed; boundary=A\n\n--A\n\nno end\n",
	"Content-Type: multipart/mixed; boundary=A\n\n--A\nContent-Type: multipart/mixed; boundary=B\n\n--B\n\nthe outer one ends it\n--A\n\ntwo\n--A--\n",
	"Subject: no body\n\n",
	"Subject:\nDate: \nMessage-ID:\nIn-Reply-To:\n\nempty\n",
	"To: a@x\nTo: B <b@x>\nCc: c@x\nCc: d@x\nFrom: e@x\nFrom: f@x\nSubject: one\n\ntwice\n",
	"Subject: NUL\nContent-Type: text/plain; format=flowed\n\na\x00b\n\x00\n",
	"\nno header\n",
}

// sections names every section of a message.
func sections(p *message.Part, number string, root bool) (out []string) {
	dot := func() string {
		if number == "" {
			return ""
		}
		return number + "."
	}
	if root {
		out = append(out, dot()+"HEADER", dot()+"TEXT", dot()+"HEADER.FIELDS (SUBJECT FROM)")
		if p.Type != "multipart" {
			number = dot() + "1"
			out = append(out, number)
		}
	} else {
		out = append(out, number+".MIME", number)
	}
	if p.Envelope != nil {
		return append(out, sections(&p.Parts[0], number, true)...)
	}
	for i := range p.Parts {
		out = append(out, sections(&p.Parts[i], fmt.Sprint(dot(), i+1), false)...)
	}
	return out
}

var (
	fetched = regexp.MustCompile(`^\* (\d+ FETCH \((?:UID|[^ ]+(?: \([^)]*\)\])?))`)
	ending  = regexp.MustCompile(`\{(\d+)\}\r\n$`)
)

// responses returns the FETCH responses in out by what they are about.
func responses(t *testing.T, out string) map[string]string {
	all := make(map[string]string)
	for out != "" {
		r := ""
		for {
			line, rest, ok := strings.Cut(out, "\n")
			if !ok {
				t.Fatalf("cut off: %q", out)
			}
			r, out = r+line+"\n", rest
			m := ending.FindStringSubmatch(line + "\n")
			if m == nil {
				break
			}
			n, _ := strconv.Atoi(m[1])
			r, out = r+out[:n], out[n:]
		}
		if m := fetched.FindStringSubmatch(r); m != nil {
			all[m[1]] = r
		}
	}
	return all
}

// alike makes the two servers write alike what may be written in more than one way.
func alike(s string) string {
	s = regexp.MustCompile(`\{0\}\r\n`).ReplaceAllString(s, `""`)
	s = regexp.MustCompile(`\{\d+\}\r\n`).ReplaceAllString(s, "")
	return strings.ToLower(strings.NewReplacer(`\"`, "", `"`, "").Replace(s))
}

// Dovecot says the same about a message as we do: its envelope, its structure, and
// the bytes of each section.
func TestFetchLikeDovecot(t *testing.T) {
	var contents []string
	script := "a SELECT INBOX\r\n"
	for i, text := range sober {
		content := strings.ReplaceAll(text, "\n", "\r\n")
		contents = append(contents, content)
		m, err := message.Parse(strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		script += fmt.Sprintf("f FETCH %d (UID RFC822.SIZE ENVELOPE)\r\nf FETCH %[1]d BODY\r\nf FETCH %[1]d BODYSTRUCTURE\r\nf FETCH %[1]d BODY.PEEK[]\r\n", i+1)
		for _, section := range sections(&m.Root, "", true) {
			script += fmt.Sprintf("f FETCH %d BODY.PEEK[%s]\r\n", i+1, section)
		}
	}
	script += "z LOGOUT\r\n"
	theirs := responses(t, dovecot(t, contents, script))

	mine := responses(t, ours(t, sober, script))
	if len(mine) < 100 || len(theirs) != len(mine) {
		t.Errorf("%d responses, and %d of Dovecot", len(mine), len(theirs))
	}
	for about, want := range theirs {
		if got := mine[about]; alike(got) != alike(want) {
			t.Errorf("%s\n   ours %q\ntheirs %q", about, got, want)
		}
	}
}
