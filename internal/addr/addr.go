// Package addr reads and writes the addresses of SMTP envelopes (RFC 5321, 4.1.2,
// with RFC 6531).
//
// It is strict: what it takes can be put on the wire by Mailbox.Path without
// meaning anything else there. Addresses in headers, where much is let pass, belong
// to internal/message.
package addr

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths in octets (RFC 5321, 4.5.3.1 and erratum 1690).
const (
	MaxLocal   = 64
	MaxDomain  = 253 // without brackets
	MaxMailbox = 254
	maxPath    = 4 << 10 // with a source route, before it is dropped
)

var (
	ErrSyntax = errors.New("addr: bad syntax")
	ErrLength = errors.New("addr: too long")
	// ErrUTF8 means that the address is good with SMTPUTF8, and only so.
	ErrUTF8 = errors.New("addr: not ASCII")
	// ErrNoDomain means that there is only a local part, like "postmaster".
	ErrNoDomain = errors.New("addr: no domain")
)

func syntax(what string) error { return fmt.Errorf("%w: %s", ErrSyntax, what) }

// A Mailbox is an address in its two parts.
type Mailbox struct {
	// Local is what is meant, without quotes: "a b" <"a b"@example.com>.
	Local string
	// Domain is as it was given: in any case, with U-labels or A-labels, or an
	// address literal with its brackets. Domain and Equal compare.
	Domain string
}

// Parse reads a Mailbox or a Path of RFC 5321: with or without < >, and with a
// source route, which is checked and dropped (appendix C). smtputf8 allows what RFC 6531
// adds. The null path and a bare "postmaster" are not mailboxes: they are
// ErrNoDomain, for the caller to know beforehand.
func Parse(s string, smtputf8 bool) (Mailbox, error) {
	if len(s) > maxPath {
		return Mailbox{}, ErrLength
	}
	if strings.HasPrefix(s, "<") != strings.HasSuffix(s, ">") {
		return Mailbox{}, syntax("unpaired bracket")
	}
	if strings.HasPrefix(s, "<") {
		s = s[1 : len(s)-1]
	}
	s, err := dropRoute(s)
	if err != nil {
		return Mailbox{}, err
	}
	local, rest, err := parseLocal(s)
	if err != nil {
		return Mailbox{}, err
	}
	if rest == "" {
		return Mailbox{}, ErrNoDomain
	}
	if rest[0] != '@' {
		return Mailbox{}, syntax("text after the local part")
	}
	m := Mailbox{local, rest[1:]}
	if _, err := Domain(m.Domain); err != nil {
		return Mailbox{}, err
	}
	if len(Quote(local)) > MaxLocal || len(m.String()) > MaxMailbox {
		return Mailbox{}, ErrLength
	}
	if !smtputf8 && !ascii(s) {
		return Mailbox{}, ErrUTF8
	}
	return m, nil
}

// String returns the address in its one form: quoted if the local part needs it,
// and only then.
func (m Mailbox) String() string { return Quote(m.Local) + "@" + visible(m.Domain) }

// Path returns the address in angle brackets, as it goes on the wire.
func (m Mailbox) Path() string { return "<" + m.String() + ">" }

// ASCII reports whether the address can be sent without SMTPUTF8.
func (m Mailbox) ASCII() bool { return ascii(m.Local) && ascii(m.Domain) }

// Equal reports whether both are one address. Domains are compared as Domain does;
// local parts byte by byte, for only their domain knows whether they have case.
func (m Mailbox) Equal(o Mailbox) bool {
	if m.Local != o.Local {
		return false
	}
	a, err := Domain(m.Domain)
	b, err2 := Domain(o.Domain)
	return err == nil && err2 == nil && a == b
}

// Path returns a reverse-path or forward-path that is safe on the wire, or an
// error. The empty address gives "<>".
func Path(s string, smtputf8 bool) (string, error) {
	if s == "" || s == "<>" {
		return "<>", nil
	}
	m, err := Parse(s, smtputf8)
	if err != nil {
		return "", err
	}
	return m.Path(), nil
}

// Split divides an address that was already checked at its last @. Without one,
// domain is empty. The local part is as it stands, with quotes if it has them.
func Split(s string) (local, domain string) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

// Quote returns a local part as it goes on the wire. Control characters, which no
// local part has, are left out.
func Quote(local string) string {
	local = visible(local)
	if dotString(local) {
		return local
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(local); i++ {
		if local[i] == '"' || local[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}

// dropRoute takes "@a,@b:" away.
func dropRoute(s string) (string, error) {
	if !strings.HasPrefix(s, "@") {
		return s, nil
	}
	route, rest, ok := strings.Cut(s, ":")
	if strings.HasPrefix(route, "@[") || !ok { // a colon may be inside of a literal
		return "", syntax("source route")
	}
	for hop := range strings.SplitSeq(route, ",") {
		name, ok := strings.CutPrefix(hop, "@")
		if !ok {
			return "", syntax("source route")
		}
		if _, err := Domain(name); err != nil {
			return "", err
		}
	}
	return rest, nil
}

// parseLocal reads a local part, and returns what it means and the text after it.
func parseLocal(s string) (local, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, '@')
		if i < 0 {
			i = len(s)
		}
		switch {
		case s == "":
			return "", "", ErrNoDomain
		case !utf8.ValidString(s[:i]) || !dotString(s[:i]):
			return "", "", syntax("local part")
		}
		return s[:i], s[i:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			local = b.String()
			if local == "" || !utf8.ValidString(local) || local != visible(local) {
				return "", "", syntax("quoted local part")
			}
			return local, s[i+1:], nil
		case '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", syntax("quoted local part")
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", syntax("quoted local part")
}

// dotString reports whether s is atoms between single dots.
func dotString(s string) bool {
	dot := true // an atom must follow
	for _, r := range s {
		switch {
		case r == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case r < utf8.RuneSelf:
			if !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r) {
				return false
			}
		case r == utf8.RuneError || hidden(r) || unicode.IsSpace(r):
			return false
		}
		dot = false
	}
	return !dot
}

// hidden reports whether r could end or disguise a line.
func hidden(r rune) bool {
	return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, s)
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
