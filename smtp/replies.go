package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
)

// no makes an error that is a reply.
func no(code int, enhanced [3]int, format string, args ...any) *mailkeel.Error {
	return &mailkeel.Error{Code: code, Enhanced: enhanced, Message: fmt.Sprintf(format, args...)}
}

// toWire makes of any error what the peer is told. What nobody classified is
// temporary, and its text stays here.
func toWire(err error, id string) *gosmtp.SMTPError {
	var e *mailkeel.Error
	if !errors.As(err, &e) || e.Code < 400 || e.Code > 599 {
		e = no(451, [3]int{4, 3, 0}, "temporary failure, try again later")
		switch {
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
			e = no(452, [3]int{4, 3, 1}, "insufficient storage")
		case errors.Is(err, context.DeadlineExceeded):
			e = no(451, [3]int{4, 4, 7}, "it took too long, try again later")
		case errors.Is(err, context.Canceled):
			e = no(421, [3]int{4, 3, 2}, "shutting down")
		}
		if id != "" {
			e.Message += " (" + id + ")"
		}
	}
	out := &gosmtp.SMTPError{Code: e.Code, EnhancedCode: gosmtp.EnhancedCode(e.Enhanced), Message: plain(e.Message)}
	if out.EnhancedCode[0] != e.Code/100 || out.EnhancedCode[1] < 0 || out.EnhancedCode[2] < 0 {
		out.EnhancedCode = gosmtp.EnhancedCode{e.Code / 100, 0, 0}
	}
	return out
}

// plain makes a text fit for one line of a reply (RFC 5321, 4.2 and 4.5.3.1.5).
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' {
			return ' '
		}
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 480)]
}

// worst returns what a client with one answer is told: a temporary error first,
// because then it keeps the message and asks again.
func worst(errs []error) error {
	var out error
	for _, err := range errs {
		if err != nil && (out == nil || mailkeel.Permanent(out) && !mailkeel.Permanent(err)) {
			out = err
		}
	}
	return out
}

// mended are beginnings of the engine's replies, and what we say instead: RFC 5321
// and RFC 3463 have other codes.
var mended = []struct{ was, is string }{
	{"250 2.0.0 Roger, ", "250 2.1.0 sender ok"},
	{"250 2.0.0 I have successfully done nothing", "250 2.0.0 ok"},
	{"250 2.0.0 Session reset", "250 2.0.0 ok"},
	{"252 2.5.0 ", "252 2.1.5 cannot verify, but will accept mail and try"},
	{"221 2.0.0 ", "221 2.0.0 bye"},
	{"235 2.0.0 ", "235 2.7.0 authentication succeeded"},
	{"501 5.0.0 Negotiation cancelled", "501 5.7.0 authentication cancelled"},
	{"454 4.7.0 Invalid base64 data", "501 5.5.2 invalid base64"},
	{"502 5.5.1 Please introduce yourself first.", "503 5.5.1 say EHLO first"},
	{"502 5.5.1 Missing MAIL FROM command.", "503 5.5.1 say MAIL first"},
	{"502 5.5.4 Missing parameter", "501 5.5.4 which mechanism?"},
	{"500 5.5.4 Unknown MAIL FROM argument", "555 5.5.4 unknown MAIL parameter"},
	{"500 5.5.4 Unknown RCPT TO argument", "555 5.5.4 unknown RCPT parameter"},
	{"504 5.5.4 BINARYMIME ", "555 5.5.4 BINARYMIME is not supported"},
	{"504 5.5.4 RRVS ", "555 5.5.4 RRVS is not supported"},
	{"504 5.5.4 DELIVERBY ", "555 5.5.4 BY is not supported"},
	{"504 5.5.4 MT-PRIORITY ", "555 5.5.4 MT-PRIORITY is not supported"},
	{"500 5.5.4 Malformed AUTH ", "501 5.5.4 malformed AUTH parameter"},
	{"500 5.5.1 Too many errors.", "421 4.7.0 too many errors"},
	{"500 5.5.2 Syntax errors, ", "500 5.5.1 command not recognized"},
	{"501 5.5.2 Bad command", "500 5.5.2 syntax error"},
	{"421 4.4.2 ", "421 4.4.2 timeout, closing connection"},
	{"421 4.4.0 ", "421 4.4.2 connection error"},
}

// hello are the beginnings of replies to HELO and EHLO, after which RFC 5321, 4.1.1.1,
// wants our name and not that of the client.
var hello = []string{"250-Hello ", "250 2.0.0 Hello "}

// pipelining is the first keyword of every EHLO reply of the engine.
var pipelining = []byte("250-PIPELINING\r\n")

// badSize is what the engine says to a SIZE that it cannot read.
var badSize = []byte("501 5.5.4 Unable to parse SIZE ")

// vast reports whether a MAIL command has a SIZE that is a number (RFC 1870, 3: up
// to 20 digits), but does not fit in the 32 bits of the engine.
func vast(line []byte) bool {
	for _, f := range bytes.Fields(bytes.ToUpper(line)) {
		v, ok := bytes.CutPrefix(f, []byte("SIZE="))
		if ok && len(v) >= 10 && len(v) <= 20 && len(bytes.Trim(v, "0123456789")) == 0 {
			return true
		}
	}
	return false
}

// mend changes a line of the engine.
func (w *wire) mend(p []byte) []byte {
	if bytes.Equal(p, pipelining) {
		return append(bytes.Clone(p), w.c.keywords()...)
	}
	for _, h := range hello {
		if len(p) >= len(h) && string(p[:len(h)]) == h {
			return []byte(h[:4] + w.c.s.Hostname + "\r\n")
		}
	}
	if bytes.HasPrefix(p, badSize) && vast(w.line) {
		return []byte("552 5.3.4 Max message size exceeded\r\n")
	}
	for _, m := range mended {
		if len(p) >= len(m.was) && string(p[:len(m.was)]) == m.was {
			return append([]byte(m.is), '\r', '\n')
		}
	}
	return p
}

// keywords are those of EHLO that the engine does not know how to say.
func (c *conn) keywords() string {
	var b strings.Builder
	if c.tls == nil && c.s.tls != nil && !c.s.NoSTARTTLS {
		b.WriteString("250-STARTTLS\r\n")
	}
	if c.tls != nil {
		b.WriteString("250-REQUIRETLS\r\n")
	}
	fmt.Fprintf(&b, "250-LIMITS RCPTMAX=%d\r\n", c.s.maxRcpts())
	return b.String()
}
