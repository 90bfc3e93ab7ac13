package smtpclient

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel"
)

func unsupported(code int, enhanced [3]int, format string, args ...any) error {
	return &mailkeel.Error{Code: code, Enhanced: enhanced, Message: fmt.Sprintf(format, args...)}
}

// mail writes the MAIL command, and says whether the transaction uses SMTPUTF8.
// What the peer cannot take is an error that no repeat will change.
func (c *Client) mail(ctx context.Context, env *mailkeel.Envelope, m mailkeel.Content) (line string, utf8 bool, err error) {
	path, utf8, err := Path(env.From)
	if err != nil {
		return "", false, &mailkeel.Error{Code: 553, Enhanced: [3]int{5, 1, 7}, Message: "bad sender address", Err: err}
	}
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + path + ">")
	for _, r := range env.Rcpts {
		if _, u, err := Path(r.Addr); err == nil && u {
			utf8 = true
		}
	}
	_, takes := c.Ext("SMTPUTF8")
	_, takes8 := c.Ext("8BITMIME")
	header8, body8 := env.UTF8, env.EightBit
	if env.UTF8 && !utf8 && !takes || env.EightBit && !takes8 {
		// It may be by its sender's word only that it needs what the peer lacks.
		if header8, body8, err = eightBit(ctx, m); err != nil {
			return "", false, err
		}
	}
	switch utf8 = utf8 || env.UTF8 && (takes || header8); {
	case utf8 && !takes:
		return "", false, unsupported(550, [3]int{5, 6, 7}, "%s does not take internationalized mail (SMTPUTF8)", c.Host)
	case utf8:
		b.WriteString(" SMTPUTF8")
	}
	switch {
	case takes8 && (body8 || utf8):
		b.WriteString(" BODY=8BITMIME")
	case !takes8 && body8:
		return "", false, unsupported(554, [3]int{5, 6, 3}, "%s does not take 8-bit mail (8BITMIME)", c.Host)
	}
	if _, ok := c.Ext("SIZE"); ok {
		if limit := c.number("SIZE"); limit > 0 && m.Size() > limit {
			return "", false, unsupported(552, [3]int{5, 3, 4}, "message of %d bytes is larger than %s takes, %d", m.Size(), c.Host, limit)
		}
		fmt.Fprintf(&b, " SIZE=%d", m.Size())
	}
	if env.RequireTLS {
		if _, ok := c.TLS(); !ok {
			return "", false, unsupported(550, [3]int{5, 7, 10}, "%s does not encrypt, which this message requires", c.Host)
		}
		if _, ok := c.Ext("REQUIRETLS"); !ok {
			return "", false, unsupported(550, [3]int{5, 7, 30}, "%s does not support REQUIRETLS, which this message requires", c.Host)
		}
		b.WriteString(" REQUIRETLS")
	}
	if _, ok := c.Ext("DSN"); ok {
		if r := strings.ToUpper(env.Return); r == "FULL" || r == "HDRS" {
			b.WriteString(" RET=" + r)
		}
		if env.EnvelopeID != "" {
			b.WriteString(" ENVID=" + xtext(env.EnvelopeID))
		}
	}
	return b.String(), utf8, nil
}

// rcpt writes the RCPT command.
func (c *Client) rcpt(env *mailkeel.Envelope, r mailkeel.Recipient, utf8 bool) (string, error) {
	path, u, err := Path(r.Addr)
	if err != nil || path == "" {
		return "", &mailkeel.Error{Code: 553, Enhanced: [3]int{5, 1, 3}, Message: "bad recipient address", Err: err}
	}
	if u && !utf8 {
		return "", unsupported(550, [3]int{5, 6, 7}, "%s does not take internationalized mail (SMTPUTF8)", c.Host)
	}
	line := "RCPT TO:<" + path + ">"
	if _, ok := c.Ext("DSN"); !ok {
		return line, nil
	}
	var notify []string
	for _, n := range []struct {
		bit  mailkeel.Notify
		word string
	}{{mailkeel.NotifySuccess, "SUCCESS"}, {mailkeel.NotifyFailure, "FAILURE"}, {mailkeel.NotifyDelay, "DELAY"}} {
		if r.Notify&n.bit != 0 {
			notify = append(notify, n.word)
		}
	}
	switch {
	case r.Notify&mailkeel.NotifyNever != 0:
		line += " NOTIFY=NEVER"
	case len(notify) > 0:
		line += " NOTIFY=" + strings.Join(notify, ",")
	}
	if kind, addr, ok := strings.Cut(r.Orcpt, ";"); ok && kind != "" && isXtext(kind) && len(r.Orcpt) <= 500 {
		switch ascii := isXtext(addr); {
		case ascii:
			line += " ORCPT=" + kind + ";" + addr
		case strings.EqualFold(kind, "utf-8") && utf8 && !strings.ContainsFunc(addr, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '+' || c == '=' }):
			line += " ORCPT=" + kind + ";" + addr // RFC 6533, 3: utf-8-address
		case !strings.EqualFold(kind, "utf-8"):
			line += " ORCPT=" + kind + ";" + xtext(addr)
		}
	}
	return line, nil
}

// eightBit looks for bytes above 127 in the header of a message and in all of it.
func eightBit(ctx context.Context, m mailkeel.Content) (header, any bool, err error) {
	rc, err := m.Open(ctx)
	if err != nil {
		return false, false, err
	}
	defer rc.Close()
	r := bufio.NewReaderSize(rc, 4<<10)
	inHeader, begin := true, true
	for {
		line, err := r.ReadSlice('\n')
		if begin && len(bytes.TrimRight(line, "\r\n")) == 0 {
			inHeader = false
		}
		if slices.ContainsFunc(line, func(c byte) bool { return c >= 0x80 }) {
			return inHeader, true, nil
		}
		if begin = err == nil; err == io.EOF {
			return false, false, nil
		} else if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false, false, err
		}
	}
}
