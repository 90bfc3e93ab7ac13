package smtp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mailkeel/mailkeel"
)

// notify is the NOTIFY parameter (RFC 3461, 4.1), which the engine checked.
func notify(words []gosmtp.DSNNotify) mailkeel.Notify {
	var n mailkeel.Notify
	for _, w := range words {
		switch w {
		case gosmtp.DSNNotifyNever:
			n |= mailkeel.NotifyNever
		case gosmtp.DSNNotifySuccess:
			n |= mailkeel.NotifySuccess
		case gosmtp.DSNNotifyFailure:
			n |= mailkeel.NotifyFailure
		case gosmtp.DSNNotifyDelayed:
			n |= mailkeel.NotifyDelay
		}
	}
	return n
}

// originalRcpt is the ORCPT parameter (RFC 3461, 4.2; RFC 6533, 3) in its one
// encoding, which is safe in any line.
func originalRcpt(o *gosmtp.RcptOptions) (string, error) {
	a := o.OriginalRecipient
	if a == "" {
		return "", nil
	}
	if len(a) > 500 || !utf8.ValidString(a) || strings.ContainsFunc(a, unicode.IsControl) {
		return "", no(501, [3]int{5, 5, 4}, "bad ORCPT")
	}
	var b strings.Builder
	b.Grow(len("rfc822;") + len(a)) // many of these are kept
	if o.OriginalRecipientType == gosmtp.DSNAddressTypeUTF8 {
		b.WriteString("utf-8;")
	} else {
		b.WriteString("rfc822;")
	}
	for _, r := range a {
		switch {
		case r > ' ' && r <= '~' && r != '+' && r != '=' && (r != '\\' || o.OriginalRecipientType != gosmtp.DSNAddressTypeUTF8):
			b.WriteRune(r)
		case o.OriginalRecipientType == gosmtp.DSNAddressTypeUTF8:
			fmt.Fprintf(&b, `\x{%X}`, r)
		default:
			fmt.Fprintf(&b, "+%02X", r)
		}
	}
	return b.String(), nil
}
