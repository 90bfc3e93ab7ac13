package message

import (
	"fmt"
	"strings"
	"testing"
)

// tree writes a part as the table below does: a leaf with its body, a multipart and
// a message with their children.
func tree(p *Part, content string) string {
	name := p.Type + "/" + p.Subtype
	if p.Envelope != nil {
		name += fmt.Sprintf("{%s}", p.Envelope.Subject)
	}
	if len(p.Parts) == 0 {
		return fmt.Sprintf("%s %q", name, content[p.BodyStart:p.End])
	}
	var kids []string
	for i := range p.Parts {
		kids = append(kids, tree(&p.Parts[i], content))
	}
	return name + "(" + strings.Join(kids, ", ") + ")"
}

func parse(t testing.TB, content string) *Message {
	t.Helper()
	m, err := Parse(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const (
	mixed = "Content-Type: multipart/mixed; boundary=A\n\n"
	alt   = "Content-Type: multipart/alternative; boundary=B\n\n"
	rfc   = "Content-Type: message/rfc822\n\n"
)

var shapes = []struct {
	name, content, want string
}{
	{"empty", "", `text/plain ""`},
	{"one newline", "\n", `text/plain ""`},
	{"header only", "Subject: x\r\n", `text/plain ""`},
	{"header only, no line end", "Subject: x", `text/plain ""`},
	{"header and blank line", "Subject: x\r\n\r\n", `text/plain ""`},
	{"simple CRLF", "Subject: x\r\n\r\nhello\r\n", `text/plain "hello\r\n"`},
	{"simple LF", "Subject: x\n\nhello\n", `text/plain "hello\n"`},
	{"body only", "hello world\n", `text/plain "hello world\n"`},
	{"body that begins with a blank line", "\nhello\n", `text/plain "hello\n"`},
	{"blank line missing", "Subject: x\nhello world\n", `text/plain "hello world\n"`},
	{"CR CR LF", "Subject: x\r\r\n\r\r\nhello\r\r\n", `text/plain "hello\r\r\n"`},
	{"mailbox separator", "From me Mon Jan\nContent-Type: text/html\n\nx", `text/html "x"`},
	{"quoted separator", ">From me Mon Jan\nContent-Type: text/html\n\nx", `text/html "x"`},
	{"From field with a space", "From : me@x\nContent-Type: text/html\n\nx", `text/html "x"`},
	{"name with a space ends the header", "A b: c\nContent-Type: text/html\n\nx", `text/plain "A b: c\nContent-Type: text/html\n\nx"`},
	{"folded first line is no header", " a: b\n\nx", `text/plain " a: b\n\nx"`},
	{"line of spaces folds", "Subject: x\n \nContent-Type: text/html\n\nx", `text/html "x"`},
	{"NULs", "Subject: \x00\n\n\x00\n", `text/plain "\x00\n"`},
	{"eight bits in names", "S\xfcbject: x\n\ny", `text/plain "S\xfcbject: x\n\ny"`},
	{"two types, the first counts", "Content-Type: text/html\nContent-Type: text/plain\n\nx", `text/html "x"`},
	{"type in upper case", "CONTENT-TYPE: TEXT/HTML\n\nx", `text/html "x"`},
	{"type with spaces", "Content-Type : text / html ;charset=x\n\nx", `text/html "x"`},
	{"type with comments", "Content-Type: (a) text(b)/(c)html(d);(e)charset(f)=(g)x\n\nx", `text/html "x"`},
	{"type folded", "Content-Type:\n\ttext/html;\n\tcharset=x\n\nx", `text/html "x"`},
	{"type without subtype", "Content-Type: text\n\nx", `text/plain "x"`},
	{"type empty", "Content-Type:\n\nx", `text/plain "x"`},
	{"type of nonsense", "Content-Type: ;;;===\n\nx", `text/plain "x"`},
	{"type that nobody knows", "Content-Type: x-a/y-b\n\nx", `x-a/y-b "x"`},
	{"type too long", "Content-Type: " + strings.Repeat("a", 200) + "/b\n\nx", `text/plain "x"`},

	{"two parts", mixed + "--A\n\none\n--A\n\ntwo\n--A--\n", `multipart/mixed(text/plain "one", text/plain "two")`},
	{"two parts CRLF", "Content-Type: multipart/mixed; boundary=\"A\"\r\n\r\n--A\r\n\r\none\r\n--A\r\n\r\ntwo\r\n--A--\r\n",
		`multipart/mixed(text/plain "one", text/plain "two")`},
	{"mixed line ends", mixed + "--A\r\n\none\r\n--A\n\r\ntwo\n--A--\n", `multipart/mixed(text/plain "one", text/plain "two")`},
	{"preamble and epilogue", mixed + "pre\n--A\n\none\n--A--\npost\n--A\n\nno part\n", `multipart/mixed(text/plain "one")`},
	{"no end", mixed + "--A\n\none\n", `multipart/mixed(text/plain "one\n")`},
	{"ends in a delimiter", mixed + "--A\n\none\n--A\n", `multipart/mixed(text/plain "one", text/plain "")`},
	{"ends in a delimiter, no line end", mixed + "--A\n\none\n--A", `multipart/mixed(text/plain "one", text/plain "")`},
	{"empty parts", mixed + "--A\n--A\n\n--A\n\n\n--A--\n", `multipart/mixed(text/plain "", text/plain "", text/plain "")`},
	{"part with header only", mixed + "--A\nContent-Type: text/html\n--A--", `multipart/mixed(text/html "")`},
	{"part without blank line", mixed + "--A\nContent-Type: text/html\n<p>x y\n--A--", `multipart/mixed(text/html "<p>x y")`},
	{"part without header", mixed + "--A\nhello there\n--A--", `multipart/mixed(text/plain "hello there")`},
	{"spaces after delimiters", mixed + "--A \t\n\none\n--A--  \n", `multipart/mixed(text/plain "one")`},
	{"text after a delimiter is none", mixed + "--A\n\none\n--Ax\n--A x\n--A--x\n-- A\n--A--", `multipart/mixed(text/plain "one\n--Ax\n--A x\n--A--x\n-- A")`},
	{"no boundary", "Content-Type: multipart/mixed\n\n--A\n\none\n--A--\n", `multipart/mixed(text/plain "--A\n\none\n--A--\n")`},
	{"empty boundary", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\none\n----\n", `multipart/mixed(text/plain "--\n\none\n----\n")`},
	{"boundary that does not occur", mixed + "--C\n\none\n--C--\n", `multipart/mixed(text/plain "--C\n\none\n--C--\n")`},
	{"closed before it opened", mixed + "--A--\n\none\n--A\n", `multipart/mixed(text/plain "--A--\n\none\n--A\n")`},
	{"boundary with spaces", "Content-Type: multipart/mixed; boundary=\"a b  \"\n\n--a b\n\none\n--a b--\n", `multipart/mixed(text/plain "one")`},
	{"boundary unquoted with equals", "Content-Type: multipart/mixed; boundary=--=_x=y\n\n----=_x=y\n\none\n----=_x=y--\n", `multipart/mixed(text/plain "one")`},
	{"boundary like an encoded word", "Content-Type: multipart/mixed; boundary=\"=?a?q?b?=\"\n\n--=?a?q?b?=\n\none\n--=?a?q?b?=--\n", `multipart/mixed(text/plain "one")`},
	{"boundary of raw bytes", "Content-Type: multipart/mixed; boundary=\"\xff\xfe\"\n\n--\xff\xfe\n\none\n--\xff\xfe--\n", `multipart/mixed(text/plain "one")`},
	{"boundary in RFC 2231 pieces", "Content-Type: multipart/mixed; boundary*1=B; boundary*0=A\n\n--AB\n\none\n--AB--\n", `multipart/mixed(text/plain "one")`},
	{"boundary that ends in dashes", "Content-Type: multipart/mixed; boundary=A--\n\n--A--\n\none\n--A----\n", `multipart/mixed(text/plain "one")`},
	{"boundary too long", "Content-Type: multipart/mixed; boundary=" + strings.Repeat("a", 999) + "\n\n--" + strings.Repeat("a", 999) + "\n\none\n",
		`multipart/mixed(text/plain "--` + strings.Repeat("a", 999) + `\n\none\n")`},
	{"multipart without subtype", "Content-Type: multipart; boundary=A\n\n--A\n\none\n--A--\n", `multipart/mixed(text/plain "one")`},
	{"multipart in base64", "Content-Transfer-Encoding: base64\n" + mixed + "--A\n\none\n--A--\n", `multipart/mixed(text/plain "one")`},

	{"nested", mixed + "--A\n" + alt + "--B\n\none\n--B\nContent-Type: text/html\n\ntwo\n--B--\n\n--A\n\nthree\n--A--\n",
		`multipart/mixed(multipart/alternative(text/plain "one", text/html "two"), text/plain "three")`},
	{"parent ends child", mixed + "--A\n" + alt + "--B\n\none\n--A\n\ntwo\n--A--\n",
		`multipart/mixed(multipart/alternative(text/plain "one"), text/plain "two")`},
	{"parent's end ends child", mixed + "--A\n" + alt + "--B\n\none\n--A--\nepilogue\n--B\n",
		`multipart/mixed(multipart/alternative(text/plain "one"))`},
	{"parent ends child without parts", mixed + "--A\n" + alt + "text\n--A\n\ntwo\n--A--\n",
		`multipart/mixed(multipart/alternative(text/plain "text"), text/plain "two")`},
	{"one boundary twice", mixed + "--A\n" + mixed + "--A\n\none\n--A--\n--A\n\ntwo\n--A--\n",
		`multipart/mixed(multipart/mixed(text/plain "one"), text/plain "two")`},
	{"boundary that begins like another", mixed + "--A\nContent-Type: multipart/mixed; boundary=AB\n\n--AB\n\none\n--AB--\n--A\n\ntwo\n--A--\n",
		`multipart/mixed(multipart/mixed(text/plain "one"), text/plain "two")`},
	{"outer boundary is the inner one's end", "Content-Type: multipart/mixed; boundary=A--\n\n--A--\n" + mixed + "--A\n\none\n--A--\nepilogue\n--A----\n",
		`multipart/mixed(multipart/mixed(text/plain "one"))`},
	{"header cut off by a delimiter", mixed + "--A\n" + alt + "--B\nContent-Type: text/html\n--A--\n",
		`multipart/mixed(multipart/alternative(text/html ""))`},

	{"message", rfc + "Subject: in\n\none\n", `message/rfc822{in}(text/plain "one\n")`},
	{"message empty", rfc, `message/rfc822{}(text/plain "")`},
	{"message/global", "Content-Type: message/global\n\nSubject: \xc3\xa4\n\none\n", "message/global{\u00e4}(text/plain \"one\\n\")"},
	{"message in message", rfc + rfc + "Subject: in\n\none\n", `message/rfc822{}(message/rfc822{in}(text/plain "one\n"))`},
	{"message in a part", mixed + "--A\n" + rfc + "Subject: in\n" + alt + "--B\n\none\n--B--\n\n--A\n\ntwo\n--A--\n",
		`multipart/mixed(message/rfc822{in}(multipart/alternative(text/plain "one")), text/plain "two")`},
	{"parent ends message in its header", mixed + "--A\n" + rfc + "Subject: in\n--A\n\ntwo\n--A--\n",
		`multipart/mixed(message/rfc822{in}(text/plain ""), text/plain "two")`},
	{"message in base64 is a leaf", "Content-Transfer-Encoding: BASE64\n" + rfc + "U3ViamVjdDogeA==\n", `message/rfc822 "U3ViamVjdDogeA==\n"`},
	{"message in quoted-printable is a leaf", "Content-Transfer-Encoding: quoted-printable\n" + rfc + "Subject: x\n", `message/rfc822 "Subject: x\n"`},
	{"message/partial is a leaf", "Content-Type: message/partial; id=1\n\nSubject: x\n", `message/partial "Subject: x\n"`},
	{"mailbox separator in an attached message", rfc + "From me\nSubject: in\n\none\n", `message/rfc822{in}(text/plain "one\n")`},
	{"digest", "Content-Type: multipart/digest; boundary=A\n\n--A\n\nSubject: in\n\none\n--A\nContent-Type: text/html\n\ntwo\n--A--\n",
		`multipart/digest(message/rfc822{in}(text/plain "one"), text/html "two")`},
}

func TestShapes(t *testing.T) {
	if len(shapes) < 60 {
		t.Errorf("only %d shapes", len(shapes))
	}
	for _, tt := range shapes {
		t.Run(tt.name, func(t *testing.T) {
			m := parse(t, tt.content)
			if got := tree(&m.Root, tt.content); got != tt.want {
				t.Errorf("%q\n got %s\nwant %s", tt.content, got, tt.want)
			}
			wellFormed(t, m, int64(len(tt.content)))
		})
	}
}
