// Package messagetest has tables for tests of all that reads messages, so that they
// agree.
package messagetest

import (
	_ "embed"
	"strings"
)

//go:embed xexe.txt
var xexe string

// A Name is a way to write the name of a part.
type Name struct {
	Title string
	// Header is the fields of the part, each ending in CRLF.
	Header string
	// Shown is what people see of it.
	Shown string
}

// Names are ways to write x.exe, or a name that is run as well.
func Names() (all []Name) {
	for record := range strings.SplitSeq(xexe, "\n== ") {
		title, rest, ok := strings.Cut(record, "\n")
		header, shown, ok2 := strings.Cut(rest, "\n-> ")
		if !ok || !ok2 {
			continue // the comment
		}
		all = append(all, Name{title, strings.ReplaceAll(header, "\n", "\r\n") + "\r\n", strings.TrimSuffix(shown, "\n")})
	}
	return all
}

// Message is a message with a text and the part.
func (n Name) Message() string {
	return "From: ann@example.com\r\nTo: bob@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n--b\r\n" + n.Header + "\r\nMZ\r\n--b--\r\n"
}
