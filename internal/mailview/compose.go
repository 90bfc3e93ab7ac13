package mailview

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/header"
)

// A letter is a message that is written.
type letter struct {
	date        time.Time
	from        recipient
	to, cc, bcc []recipient
	subject     string
	messageID   string // without < >, checked
	inReplyTo   []string
	references  []string
	text        string
	enclosed    []enclosure
	local       string // the value of draftField, empty for none
	maxSize     int64
	eightBit    bool  // set by write
	localSize   int64 // set by write: what is before the message as it is sent
}

// draftField says in a draft which message it answers or forwards. It is the first of
// its header and does not leave.
const draftField = "X-Draft-Of"

// An enclosure is a file to attach. open is called once, or twice for a message.
type enclosure struct {
	name, typ string
	open      func() (io.ReadCloser, error)
	encoding  string // set by write
}

// limited counts what is written and stops at a limit.
type limited struct {
	w    io.Writer
	n    int64
	left int64
}

func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		return 0, ErrTooLarge
	}
	n, err := l.w.Write(b)
	l.n += int64(n)
	l.left -= int64(n)
	return n, err
}

// write writes the letter. Nothing that was typed can become a line of its header.
func (l *letter) write(w io.Writer) error {
	out := &limited{w: w, left: l.maxSize}
	bw := bufio.NewWriterSize(out, 32<<10)
	var head []byte
	field := func(name, value string) error {
		if value == "" {
			return nil
		}
		f, err := header.Format(name, header.Clean(value))
		head = append(head, f...)
		return err
	}
	fields := [][2]string{
		{draftField, l.local},
		{"Date", l.date.Format(time.RFC1123Z)},
		{"From", fieldOf([]recipient{l.from})},
		{"To", fieldOf(l.to)},
		{"Cc", fieldOf(l.cc)},
		{"Bcc", fieldOf(l.bcc)},
		{"Subject", text(l.subject)},
		{"Message-ID", "<" + l.messageID + ">"},
		{"In-Reply-To", messageIDs(l.inReplyTo)},
		{"References", messageIDs(l.references)},
		{"MIME-Version", "1.0"},
	}
	for _, f := range fields {
		if err := field(f[0], f[1]); err != nil {
			return err
		}
		if f[0] == draftField {
			l.localSize = int64(len(head))
		}
	}
	bw.Write(head)
	if len(l.enclosed) == 0 {
		if err := writeText(bw, l.text); err != nil {
			return err
		}
		return bw.Flush()
	}
	for i := range l.enclosed {
		if err := l.encode(&l.enclosed[i]); err != nil {
			return err
		}
	}
	boundary := "=_" + rand.Text()
	fmt.Fprintf(bw, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n", boundary)
	if l.eightBit {
		bw.WriteString("Content-Transfer-Encoding: 8bit\r\n") // of what is in it (RFC 2045, 6.4)
	}
	fmt.Fprintf(bw, "\r\n--%s\r\n", boundary)
	if err := writeText(bw, l.text); err != nil {
		return err
	}
	for _, e := range l.enclosed {
		fmt.Fprintf(bw, "\r\n--%s\r\n", boundary)
		if err := enclose(bw, e); err != nil {
			return err
		}
	}
	fmt.Fprintf(bw, "\r\n--%s--\r\n", boundary)
	return bw.Flush()
}

func messageIDs(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return "<" + strings.Join(ids, "> <") + ">"
}

// writeText writes a text part with its header.
func writeText(w *bufio.Writer, text string) error {
	body := flow(text)
	plain := ascii(body)
	for ln := range strings.Lines(body) {
		plain = plain && len(ln) <= 998
	}
	w.WriteString("Content-Type: text/plain; charset=utf-8; format=flowed\r\n")
	if plain {
		w.WriteString("Content-Transfer-Encoding: 7bit\r\n\r\n")
		_, err := w.WriteString(body)
		return err
	}
	w.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, body); err != nil {
		return err
	}
	return q.Close()
}

// encode decides how an enclosure is written: base64, but a message as it is (RFC 2046,
// 5.2.1) if it can be sent so. One that cannot is a file like others.
func (l *letter) encode(e *enclosure) error {
	if e.encoding = "base64"; e.typ != "message/rfc822" {
		return nil
	}
	eight, ok, err := examine(*e)
	switch {
	case err != nil:
		return err
	case !ok:
		e.typ = "application/octet-stream"
	case eight:
		e.encoding, l.eightBit = "8bit", true
	default:
		e.encoding = "7bit"
	}
	return nil
}

// enclose writes an enclosure with its header.
func enclose(w *bufio.Writer, e enclosure) error {
	rc, err := e.open()
	if err != nil {
		return err
	}
	defer rc.Close()
	fmt.Fprintf(w, "Content-Type: %s\r\nContent-Disposition: attachment;%s\r\nContent-Transfer-Encoding: %s\r\n\r\n", e.typ, fileParam(e.name), e.encoding)
	if e.encoding != "base64" {
		return copyLines(w, rc)
	}
	lines := &foldWriter{w: w}
	enc := base64.NewEncoder(base64.StdEncoding, lines)
	if _, err := io.Copy(enc, rc); err != nil {
		return err
	}
	return enc.Close()
}

// foldWriter puts a line end behind each 76 bytes but the last.
type foldWriter struct {
	w   *bufio.Writer
	col int
}

func (f *foldWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if f.col == 76 {
			if _, err := f.w.WriteString("\r\n"); err != nil {
				return 0, err
			}
			f.col = 0
		}
		k := min(76-f.col, len(b))
		if _, err := f.w.Write(b[:k]); err != nil {
			return 0, err
		}
		f.col += k
		b = b[k:]
	}
	return n, nil
}

// examine reads a message that is to be attached, and reports whether it has bytes
// above 127, and whether it can be sent as it is: without NUL, and with lines of 998
// bytes at most (RFC 5321, 4.5.3.1.6).
func examine(e enclosure) (eight, ok bool, err error) {
	rc, err := e.open()
	if err != nil {
		return false, false, err
	}
	defer rc.Close()
	buf := make([]byte, 32<<10)
	length, any := 0, false
	for {
		n, err := rc.Read(buf)
		for _, c := range buf[:n] {
			any = true
			switch length++; {
			case c == '\n' || c == '\r':
				length = 0
			case c == 0 || length > 998:
				return false, false, nil
			case c >= 0x80:
				eight = true
			}
		}
		if err == io.EOF {
			return eight, any, nil
		}
		if err != nil {
			return false, false, err
		}
	}
}

// copyLines copies text and makes each line end CRLF.
func copyLines(w *bufio.Writer, r io.Reader) error {
	br := bufio.NewReaderSize(r, 32<<10)
	cr := false
	for {
		c, err := br.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		was := cr
		switch cr = c == '\r'; {
		case c == '\n' && was: // written already
		case c == '\r' || c == '\n':
			_, err = w.WriteString("\r\n")
		default:
			err = w.WriteByte(c)
		}
		if err != nil {
			return err
		}
	}
}

// fileParam returns the parameter for the name of a file (RFC 2183, 2.3; RFC 2231, 3
// and 4), with what stands before it.
func fileParam(name string) string {
	if ascii(name) && len(name) <= 60 && !strings.Contains(name, "=?") {
		return "\r\n filename=\"" + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	var pieces []string
	piece := "utf-8''"
	for _, r := range name {
		code := string(r)
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_') {
			raw := code
			code = ""
			for i := 0; i < len(raw); i++ {
				code += fmt.Sprintf("%%%02X", raw[i])
			}
		}
		if len(piece)+len(code) > 56 {
			pieces, piece = append(pieces, piece), ""
		}
		piece += code
	}
	pieces = append(pieces, piece)
	if len(pieces) == 1 {
		return "\r\n filename*=" + piece
	}
	var b strings.Builder
	for i, p := range pieces {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, "\r\n filename*%d*=%s", i, p)
	}
	return b.String()
}
