package queue

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/header"
)

// A report is a message of RFC 3464 in a multipart/report of RFC 6522: words for
// people, fields for programs, and the message or its header.
//
// If the message came with SMTPUTF8 it has the forms of RFC 6533. It needs
// SMTPUTF8 itself only if the address it goes to does: else what is not ASCII is
// quoted-printable, so that no hop on the way can refuse it.
type report struct {
	kind   reportKind
	id     string
	host   string // of this server
	now    time.Time
	env    *mailkeel.Envelope
	orig   original
	fates  []fate
	global bool // the forms of RFC 6533
	utf8   bool // goes by SMTPUTF8
}

func (r *report) write(ctx context.Context, w *bufio.Writer) error {
	boundary := fmt.Sprintf("=_%.20x", sha256.Sum256([]byte(r.id)))
	r.header(w, boundary)
	fmt.Fprintf(w, "\r\n--%s\r\n", boundary)
	if err := r.part(w, "text/plain; charset=utf-8", r.words()); err != nil {
		return err
	}
	kind := "message/delivery-status"
	if r.global {
		kind = "message/global-delivery-status"
	}
	fmt.Fprintf(w, "\r\n--%s\r\n", boundary)
	if err := r.part(w, kind, r.status()); err != nil {
		return err
	}
	if !r.orig.gone {
		fmt.Fprintf(w, "\r\n--%s\r\n", boundary)
		if err := r.returned(ctx, w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\r\n--%s--\r\n", boundary)
	return err
}

// header writes the header and what old programs show.
func (r *report) header(w io.Writer, boundary string) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\r\n", args...) }
	line("From: Mail Delivery System <MAILER-DAEMON@%s>", clean(r.host))
	line("To: <%s>", clean(r.env.From))
	line("Subject: %s", [...]string{"Undelivered mail returned to sender", "Delayed mail (still being tried)", "Delivered mail"}[r.kind])
	line("Date: %s", r.now.Format(time.RFC1123Z))
	line("Message-ID: <%s@%s>", strings.Map(idChar, r.id), clean(r.host))
	if id, ok := messageID(r.field("Message-ID")); ok {
		line("In-Reply-To: %s", id)
		line("References: %s", id)
	}
	line("Auto-Submitted: auto-replied")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=%q", boundary)
	fmt.Fprintf(w, "\r\nThis is a report about the delivery of a message, in MIME format.\r\n")
}

// idChar keeps what may stand in a Message-ID.
func idChar(c rune) rune {
	if c < 0x80 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", c)) {
		return c
	}
	return '-'
}

// messageID returns the value of a Message-ID field, if it is a good one.
func messageID(s string) (string, bool) {
	s = strings.TrimSpace(s)
	inner, ok := strings.CutPrefix(s, "<")
	inner, ok2 := strings.CutSuffix(inner, ">")
	bad := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '<' || c == '>' }
	return s, ok && ok2 && inner != "" && len(inner) < 500 && !strings.ContainsFunc(inner, bad)
}

// field returns a field of the message, "" without one.
func (r *report) field(name string) string {
	h, _, err := header.Read(bytes.NewReader(r.orig.header), 0)
	if err != nil {
		return ""
	}
	return h.Get(name)
}

// part writes one part of text that is ready but for its encoding.
func (r *report) part(w io.Writer, kind, text string) error {
	switch {
	case isASCII(text):
		_, err := fmt.Fprintf(w, "Content-Type: %s\r\n\r\n%s", kind, text)
		return err
	case r.utf8:
		_, err := fmt.Fprintf(w, "Content-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s", kind, text)
		return err
	}
	fmt.Fprintf(w, "Content-Type: %s\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", kind)
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, text); err != nil {
		return err
	}
	return q.Close()
}

// returned writes the message or its header.
func (r *report) returned(ctx context.Context, w io.Writer) error {
	if !r.orig.whole {
		kind := "text/rfc822-headers"
		if r.global {
			kind = "message/global-headers"
		}
		var b bytes.Buffer
		c := &crlfWriter{w: &b}
		c.Write(bytes.TrimRight(r.orig.header, "\r\n"))
		c.Close()
		return r.part(w, kind, b.String())
	}
	kind, encoding := "message/rfc822", ""
	if r.global {
		kind = "message/global"
	}
	if r.orig.eightBit {
		encoding = "Content-Transfer-Encoding: 8bit\r\n"
	}
	fmt.Fprintf(w, "Content-Type: %s\r\n%s\r\n", kind, encoding)
	rc, err := r.orig.content.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	c := &crlfWriter{w: w}
	if n, err := io.Copy(c, rc); err != nil {
		return err
	} else if n != r.orig.content.Size() {
		return io.ErrUnexpectedEOF
	}
	return c.Close()
}

// status is the part for programs (RFC 3464, 2).
func (r *report) status() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	date := r.now.Format(time.RFC1123Z)
	if id := r.clean(r.env.EnvelopeID); id != "" {
		line("Original-Envelope-Id: %s", id)
	}
	line("Reporting-MTA: dns; %s", r.clean(r.host))
	if o := r.env.Origin; o != nil {
		if h := r.clean(o.Hello); h != "" {
			line("Received-From-MTA: dns; %s", h)
		}
	}
	line("Arrival-Date: %s", r.fates[0].it.Queued.Format(time.RFC1123Z))
	for _, f := range r.fates {
		rcpt := f.it.Envelope.Rcpts[0]
		line("")
		if kind, value := r.originalRecipient(rcpt.Orcpt); value != "" {
			line("Original-Recipient: %s; %s", kind, value)
		}
		kind, value := r.address("rfc822", address(f))
		line("Final-Recipient: %s; %s", kind, value)
		line("Action: %s", r.action(f))
		line("Status: %s", r.code(f))
		if h := f.result.Hop; isHost(h) {
			line("Remote-MTA: dns; %s", h)
		}
		if d := r.clean(diagnostic(f)); d != "" && f.result.Err != nil {
			line("Diagnostic-Code: smtp; %s", d)
		}
		if r.kind != successReport {
			line("Last-Attempt-Date: %s", date)
		}
		if r.kind == delayReport && !f.it.Expires.IsZero() {
			line("Will-Retry-Until: %s", f.it.Expires.Format(time.RFC1123Z))
		}
	}
	return b.String()
}

// isHost reports whether s can be a name in the DNS or an address literal, and not
// the path of a socket.
func isHost(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._:[]", c))
	})
}

// action is the Action field (RFC 3464, 2.3.3).
func (r *report) action(f fate) string {
	switch r.kind {
	case bounceReport:
		return "failed"
	case delayReport:
		return "delayed"
	}
	switch f.result.Action {
	case mailkeel.Relayed, mailkeel.Expanded:
		return f.result.Action.String()
	}
	return "delivered"
}

// code is the Status field (RFC 3463), of the class that fits the action.
func (r *report) code(f fate) string {
	class := [...]int{5, 4, 2}[r.kind]
	if e := failure(f); e != nil && e.Enhanced[0] == class {
		return fmt.Sprintf("%d.%d.%d", e.Enhanced[0], e.Enhanced[1], e.Enhanced[2])
	}
	return fmt.Sprintf("%d.0.0", class)
}

// clean makes s fit for one line of this report: what a peer or a user said must
// not begin a new field.
func (r *report) clean(s string) string {
	s = clean(s)
	if !r.global {
		s = strings.Map(func(c rune) rune {
			if c >= 0x80 {
				return '?'
			}
			return c
		}, s)
	}
	return s
}

// clean makes s fit for one line, of at most 500 bytes.
func clean(s string) string {
	s = strings.TrimSpace(header.Clean(strings.ToValidUTF8(s, "?")))
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' {
			return ' '
		}
		return c
	}, s)
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "")
	}
	return s
}

// crlfWriter writes a message with canonical line ends and without NULs: in the
// middle of a report, nothing else would survive the way.
type crlfWriter struct {
	w   io.Writer
	cr  bool // the last byte was a CR, not yet written
	mid bool // inside a line
}

func (c *crlfWriter) Write(p []byte) (n int, err error) {
	var b bytes.Buffer
	for _, x := range p {
		if c.cr {
			b.WriteString("\r\n")
			c.cr, c.mid = false, false
			if x == '\n' {
				continue
			}
		}
		switch x {
		case '\r':
			c.cr = true
		case '\n':
			b.WriteString("\r\n")
			c.mid = false
		case 0:
			b.WriteByte(' ')
			c.mid = true
		default:
			b.WriteByte(x)
			c.mid = true
		}
	}
	_, err = c.w.Write(b.Bytes())
	return len(p), err
}

// Close ends the last line.
func (c *crlfWriter) Close() error {
	if !c.cr && !c.mid {
		return nil
	}
	_, err := io.WriteString(c.w, "\r\n")
	return err
}
