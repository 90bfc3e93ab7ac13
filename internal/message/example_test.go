package message_test

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mailkeel/mailkeel/internal/message"
)

func Example() {
	content := "From: Ada <ada@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
		"Content-Type: multipart/mixed; boundary=x\r\n\r\n" +
		"--x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHello=21\r\n--x--\r\n"
	m, err := message.Parse(strings.NewReader(content))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(message.DecodeHeader(m.Envelope.Subject))
	p := m.Root.Parts[0]
	fmt.Println(p.Type, p.Subtype, p.BodyStart, p.End)
	io.Copy(os.Stdout, p.Text(strings.NewReader(content[p.BodyStart:p.End])))
	// Output:
	// Grüße
	// text plain 164 172
	// Hello!
}
