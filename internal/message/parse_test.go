package message

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEnvelope(t *testing.T) {
	m := parse(t, strings.ReplaceAll(`Date: Mon, 1 Jan 2024 00:00:00 +0000
Subject: =?utf-8?q?a?=
 =?utf-8?q?b?=	c
From: "A, B" <a@b>
Sender: s@b
Reply-To: r@b
To: One <one@b>,
	two@b
Cc: g: x@b;
Bcc: h@b
In-Reply-To: <1@b> (comment)
References: <0@b>
 <1@b>
Message-ID: <2@b>
Subject: second
To: three@b

`, "\n", "\r\n"))
	want := Envelope{
		Date: "Mon, 1 Jan 2024 00:00:00 +0000", Subject: "=?utf-8?q?a?= =?utf-8?q?b?=\tc",
		From: []Address{{"A, B", "a", "b"}}, Sender: []Address{{"", "s", "b"}}, ReplyTo: []Address{{"", "r", "b"}},
		To: []Address{{"One", "one", "b"}, {"", "two", "b"}, {"", "three", "b"}}, Cc: []Address{{"", "g", ""}, {"", "x", "b"}, {}}, Bcc: []Address{{"", "h", "b"}},
		InReplyTo: "<1@b> (comment)", MessageID: "<2@b>", References: []string{"0@b", "1@b"},
	}
	if !reflect.DeepEqual(m.Envelope, want) {
		t.Errorf(" got %+v\nwant %+v", m.Envelope, want)
	}
}

// Each field counts alone, so that what one leaves open does not reach into the
// next; a text that is empty is told from one that is missing.
func TestFieldsThatAreThereTwiceOrEmpty(t *testing.T) {
	m := parse(t, "To: \"a\r\nTo: b@c, g: d@e\r\nTo:\r\nTo: f@g (\r\nTo: h@i\r\nFrom: j@k\r\nFrom: l@m\r\nSubject: \r\nMessage-ID:\r\n\r\n")
	var to []string
	for _, a := range m.Envelope.To {
		to = append(to, a.Mailbox+"@"+a.Host)
	}
	if got := strings.Join(to, " "); !strings.Contains(got, "b@c g@ d@e @ f@g") || !strings.HasSuffix(got, " h@i") {
		t.Errorf("To: %s", got)
	}
	if got := m.Envelope.From; len(got) != 2 || got[1].Mailbox != "l" {
		t.Errorf("From: %v", got)
	}
	if m.Envelope.Empty != SubjectText|MessageIDText {
		t.Errorf("empty: %b", m.Envelope.Empty)
	}
	if e, err := DecodeEnvelope(EncodeEnvelope(&m.Envelope, m.Usual)); err != nil || !reflect.DeepEqual(e, m.Envelope) {
		t.Errorf("%+v, %v", e, err)
	}
	m = parse(t, strings.Repeat("Cc: "+strings.Repeat("a@b,", 3000)+"\r\n", 20))
	if n := len(m.Envelope.Cc); n > maxAddrs {
		t.Errorf("%d addresses", n)
	}
}

func TestPartFields(t *testing.T) {
	body := "a\r\nb\r\nc"
	head := strings.ReplaceAll(`Content-Type: Text/X-Y; charset=UTF-8; name="n"
Content-ID: <i@d>
Content-Description: =?utf-8?q?d?=
Content-Transfer-Encoding: (c) Base64 (d)
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Language: de, en
Content-Location: http://x/
Content-Disposition: Inline; filename=f

`, "\n", "\r\n")
	m := parse(t, head+body)
	want := Part{
		Type: "text", Subtype: "x-y", Params: []Param{{"charset", "UTF-8"}, {"name", "n"}}, ID: "<i@d>", Description: "=?utf-8?q?d?=",
		Encoding: "base64", MD5: "Q2hlY2sgSW50ZWdyaXR5IQ==", Location: "http://x/", Language: []string{"de", "en"},
		Disposition: "inline", DispositionParams: []Param{{"filename", "f"}},
		BodyStart: int64(len(head)), End: int64(len(head + body)), Lines: 2,
	}
	if !reflect.DeepEqual(m.Root, want) {
		t.Errorf(" got %+v\nwant %+v", m.Root, want)
	}
}

func TestOffsetsAndLinesOfParts(t *testing.T) {
	content := strings.ReplaceAll(mixed+"--A\n\none\ntwo\n--A\nX: y\n\nthree\n\n--A--\n", "\n", "\r\n")
	m := parse(t, content)
	var got []string
	for _, p := range append([]Part{m.Root}, m.Root.Parts...) {
		got = append(got, fmt.Sprintf("%q %q %d", content[p.HeaderStart:p.BodyStart], content[p.BodyStart:p.End], p.Lines))
	}
	head := len("Content-Type: multipart/mixed; boundary=A\r\n\r\n")
	want := []string{
		fmt.Sprintf("%q %q 10", content[:head], content[head:]),
		`"\r\n" "one\r\ntwo" 1`,
		`"X: y\r\n\r\n" "three\r\n" 1`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf(" got %s\nwant %s", got, want)
	}
}

func TestOnlyTheReaderFails(t *testing.T) {
	boom := errors.New("boom")
	m, err := Parse(io.MultiReader(strings.NewReader("Subject: x\n\nbody"), iotest.ErrReader(boom)))
	if !errors.Is(err, boom) || m == nil {
		t.Errorf("%v, %v", m, err)
	}
}

func TestFieldsAreCut(t *testing.T) {
	m := parse(t, "Subject: "+strings.Repeat("x", 1<<20)+"\nTo: a@b\n\nbody")
	if n := len(m.Envelope.Subject); n == 0 || n > maxField {
		t.Errorf("a subject of %d bytes", n)
	}
	if len(m.Envelope.To) != 0 {
		t.Errorf("a field beyond the limit of a header was read: %v", m.Envelope.To)
	}
	if m.Root.End-m.Root.BodyStart != 4 {
		t.Errorf("the body is [%d,%d)", m.Root.BodyStart, m.Root.End)
	}
}

func TestTextThatIsKeptIsBounded(t *testing.T) {
	part := "--A\nContent-Type: text/plain; x=" + strings.Repeat("x", 60_000) + "\n\n"
	m := parse(t, mixed+strings.Repeat(part, 100))
	if n := len(EncodePart(&m.Root)); n > maxKept+100_000 {
		t.Errorf("%d bytes kept", n)
	}
	if len(m.Root.Parts) != 100 {
		t.Errorf("%d parts", len(m.Root.Parts))
	}
	// A boundary works though it is not kept.
	m = parse(t, mixed+strings.Repeat(part, 20)+"--A\n"+alt+"--B\n\none\n--B--\n")
	if last := m.Root.Parts[20]; len(last.Parts) != 1 || len(last.Params) != 0 {
		t.Errorf("%+v", last)
	}
	// Names that are not kept have another, so that every part has a type.
	content := mixed + strings.Repeat(part, 20) + "--A\nContent-Type: x-a/x-b\nContent-Transfer-Encoding: x-c\nContent-Disposition: x-d; a=b\n\none\n--A\n" + rfc + "Subject: x\n\ntwo\n"
	m = parse(t, content)
	wellFormed(t, m, int64(len(content)))
	last := m.Root.Parts[20]
	if got := last.Type + "/" + last.Subtype + " " + last.Encoding + " " + last.Disposition; got != "application/octet-stream x-unknown attachment" {
		t.Error(got)
	}
	if m.Root.Parts[21].Envelope == nil {
		t.Errorf("%+v", m.Root.Parts[21])
	}
}

// How the content arrives does not matter.
func TestReadsOfAnySizeGiveTheSame(t *testing.T) {
	for _, tt := range shapes {
		want := parse(t, tt.content)
		got, err := Parse(iotest.OneByteReader(strings.NewReader(tt.content)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range shapes {
		f.Add([]byte(tt.content))
		f.Add([]byte(strings.ReplaceAll(tt.content, "\n", "\r\n")))
	}
	for _, gen := range hostile {
		f.Add([]byte(gen(400)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		content := string(b)
		p := newParser(strings.NewReader(content))
		m := p.parse()
		wellFormed(t, m, int64(len(b)))
		if most := 14*int64(len(b)) + 1000; p.steps > most {
			t.Errorf("%d steps for %d bytes", p.steps, len(b))
		}
		for _, list := range [][]Address{m.Envelope.From, m.Envelope.To, m.Envelope.Cc} {
			groupsPair(t, content, list)
		}
	})
}
