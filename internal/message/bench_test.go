package message

import (
	"fmt"
	"strings"
	"testing"
)

// letter is a message as people send them: text, HTML and an attachment of size
// bytes in base64.
func letter(size int) string {
	line := strings.Repeat("QUJD", 19) + "\r\n"
	return "Received: from a.example by b.example\r\n\tfor <x@example.org>; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
		"From: Ada Lovelace <ada@example.org>\r\nTo: Charles Babbage <charles@example.org>, team@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and notes\r\n" +
		"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1234567890@example.org>\r\nReferences: <1@example.org> <2@example.org>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_outer\"\r\n\r\n--=_outer\r\nContent-Type: multipart/alternative; boundary=\"=_inner\"\r\n\r\n" +
		"--=_inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("A line of text as people write it.\r\n", 20) +
		"--=_inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + strings.Repeat("<p>A line of text as people write it.</p>\r\n", 20) + "--=_inner--\r\n" +
		"--=_outer\r\nContent-Type: application/pdf; name=\"notes.pdf\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"notes.pdf\"\r\n\r\n" +
		strings.Repeat(line, size/len(line)) + "--=_outer--\r\n"
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 4 << 20} {
		content := letter(size)
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(strings.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	m := parse(b, letter(1<<10))
	env, part := EncodeEnvelope(&m.Envelope, m.Usual), EncodePart(&m.Root)
	b.ReportAllocs()
	b.ReportMetric(float64(len(env)+len(part)), "row-bytes")
	for b.Loop() {
		if _, err := DecodeEnvelope(env); err != nil {
			b.Fatal(err)
		}
		if _, err := DecodePart(part); err != nil {
			b.Fatal(err)
		}
	}
}
