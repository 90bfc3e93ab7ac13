package store

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	inbox = "INBOX"

	// Separator stands between the components of a mailbox name.
	Separator = "/"

	maxComponent = 255   // bytes
	maxName      = 1_000 // bytes
	maxFlag      = 64    // bytes
	maxFlags     = 128   // of one message
	maxRole      = 32    // bytes
)

// CleanName returns a mailbox name as it is kept, with a first component of INBOX
// in capitals (RFC 9051, 5.1), or ErrInvalid: a name is valid UTF-8 without
// control characters, at most 1,000 bytes in components of 1 to 255 bytes with
// Separator between them.
func CleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("%w: mailbox name of %d bytes", ErrInvalid, len(name))
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, badRune) {
		return "", fmt.Errorf("%w: mailbox name %q", ErrInvalid, name)
	}
	for c := range strings.SplitSeq(name, Separator) {
		if c == "" || len(c) > maxComponent {
			return "", fmt.Errorf("%w: mailbox name %q has a component of %d bytes", ErrInvalid, name, len(c))
		}
	}
	first, rest, deep := strings.Cut(name, Separator)
	if strings.EqualFold(first, inbox) {
		if name = inbox; deep {
			name += Separator + rest
		}
	}
	return name, nil
}

// badRune is what Net-Unicode (RFC 5198) keeps out of a line.
func badRune(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// parent returns the name above name, empty at the top.
func parent(name string) string {
	return name[:max(0, strings.LastIndex(name, Separator))]
}

// below reports whether name is an inferior of top.
func below(name, top string) bool { return strings.HasPrefix(name, top+Separator) }

// checkRole returns ErrInvalid for what cannot be a Role.
func checkRole(role string) error {
	ok := len(role) <= maxRole && role != "inbox"
	for _, c := range []byte(role) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: role %q", ErrInvalid, role)
	}
	return nil
}
